"""Whether a policy that looks ahead may take over from the one-step policy."""

import json
from dataclasses import asdict, dataclass

from retrieval.shop import Shop, write_atomically

SEQUENCE_POLICY_FILE = "sequence_policy.json"
_LEAST_SUPPORTED = 0.95


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
        supported: share of the policy's choices that the log took often enough to be judged.
    """

    policy: str
    peer: str
    customers: int
    periods: int
    gain: float
    low: float
    high: float
    supported: float


def deployable(evaluation: SequenceEvaluation) -> bool:
    """Whether the off-policy interval says better, on choices that the log supports.

    An interval over choices that the log hardly ever made is the model's guess, so such a policy
    is refused whatever the interval.
    """
    return evaluation.low > 0 and evaluation.supported >= _LEAST_SUPPORTED


def write_evaluation(shop: Shop, evaluation: SequenceEvaluation) -> None:
    """Keep the figures and the decision in the shop's directory, atomically.

    Raises:
        StorageError: the disk refuses.
    """
    document = asdict(evaluation) | {"deployable": deployable(evaluation)}
    content = json.dumps(document, indent=2, allow_nan=False) + "\n"
    write_atomically(shop.directory / SEQUENCE_POLICY_FILE, content.encode())
