import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.discount import discount_on, why_no_discount
from agent.offers import Offer, OfferKind
from tests.agent.hand_made_offers import offer, percent_offer


@pytest.mark.parametrize(
    ("its_offer", "order_total", "covered_total", "discount"),
    [
        (offer(value=100), 1000, 400, 100),
        (offer(value=100), 1000, 60, 60),
        (offer(value=100), 1000, 0, 0),
        (percent_offer(value=10), 1000, 400, 40),
        (percent_offer(value=10, max_discount=500), 9000, 5010, 500),
        (percent_offer(value=10, min_discount=100), 1000, 400, 100),
        (percent_offer(value=10, min_discount=100), 1000, 60, 60),
        (percent_offer(value=10, min_discount=100), 1000, 0, 0),
        (percent_offer(value=100), 400, 400, 400),
        (offer(min_order=1000), 1000, 400, 100),
        (offer(min_order=1001), 1000, 400, 0),
    ],
)
def test_discounts_by_hand(
    its_offer: Offer, order_total: int, covered_total: int, discount: int
) -> None:
    assert discount_on(its_offer, order_total, covered_total) == discount


@pytest.mark.parametrize(
    ("covered_total", "discount"), [(4, 0), (5, 0), (6, 1), (14, 1), (15, 2), (24, 2), (25, 2)]
)
def test_halves_go_to_the_even_neighbour(covered_total: int, discount: int) -> None:
    assert discount_on(percent_offer(value=10), 1000, covered_total) == discount


@pytest.mark.parametrize(
    ("its_offer", "order_total", "covered_total", "reason"),
    [
        (
            offer(min_order=2000),
            1500,
            400,
            "it is for orders of at least $20.00; this one is of $15.00",
        ),
        (offer(), 1500, 0, "nothing in the order that costs anything is covered by it"),
        (percent_offer(), 1500, 4, "10% of $0.04 is less than the smallest coin"),
        (percent_offer(), 1500, 400, None),
    ],
)
def test_the_reason_for_no_discount(
    its_offer: Offer, order_total: int, covered_total: int, reason: str | None
) -> None:
    assert why_no_discount(its_offer, order_total, covered_total, "USD") == reason


@pytest.mark.parametrize(("order_total", "covered_total"), [(100, 101), (100, -1), (-1, -1)])
def test_impossible_totals_are_refused(order_total: int, covered_total: int) -> None:
    with pytest.raises(ValueError, match="covered_total"):
        discount_on(offer(), order_total, covered_total)


@st.composite
def offers(draw: st.DrawFn) -> Offer:
    cost, min_order = draw(st.integers(0, 10_000)), draw(st.integers(0, 50_000))
    if draw(st.sampled_from(OfferKind)) is OfferKind.AMOUNT:
        return offer(value=draw(st.integers(1, 10_000)), cost=cost, min_order=min_order)
    most = draw(st.integers(1, 10_000))
    return percent_offer(
        value=draw(st.integers(1, 100)),
        max_discount=most,
        min_discount=draw(st.none() | st.integers(0, most)),
        cost=cost,
        min_order=min_order,
    )


@given(its_offer=offers(), totals=st.tuples(*[st.integers(0, 100_000)] * 3))
def test_a_discount_is_within_its_bounds_and_grows_with_what_is_covered(
    its_offer: Offer, totals: tuple[int, int, int]
) -> None:
    less, covered, order = sorted(totals)
    discount = discount_on(its_offer, order, covered)
    assert 0 <= discount_on(its_offer, order, less) <= discount <= covered <= order
    assert discount <= its_offer.hold
    assert (why_no_discount(its_offer, order, covered, "USD") is None) == (discount > 0)
