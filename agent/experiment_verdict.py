"""The verdict on an experiment: whether its offers ship.

It reads one estimate by one interval, both fixed before the start: the last of the estimates, by
its sequential interval. So it may be asked for on any day, as often as one likes.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from agent.sample_ratio import SampleRatio
from agent.sequential_intervals import Difference


class Answer(StrEnum):
    """What to do with the offers."""

    SHIPS = "ships"
    DOES_NOT_SHIP = "does not ship"
    NOT_YET_KNOWN = "not yet known"
    DO_NOT_READ = "do not read"


class Reason(StrEnum):
    """Why the verdict is what it is."""

    MISMATCH = "mismatch"
    TOO_FEW = "too_few"
    GAIN = "gain"
    LOSS = "loss"
    SMALL = "small"
    OPEN = "open"


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """The answer and what it follows from."""

    answer: Answer
    reason: Reason


class Measure(StrEnum):
    """Which difference of the groups an estimate is of.

    `PLAIN`: of the metric. `ADJUSTED`: of the metric, adjusted for its value before (CUPED). `NET`:
    of the shop's share of spend less the cost of claims, adjusted likewise.
    """

    PLAIN = "plain"
    ADJUSTED = "adjusted"
    NET = "net"


def reach_verdict(
    ratio: SampleRatio | None, estimates: Mapping[Measure, Difference], sought: float | None
) -> Verdict:
    """Decide.

    Args:
        ratio: of the groups' sizes; None before anybody entered.
        estimates: by measure, the deciding one last; empty while too few are complete.
        sought: the smallest effect worth finding, in the metric's unit; None while unknown.
    """
    if ratio is not None and ratio.mismatch:
        return Verdict(answer=Answer.DO_NOT_READ, reason=Reason.MISMATCH)
    if not estimates or sought is None:
        return Verdict(answer=Answer.NOT_YET_KNOWN, reason=Reason.TOO_FEW)
    decides = list(estimates.values())[-1].sequential
    if decides.low > 0:
        return Verdict(answer=Answer.SHIPS, reason=Reason.GAIN)
    if decides.high < 0:
        return Verdict(answer=Answer.DOES_NOT_SHIP, reason=Reason.LOSS)
    if estimates[Measure.ADJUSTED].sequential.high < sought:
        return Verdict(answer=Answer.DOES_NOT_SHIP, reason=Reason.SMALL)
    return Verdict(answer=Answer.NOT_YET_KNOWN, reason=Reason.OPEN)
