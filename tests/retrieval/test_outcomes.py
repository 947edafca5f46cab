from pathlib import Path

import pytest

from retrieval.events import Kind
from retrieval.history import usual_spend
from retrieval.orders import read_pasts
from retrieval.outcomes import has_churned, spend_between
from retrieval.shop import ChurnDefinition
from tests.retrieval.small_log import bought, log_of, moment

_INACTIVE, _DECLINE = ChurnDefinition.INACTIVE, ChurnDefinition.DECLINE


@pytest.mark.parametrize(
    ("definition", "spend", "usual", "left"),
    [
        (_INACTIVE, None, 100.0, True),
        (_INACTIVE, 1, 100.0, False),
        (_INACTIVE, 0, 100.0, False),  # a free order is an order
        (_INACTIVE, None, 0.0, True),
        (_DECLINE, None, 100.0, True),
        (_DECLINE, 49, 100.0, True),
        (_DECLINE, 50, 100.0, False),
        (_DECLINE, 51, 101.0, False),
        (_DECLINE, 50, 101.0, True),
        (_DECLINE, 1_000, 100.0, False),
        (_DECLINE, None, 0.0, False),
    ],
)
def test_who_has_left(
    definition: ChurnDefinition, spend: int | None, usual: float, left: bool
) -> None:
    assert has_churned(definition, spend, usual) is left


def test_spend_counts_purchases_from_the_start_to_before_the_end(tmp_path: Path) -> None:
    log = log_of(
        tmp_path,
        [
            bought("a", "2023-12-31T23:59", "o0", "milk", 1),
            bought("a", "2024-01-01", "o1", "milk", 10),
            bought("a", "2024-01-30", "o2", "milk", 100),
            bought("a", "2024-01-30", "o2", "milk", -100, Kind.RETURN),
            bought("a", "2024-01-31", "o3", "milk", 1_000),
            bought("b", "2024-01-15", "o4", "milk", 0),
            bought("c", "2024-01-15", "", "milk", 0, Kind.VIEW),
            bought("d", "2024-02-15", "o5", "milk", 5),
        ],
    )
    spend = spend_between(log, moment("2024-01-01"), moment("2024-01-31"))
    assert spend == {"a": 110, "b": 0}
    assert spend_between(log, moment("2025-01-01"), moment("2026-01-01")) == {}


def test_decline_is_against_the_customers_own_habit(tmp_path: Path) -> None:
    """120 in 60 days is 60 a month; 29 afterwards is under half of it, 30 is not."""
    cutoff, end = moment("2024-03-01"), moment("2024-03-31")
    log = log_of(
        tmp_path,
        [
            line
            for customer, after in (("less", 29), ("half", 30))
            for line in (
                bought(customer, "2024-01-01", f"{customer}1", "milk", 60),
                bought(customer, "2024-02-01", f"{customer}2", "milk", 60),
                bought(customer, "2024-03-02", f"{customer}3", "milk", after),
            )
        ],
    )
    after = spend_between(log, cutoff, end)
    left = {
        past.customer_id: has_churned(_DECLINE, after[past.customer_id], usual_spend(past, 30))
        for past in read_pasts(log, cutoff)
    }
    assert left == {"half": False, "less": True}
