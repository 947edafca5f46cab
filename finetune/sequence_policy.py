"""Whether a policy that looks ahead may take over from the one-step policy."""

import json
from dataclasses import asdict, dataclass

from retrieval.shop import Shop, write_atomically

SEQUENCE_POLICY_FILE = "sequence_policy.json"
_FEWEST_PATHS = 100
"""Below this, a few customers' luck is the estimate, and no interval of it means much."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SequenceEvaluation:
    """What off-policy evaluation on held-out customers found.

    Attributes:
        policy: that looks ahead.
        peer: the one-step policy.
        customers: held-out customers judged on.
        periods: that returns run over.
        gain: return per customer over the peer's, minor units.
        low: lower end of its 95% interval.
        high: upper end.
        effective_paths: customers whose whole path over these periods the log leaves for judging,
            by importance weights; the fewer of the two policies'.
    """

    policy: str
    peer: str
    customers: int
    periods: int
    gain: float
    low: float
    high: float
    effective_paths: float


def deployable(evaluation: SequenceEvaluation) -> bool:
    """Whether the off-policy interval says better, and enough of the log went the policies' way.

    Single choices may each be usual while hardly anybody ever went through all of them. An interval
    over paths that were not taken is the model's guess, so such a policy is refused whatever it
    says.
    """
    return evaluation.low > 0 and evaluation.effective_paths >= _FEWEST_PATHS


def write_evaluation(shop: Shop, evaluation: SequenceEvaluation) -> None:
    """Keep the figures and the decision in the shop's directory, atomically.

    Raises:
        StorageError: the disk refuses.
    """
    document = asdict(evaluation) | {"deployable": deployable(evaluation)}
    content = json.dumps(document, indent=2, allow_nan=False) + "\n"
    write_atomically(shop.directory / SEQUENCE_POLICY_FILE, content.encode())
