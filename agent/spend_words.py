"""Expected spend in words, as the desk reads it: the amount, its interval and its season."""

from agent.answers import Prediction
from retrieval.money import format_money

HOW_TO_GET_AN_INTERVAL = (
    "no interval: this adapter was made without one; patron finetune --keep-weights makes one that "
    "has it, where the shop has customers enough"
)


def spend_in_words(prediction: Prediction) -> str:
    """The amount, its interval, and whether the season is known: "$7 (80% between ...)"."""
    amount = format_money(prediction.expected_spend, prediction.currency)
    interval = interval_in_words(prediction)
    if interval is None or prediction.season is None:
        return f"{amount} ({HOW_TO_GET_AN_INTERVAL})"
    return f"{amount} ({interval}); season {prediction.season}"


def interval_in_words(prediction: Prediction, verb: str = "") -> str | None:
    """The interval: "80% between $410.00 and $1,120.00"; None where the adapter has none.

    Args:
        prediction: with the interval.
        verb: what stands after the share, as in "80% spend between".
    """
    low, high = prediction.expected_spend_low, prediction.expected_spend_high
    if low is None or high is None or prediction.expected_spend_coverage is None:
        return None
    share = f"{prediction.expected_spend_coverage:.0%}{' ' + verb if verb else ''}"
    ends = (format_money(end, prediction.currency) for end in (low, high))
    return f"{share} between {' and '.join(ends)}"
