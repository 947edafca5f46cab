from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from finetune.rfm import Rfm, rfm_of
from tests.finetune.bought_and_gone import cdnow_sample, one_by_one
from tests.finetune.hand_made import past_of


def _row(rfm: Rfm) -> tuple[float, float, float, float]:
    assert len(rfm) == 1
    return (
        float(rfm.recency[0]),
        float(rfm.frequency[0]),
        float(rfm.T[0]),
        float(rfm.monetary_value[0]),
    )


@pytest.mark.parametrize(
    ("orders", "as_of", "expected"),
    [
        ([(0, 900)], 70, (0, 0, 10, 0)),  # bought once
        ([(0, 900), (14, 500)], 70, (2, 1, 10, 500)),  # the first spend does not count
        ([(0, 900), (14, 500), (35, 1000)], 70, (5, 2, 10, 750)),
        ([(0, 900), (0.9, 700)], 70, (0, 0, 10, 0)),  # twice on the first day is once
        ([(0, 900), (7, 500), (7.5, 300), (14, 400)], 14.5, (2, 2, 2, 600)),
        # Late in the evening and early next morning are two days.
        ([(0.99, 900), (1.01, 500)], 8, (1 / 7, 1, 8 / 7, 500)),
        ([(3, 900)], 3.5, (0, 0, 0, 0)),  # bought today
        ([(0, 900), (7, 0)], 14, (1, 1, 2, 0)),  # a free order is a purchase
    ],
)
def test_known_answers(
    orders: list[tuple[float, int]], as_of: float, expected: tuple[float, float, float, float]
) -> None:
    assert _row(rfm_of([past_of(orders, as_of=as_of)])) == pytest.approx(expected)


def test_a_unit_may_be_a_day() -> None:
    past = past_of([(0, 900), (14, 500)], as_of=70)
    assert _row(rfm_of([past], unit_days=1)) == (14, 1, 70, 500)
    with pytest.raises(ValueError, match="longer than 0"):
        rfm_of([past], unit_days=0)


def test_days_are_those_of_utc() -> None:
    tokyo = timezone(timedelta(hours=9))
    past = past_of([(0, 900), (1, 500)], as_of=7)
    first, second = past.orders
    # 8 in the morning of the 2nd in Tokyo is still the 1st in UTC.
    second = replace(second, timestamp=datetime(2024, 1, 2, 8, tzinfo=tokyo))
    assert second.timestamp.astimezone(UTC).day == 1
    assert _row(rfm_of([replace(past, orders=(first, second))])) == (0, 0, 1, 0)


def test_customers_keep_their_order_and_there_may_be_none() -> None:
    pasts = [past_of([(0, 1), (7 * weeks, 2)], as_of=70) for weeks in (3, 1, 2)]
    assert rfm_of(pasts).recency.tolist() == [3, 1, 2]
    assert len(rfm_of([])) == 0


@given(
    days=st.lists(st.floats(0, 300), min_size=1, max_size=12),
    amounts=st.lists(st.integers(0, 10**7), min_size=12, max_size=12),
    wait=st.floats(0, 100),
)
def test_any_past_gives_rows_that_can_be_true(
    days: list[float], amounts: list[int], wait: float
) -> None:
    orders = list(zip(sorted(days), amounts, strict=False))
    recency, frequency, whole, spend = _row(rfm_of([past_of(orders, as_of=max(days) + wait)]))
    assert frequency <= recency * 7 + 1e-9  # a purchase day more takes a day more
    assert recency <= whole
    assert 0 <= spend <= sum(amounts)


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ((5, 1, 4, 100), r"recency > T\) in 1 of 2 rows, first in row 1"),
        ((-1, 1, 4, 100), "recency is negative"),
        ((1, -1, 4, 100), "frequency is negative"),
        ((1, 1, 4, -100), "monetary_value is negative"),
        ((1, 1, np.nan, 100), "T is negative or no number"),
        ((1, 1, np.inf, 100), "T is negative or no number"),
        ((1, 1.5, 4, 100), "not a whole number"),
        ((1, 0, 4, 0), "recency is above 0 though"),
        ((0, 2, 4, 100), "recency is 0 though"),
        ((0, 0, 4, 100), "monetary value is above 0 though"),
    ],
)
def test_rows_that_cannot_be_true_are_refused(
    row: tuple[float, float, float, float], reason: str
) -> None:
    with pytest.raises(ValueError, match=reason):
        one_by_one((1, 1, 2, 100), row)


def test_arrays_of_different_length_are_refused() -> None:
    with pytest.raises(ValueError, match=r"differ in shape: recency \(1,\)"):
        Rfm(
            recency=np.zeros(1),
            frequency=np.zeros(2),
            T=np.zeros(2),
            monetary_value=np.zeros(2),
        )


def test_the_cdnow_sample_is_the_published_one() -> None:
    rfm = cdnow_sample()
    assert len(rfm) == 2357
    assert (rfm.frequency > 0).sum() == 946
    # The first two rows of the published summary.
    np.testing.assert_allclose(rfm.recency[:2], [30.43, 1.71], atol=0.005)
    np.testing.assert_allclose(rfm.frequency[:2], [2, 1])
    np.testing.assert_allclose(rfm.T[:2], [38.86, 38.86], atol=0.005)
    np.testing.assert_allclose(rfm.monetary_value[:2], [2235, 1177], atol=0.6)
