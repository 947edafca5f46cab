"""An experiment: a group that may have offers beside one that may not, to learn what they change.

Customers enter over the days of an enrolment, in an order that chance decides, and each is judged
by the horizon after the day of its own entry. Everything that chance decides follows from the salt
and the customer's id alone, so every process, language and machine finds the same.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, timedelta
from enum import StrEnum
from hashlib import blake2b

from prompts.errors import PatronError


class ExperimentError(PatronError):
    """An experiment cannot be made, read or stopped; the message names it and the field."""

    code = "experiment_error"


class Group(StrEnum):
    """`TREATMENT` may have the offers under test, `CONTROL` may not."""

    TREATMENT = "treatment"
    CONTROL = "control"


class Metric(StrEnum):
    """What is counted of a customer over the horizon.

    `SPEND`: purchases, minor units. `RETURNED`: 1 where it bought at least once, else 0.
    """

    SPEND = "spend"
    RETURNED = "returned"


class Status(StrEnum):
    """Where an experiment stands on a day."""

    PLANNED = "planned"
    RUNNING = "running"
    ENDED = "ended"
    STOPPED = "stopped"


@dataclass(frozen=True, slots=True, kw_only=True)
class Experiment:
    """What was decided before the start. All of it stays as it is, but for `stopped`.

    Attributes:
        experiment_id: its name: small letters, digits, `-`, `_` and `.`.
        offers: ids of the offers under test.
        holdout_share: share of customers in the control group, above 0 and below 1.
        written: the day on which it was written down.
        starts: the first day on which customers enter, in the shop's time zone.
        enrolment_days: days over which customers enter; 1 lets all enter on the first.
        horizon_days: days from a customer's entry over which the metric is counted.
        minimum_effect: the smallest effect worth finding, as a share of the control group's mean.
        power: chance of finding an effect that large, where there is one.
        alpha: chance of finding an effect where there is none.
        margin: share of spend that the shop keeps before the cost of offers.
        salt: what makes its groups independent of those of other experiments.
        covers: whom it is about, in words.
        customer_ids: whom it is about; None for every customer.
        planned_customers: how many customers it covered when it was written.
        stopped: the day from which it no longer withholds; None where nobody stopped it.
    """

    experiment_id: str
    offers: tuple[str, ...]
    holdout_share: float
    metric: Metric
    written: date
    starts: date
    enrolment_days: int
    horizon_days: int
    minimum_effect: float
    power: float
    alpha: float
    margin: float
    salt: str
    covers: str
    customer_ids: frozenset[str] | None
    planned_customers: int
    stopped: date | None = None

    @property
    def last_entry(self) -> date:
        """The last day on which customers enter."""
        return self.starts + timedelta(days=self.enrolment_days - 1)

    @property
    def ends(self) -> date:
        """The day by which the last customer's horizon is over."""
        return self.last_entry + timedelta(days=self.horizon_days)

    def status(self, day: date) -> Status:
        """Where it stands on a day of the shop's time zone."""
        if self.stopped is not None and self.stopped <= day:
            return Status.STOPPED
        if day < self.starts:
            return Status.PLANNED
        return Status.RUNNING if day < self.ends else Status.ENDED

    def covers_customer(self, customer_id: str) -> bool:
        """Whether the customer is one of those whom it is about."""
        return self.customer_ids is None or customer_id in self.customer_ids


def assign(experiment: Experiment, customer_id: str) -> Group:
    """The group of a customer: `CONTROL` where its draw is below the holdout share.

    The draw is `draw("group", salt, customer_id)`.
    """
    below = draw("group", experiment.salt, customer_id) < experiment.holdout_share
    return Group.CONTROL if below else Group.TREATMENT


def entry_moment(experiment: Experiment, customer_id: str) -> float:
    """When a customer enters, in days since `starts`: a fraction below `enrolment_days`.

    It is `draw("entry", salt, customer_id) * enrolment_days`, independent of the group. The whole
    part is the day of entry; the rest orders the customers of a day.
    """
    return draw("entry", experiment.salt, customer_id) * experiment.enrolment_days


def entry_day(experiment: Experiment, customer_id: str) -> date:
    """The day on which a customer enters, from whose beginning its horizon is counted."""
    return experiment.starts + timedelta(days=int(entry_moment(experiment, customer_id)))


def draw(what: str, salt: str, customer_id: str) -> float:
    """A number in [0, 1) that looks random and is the same everywhere.

    BLAKE2b with a digest of 8 bytes, of the UTF-8 text `what/salt/customer_id`; the digest read as
    a big-endian whole number, its lower 11 bits dropped (so that a double holds it exactly), and
    divided by 2**53. A salt has no slash, so no two triples make one text.
    """
    digest = blake2b(f"{what}/{salt}/{customer_id}".encode(), digest_size=8).digest()
    return float((int.from_bytes(digest, "big") >> 11) / 2**53)


def held_out(
    experiments: Iterable[Experiment], customer_id: str, offer_id: str, day: date
) -> Experiment | None:
    """The experiment that withholds an offer from a customer; None where none does.

    It withholds from the control group, and from everybody until the day of their entry: a customer
    who had the offer before would not begin as the control group does.

    Args:
        experiments: those that run on the day, as `running_experiments` gives them.
        customer_id: whom, known to the log or not.
        offer_id: of the offer that would be made.
        day: today in the shop's time zone.
    """
    for experiment in experiments:
        if offer_id not in experiment.offers or not experiment.covers_customer(customer_id):
            continue
        if assign(experiment, customer_id) is Group.CONTROL:
            return experiment
        if day < entry_day(experiment, customer_id):
            return experiment
    return None


def withheld(
    experiments: Iterable[Experiment], customer_id: str, offer_ids: Iterable[str], day: date
) -> dict[str, str]:
    """Offers that experiments withhold from a customer: the experiment's name, by offer id."""
    running = tuple(experiments)
    found = {each: held_out(running, customer_id, each, day) for each in offer_ids}
    return {offer_id: each.experiment_id for offer_id, each in found.items() if each is not None}
