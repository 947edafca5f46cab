from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.offer_rules import Rule, RuleLine, apply_rules
from agent.offer_rules_customer import in_holdout
from agent.offers import (
    Covers,
    Eligibility,
    LedgerView,
    Offer,
    OfferCustomer,
    RunningClaim,
)
from tests.agent.hand_made_offers import NOW, customer, day, offer, worth

NOTHING_CLAIMED = LedgerView()
NEW = OfferCustomer(customer_id="77")
NEW_YORK = ZoneInfo("America/New_York")
TOMORROW = day(2018, 1, 2)


def holds(
    *, group: str = "", stackable: bool = True, until: datetime = TOMORROW, offer_id: str = "soap"
) -> LedgerView:
    claim = RunningClaim(offer_id=offer_id, exclusive_group=group, stackable=stackable, until=until)
    return LedgerView(running=(claim,))


def claimed(*moments: datetime) -> LedgerView:
    return LedgerView(claims={"tea": moments})


def for_whom(**restrictions: object) -> Offer:
    return offer(eligibility=Eligibility(**restrictions))  # type: ignore[arg-type]


def lines_of(
    its_offer: Offer,
    its_customer: OfferCustomer | None = None,
    view: LedgerView = NOTHING_CLAIMED,
    now: datetime = NOW,
) -> dict[Rule, RuleLine]:
    lines = apply_rules(its_offer, its_customer or customer(), view, now, "USD")
    return {line.rule: line for line in lines}


WEEKLY = offer(period_budget=200, period_days=7)
CODED = offer(needs_code=True)
ALONE = offer(stackable=False)
SOME_HELD_OUT = next(
    it for it in (offer(f"tea-{number}", holdout_share=0.5) for number in range(99))
    if in_holdout(it, "7")
)  # fmt: skip

REFUSED = [
    (Rule.DATES, offer(starts=TOMORROW), customer(), NOTHING_CLAIMED),
    (Rule.DATES, offer(expires=NOW), customer(), NOTHING_CLAIMED),
    (Rule.TIER, for_whom(tiers=("low",)), customer(), NOTHING_CLAIMED),
    (Rule.STAGE, for_whom(stages=("new",)), customer(), NOTHING_CLAIMED),
    (Rule.CHURN_RISK, for_whom(min_churn_risk=0.41), customer(), NOTHING_CLAIMED),
    (Rule.CHURN_RISK, for_whom(max_churn_risk=0.39), customer(), NOTHING_CLAIMED),
    (
        Rule.BOUGHT,
        for_whom(bought_category=True),
        customer(bought_categories={"Cheese": 8}),
        NOTHING_CLAIMED,
    ),
    (Rule.FIRST_ORDER, for_whom(first_order=True), customer(), NOTHING_CLAIMED),
    (Rule.EXPECTED_SPEND, for_whom(min_expected_spend=10_001), customer(), NOTHING_CLAIMED),
    (Rule.HOLDOUT, SOME_HELD_OUT, customer(), NOTHING_CLAIMED),
    (Rule.WORTH, offer(cost=4001), customer(), NOTHING_CLAIMED),
    (Rule.WORTH, offer(), NEW, NOTHING_CLAIMED),
    (Rule.CAP, offer(), customer(), claimed(day(2017, 12, 3))),
    (Rule.CAP, offer(cap_days=1), customer(), claimed(day(2018, 1, 1))),
    (Rule.GROUP, offer(exclusive_group="g"), customer(), holds(group="g")),
    (Rule.STACKING, ALONE, customer(), holds()),
    (Rule.STACKING, offer(), customer(), holds(stackable=False)),
    (Rule.CODES, CODED, customer(), NOTHING_CLAIMED),
    (Rule.CODES, CODED, customer(), LedgerView(codes_left={"tea": 0, "soap": 5})),
    (Rule.BUDGET, offer(), customer(), LedgerView(spent={"tea": 9901})),
    (Rule.PERIOD, WEEKLY, customer(), LedgerView(period_spent={"tea": 101})),
]


@pytest.mark.parametrize(("rule", "its_offer", "its_customer", "view"), REFUSED)
def test_each_rule_can_refuse_alone(
    rule: Rule, its_offer: Offer, its_customer: OfferCustomer, view: LedgerView
) -> None:
    lines = lines_of(its_offer, its_customer, view)
    assert [line.rule for line in lines.values() if not line.passed] == [rule]


def test_no_rule_is_left_out_above() -> None:
    learned = {Rule.GAIN, Rule.EXPERIMENT}  # tried below: they hang on neither customer nor ledger
    assert {rule for rule, *_ in REFUSED} | learned == set(Rule)


def test_an_offer_must_gain_more_than_it_costs() -> None:
    def line(gain: int) -> RuleLine:
        lines = apply_rules(offer(), customer(), NOTHING_CLAIMED, NOW, "USD", gain=worth(gain))
        return next(line for line in lines if line.rule is Rule.GAIN)

    assert not line(0).passed
    assert line(1).passed
    assert line(120).text == (
        "expected to gain $1.20 after an expected cost of $0.17 (made for the tests)"
    )


def test_an_experiment_withholds() -> None:
    lines = apply_rules(offer(), customer(), NOTHING_CLAIMED, NOW, "USD", experiment="autumn")
    refused = [line for line in lines if not line.passed]
    assert [(line.rule, line.text) for line in refused] == [
        (Rule.EXPERIMENT, "withheld from this customer by the experiment autumn")
    ]


@pytest.mark.parametrize(
    ("rule", "its_offer", "its_customer", "view"),
    [
        (Rule.DATES, offer(starts=NOW), customer(), NOTHING_CLAIMED),
        (
            Rule.DATES,
            offer(expires=NOW + timedelta(microseconds=1)),
            customer(),
            NOTHING_CLAIMED,
        ),
        (
            Rule.CHURN_RISK,
            for_whom(min_churn_risk=0.4, max_churn_risk=0.4),
            customer(),
            NOTHING_CLAIMED,
        ),
        (
            Rule.BOUGHT,
            offer(
                covers=Covers(item_ids=("green-tea",)),
                eligibility=Eligibility(bought_category=True),
            ),
            customer(bought_categories={}),
            NOTHING_CLAIMED,
        ),
        (Rule.FIRST_ORDER, for_whom(first_order=True), NEW, NOTHING_CLAIMED),
        (Rule.EXPECTED_SPEND, for_whom(min_expected_spend=10_000), customer(), NOTHING_CLAIMED),
        (Rule.WORTH, offer(cost=4000), customer(), NOTHING_CLAIMED),
        (Rule.WORTH, for_whom(first_order=True), NEW, NOTHING_CLAIMED),
        (Rule.CAP, offer(cap_per_customer=2), customer(), claimed(day(2017, 12, 3))),
        (Rule.CAP, offer(cap_days=1), customer(), claimed(NOW - timedelta(days=1))),
        (Rule.GROUP, offer(exclusive_group="g"), customer(), holds(group="h")),
        (Rule.GROUP, offer(exclusive_group="g"), customer(), holds(group="g", until=NOW)),
        (Rule.STACKING, ALONE, customer(), holds(until=NOW)),
        (Rule.STACKING, ALONE, customer(), holds(offer_id="tea", stackable=False)),
        (Rule.CODES, CODED, customer(), LedgerView(codes_left={"tea": 1})),
        (Rule.BUDGET, offer(), customer(), LedgerView(spent={"tea": 9900})),
        (Rule.PERIOD, WEEKLY, customer(), LedgerView(period_spent={"tea": 100})),
    ],
)
def test_each_rule_passes_at_its_edge(
    rule: Rule, its_offer: Offer, its_customer: OfferCustomer, view: LedgerView
) -> None:
    assert lines_of(its_offer, its_customer, view)[rule].passed


def test_an_offer_shows_only_the_rules_that_it_has() -> None:
    assert list(lines_of(offer())) == [Rule.DATES, Rule.WORTH, Rule.CAP, Rule.BUDGET]


def test_lines_are_in_the_order_of_the_rules() -> None:
    everything = offer(
        eligibility=Eligibility(
            tiers=("middle",),
            stages=("at risk",),
            min_churn_risk=0.1,
            bought_category=True,
            first_order=True,
            min_expected_spend=1,
        ),
        exclusive_group="g",
        stackable=False,
        needs_code=True,
        holdout_share=0.1,
        period_budget=200,
        period_days=7,
    )
    lines = apply_rules(
        everything, customer(), NOTHING_CLAIMED, NOW, "USD", gain=worth(1), experiment="autumn"
    )
    # A first order has nothing to lose, so nothing is expected of it.
    assert [line.rule for line in lines] == [rule for rule in Rule if rule is not Rule.GAIN]
    assert Rule.GAIN in [
        x.rule for x in apply_rules(offer(), customer(), NOTHING_CLAIMED, NOW, "USD", gain=worth(1))
    ]


@pytest.mark.parametrize(
    ("rule", "its_offer", "its_customer", "view", "text"),
    [
        (
            Rule.DATES,
            offer(),
            customer(),
            NOTHING_CLAIMED,
            "runs from 2017-12-01 until before 2018-02-01; today is 2018-01-01",
        ),
        (
            Rule.TIER,
            for_whom(tiers=("low", "high")),
            NEW,
            NOTHING_CLAIMED,
            "for value tiers low, high; this customer's is not known before a first order",
        ),
        (
            Rule.CHURN_RISK,
            for_whom(min_churn_risk=0.25, max_churn_risk=0.5),
            customer(),
            NOTHING_CLAIMED,
            "for a churn risk of at least 25.0% and at most 50.0%; this customer's is 40.0%",
        ),
        (
            Rule.FIRST_ORDER,
            for_whom(first_order=True),
            customer(),
            NOTHING_CLAIMED,
            "for a first order; this customer has ordered before",
        ),
        (
            Rule.HOLDOUT,
            SOME_HELD_OUT,
            customer(),
            NOTHING_CLAIMED,
            "50.0% of customers are kept out, so that its effect can be measured; this customer "
            "is one of them",
        ),
        (
            Rule.WORTH,
            for_whom(first_order=True),
            NEW,
            NOTHING_CLAIMED,
            "costs $0.85; nothing is known to be at stake yet, as for every first order",
        ),
        (
            Rule.CAP,
            offer(cap_days=30, cap_per_customer=2),
            customer(),
            claimed(day(2017, 11, 2), day(2017, 12, 24)),
            "at most 2 a customer in 30 days; this customer has claimed 1",
        ),
        (
            Rule.GROUP,
            offer(exclusive_group="g"),
            customer(),
            holds(group="g", until=datetime(2018, 1, 2, 18, tzinfo=UTC)),
            "one at a time of the group g; this customer holds soap until before "
            "2018-01-02 18:00 UTC",
        ),
        (
            Rule.STACKING,
            ALONE,
            customer(),
            NOTHING_CLAIMED,
            "not beside another offer; this customer holds none",
        ),
        (
            Rule.STACKING,
            offer(),
            customer(),
            holds(stackable=False),
            "this customer holds soap until before 2018-01-02, which no other offer may stand "
            "beside",
        ),
        (
            Rule.BUDGET,
            offer(),
            customer(),
            LedgerView(spent={"tea": 9901}),
            "$0.99 of its budget of $100.00 is left; a claim holds $1.00",
        ),
        (
            Rule.PERIOD,
            WEEKLY,
            customer(),
            LedgerView(period_spent={"tea": 100}),
            "$1.00 of $2.00 for the present 7 days is left; a claim holds $1.00",
        ),
    ],
)
def test_lines_say_the_facts(
    rule: Rule, its_offer: Offer, its_customer: OfferCustomer, view: LedgerView, text: str
) -> None:
    assert lines_of(its_offer, its_customer, view)[rule].text == text


def test_times_are_said_with_the_zone_of_the_shop() -> None:
    until_six = offer(
        starts=datetime(2017, 12, 1, tzinfo=NEW_YORK),
        expires=datetime(2018, 1, 1, 18, tzinfo=NEW_YORK),
    )
    line = lines_of(until_six, now=datetime(2018, 1, 1, 22, 59, tzinfo=UTC))[Rule.DATES]
    assert line.passed
    assert line.text == (
        "runs from 2017-12-01 until before 2018-01-01 18:00 EST; it is 2018-01-01 17:59 EST"
    )
    assert not lines_of(until_six, now=datetime(2018, 1, 1, 23, tzinfo=UTC))[Rule.DATES].passed


def test_the_day_is_the_shop_s() -> None:
    local = offer(
        starts=datetime(2017, 12, 1, tzinfo=NEW_YORK), expires=datetime(2018, 1, 1, tzinfo=NEW_YORK)
    )
    line = lines_of(local, now=datetime(2018, 1, 1, 4, 59, tzinfo=UTC))[Rule.DATES]
    assert line.passed
    assert line.text.endswith("today is 2017-12-31")


@pytest.mark.parametrize("share", [0.1, 0.5])
def test_the_in_holdout_share_is_as_declared(share: float) -> None:
    it = offer(holdout_share=share)
    kept_out = sum(in_holdout(it, f"c{number}") for number in range(10_000))
    # Four standard deviations of a binomial.
    assert abs(kept_out - 10_000 * share) < 4 * (10_000 * share * (1 - share)) ** 0.5


@given(customer_id=st.text(max_size=20), shares=st.tuples(*[st.floats(0, 0.99)] * 2))
def test_a_larger_holdout_keeps_the_smaller_one(
    customer_id: str, shares: tuple[float, float]
) -> None:
    small, large = (offer(holdout_share=share) for share in sorted(shares))
    assert in_holdout(large, customer_id) or not in_holdout(small, customer_id)


def test_each_offer_holds_out_its_own_customers() -> None:
    first, second = (offer(name, holdout_share=0.5) for name in ("tea", "soap"))
    ids = [f"c{number}" for number in range(1000)]
    both = sum(in_holdout(first, x) and in_holdout(second, x) for x in ids)
    assert 180 < both < 320


def test_the_in_holdout_are_the_same_in_every_version() -> None:
    it = offer(holdout_share=0.5)
    out = [0, 3]
    assert [number for number in range(8) if in_holdout(it, f"c{number}")] == out
