from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.errors import OfferError
from agent.offers import (
    Covers,
    Eligibility,
    LedgerView,
    NoOffer,
    Offer,
    OfferBook,
    OfferCustomer,
    OfferDecision,
    OfferKind,
    Rule,
    choose_offer,
    read_offers,
    write_offers,
)
from retrieval.money import to_major

NOW = datetime(2018, 1, 1, 12, tzinfo=UTC)
NOTHING_CLAIMED = LedgerView(claims={}, groups={}, spent={})

TEA = """
[[offers]]
offer_id = "tea"
title = "$1.10 off tea"
kind = "amount"
value = 1.10
cost = "0.85"
budget = 100
starts = 2017-12-01
expires = 2018-02-01
"""


def offer(offer_id: str = "tea", **changes: object) -> Offer:
    values: dict[str, object] = {
        "offer_id": offer_id,
        "title": "$1.00 off tea",
        "description": "",
        "kind": OfferKind.AMOUNT,
        "value": 100,
        "max_discount": None,
        "cost": 85,
        "covers": Covers(categories=("Teas",)),
        "budget": 10_000,
        "starts": date(2017, 12, 1),
        "expires": date(2018, 2, 1),
    }
    return Offer(**values | changes)  # type: ignore[arg-type]


def customer(**changes: object) -> OfferCustomer:
    values: dict[str, object] = {
        "customer_id": "7",
        "value_tier": "middle",
        "churn_risk": 0.4,
        "stage": "at risk",
        "expected_spend": 10_000,
        "bought_categories": {"Teas": 3, "Cheese": 8},
        "bought_items": frozenset({"green-tea"}),
    }
    return OfferCustomer(**values | changes)  # type: ignore[arg-type]


def book(*offers: Offer) -> OfferBook:
    return OfferBook(offers, currency="USD")


def write(tmp_path: Path, text: str) -> Path:
    file = tmp_path / "offers.toml"
    file.write_text(text, encoding="utf-8")
    return file


def test_absent_file_is_an_empty_book(tmp_path: Path) -> None:
    assert len(read_offers(tmp_path / "offers.toml", "USD")) == 0


def test_amounts_are_read_exactly_in_minor_units(tmp_path: Path) -> None:
    tea = read_offers(write(tmp_path, TEA), "USD")["tea"]
    assert (tea.value, tea.cost, tea.budget) == (110, 85, 10_000)
    assert tea.covers.everything
    assert tea.cap_per_customer == 1


def test_amounts_follow_the_currency(tmp_path: Path) -> None:
    text = TEA.replace("1.10", "110").replace('"0.85"', "85")
    assert read_offers(write(tmp_path, text), "JPY")["tea"].value == 110


@pytest.mark.parametrize(
    ("old", "new", "field"),
    [
        ('cost = "0.85"', 'cost = "-1"', "cost"),
        ('cost = "0.85"', 'cost = "0.855"', "cost"),
        ('cost = "0.85"', 'cost = "cheap"', "cost"),
        ('cost = "0.85"', "cost = true", "cost"),
        ('cost = "0.85"', "cost = inf", "cost"),
        ('cost = "0.85"', "", "cost"),
        ('cost = "0.85"', "cost = 200", "budget"),
        ("value = 1.10", "value = 0", "value"),
        ("budget = 100", "budget = 1e30", "budget"),
        ('kind = "amount"', 'kind = "gift"', "kind"),
        ('kind = "amount"', 'kind = "percent"', "value"),
        ('kind = "amount"\nvalue = 1.10', 'kind = "percent"\nvalue = 101', "value"),
        ('kind = "amount"\nvalue = 1.10', 'kind = "percent"\nvalue = 10', "max_discount"),
        ("value = 1.10", "value = 1.10\nmax_discount = 1", "max_discount"),
        ("expires = 2018-02-01", "expires = 2017-12-01", "expires"),
        ("expires = 2018-02-01", "expires = 2018-02-01\ncolour = 1", "colour"),
        ("expires = 2018-02-01", "expires = 2018-02-01\ncap_per_customer = 0", "cap_per_customer"),
        (
            "expires = 2018-02-01",
            "expires = 2018-02-01\n[offers.eligibility]\nmin_churn_risk = 1.5",
            "eligibility.min_churn_risk",
        ),
        (
            "expires = 2018-02-01",
            "expires = 2018-02-01\n[offers.eligibility]\nmin_churn_risk = 0.5\n"
            "max_churn_risk = 0.4",
            "eligibility.max_churn_risk",
        ),
        (
            "expires = 2018-02-01",
            "expires = 2018-02-01\n[offers.eligibility]\nbought_category = true",
            "eligibility.bought_category",
        ),
        (
            "expires = 2018-02-01",
            'expires = 2018-02-01\n[offers.eligibility]\ntiers = ["golden"]',
            "eligibility.tiers",
        ),
        (
            "expires = 2018-02-01",
            'expires = 2018-02-01\n[offers.eligibility]\nstages = ["at_risk"]',
            "eligibility.stages",
        ),
    ],
)
def test_a_wrong_offer_is_named_with_its_field(
    tmp_path: Path, old: str, new: str, field: str
) -> None:
    assert old in TEA
    with pytest.raises(OfferError) as raised:
        read_offers(
            write(tmp_path, TEA.replace(old, new)),
            "USD",
            known_tiers=["low", "high"],
            known_stages=["new", "at risk"],
        )
    assert "'tea'" in raised.value.message
    assert f"'{field}'" in raised.value.message
    assert raised.value.hint
    assert raised.value.code == "offer_error"


def test_an_offer_without_an_id_is_named_by_its_place(tmp_path: Path) -> None:
    text = TEA + TEA.replace('offer_id = "tea"\n', "")
    with pytest.raises(OfferError, match=r"number 2.*'offer_id'"):
        read_offers(write(tmp_path, text), "USD")


@pytest.mark.parametrize("text", ["[[offers]", "offers = 3", "[[offer]]\n", "offers = [1]"])
def test_what_is_no_list_of_offers_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(OfferError, match=r"offers\.toml"):
        read_offers(write(tmp_path, text), "USD")


def test_two_offers_with_one_id_are_refused(tmp_path: Path) -> None:
    with pytest.raises(OfferError, match="'tea': 'offer_id'"):
        read_offers(write(tmp_path, TEA + TEA), "USD")


def test_a_written_book_reads_back_equal(tmp_path: Path) -> None:
    written = book(
        offer(source='campaign 3, "coupon" 5', exclusive_group="c3", cap_per_customer=2),
        offer(
            "ten",
            kind=OfferKind.PERCENT,
            value=10,
            max_discount=501,
            covers=Covers(categories=("Teas", "Fruit"), item_ids=("1", "2")),
            eligibility=Eligibility(
                tiers=("high",),
                stages=("at risk",),
                min_churn_risk=0.0,
                max_churn_risk=0.75,
                bought_category=True,
                min_expected_spend=0,
            ),
        ),
    )
    file = tmp_path / "offers.toml"
    write_offers(file, written)
    assert dict(read_offers(file, "USD")) == dict(written)


@settings(max_examples=50, deadline=None)
@given(amount=st.integers(1, 10**14 - 1), currency=st.sampled_from(["USD", "JPY", "KWD"]))
def test_no_amount_changes_on_its_way_through_the_file(
    tmp_path_factory: pytest.TempPathFactory, amount: int, currency: str
) -> None:
    file = tmp_path_factory.mktemp("shop") / "offers.toml"
    if to_major(amount, currency) >= Decimal(10**12):
        amount = amount // 1000
    write_offers(file, OfferBook([offer(value=amount, budget=amount, cost=1)], currency=currency))
    read = read_offers(file, currency)["tea"]
    assert (read.value, read.budget) == (amount, amount)


def test_covers_narrow_to_items_where_given() -> None:
    assert Covers().includes("1", "Teas")
    assert Covers(categories=("Teas",)).includes("1", "Teas")
    assert not Covers(categories=("Teas",)).includes("1", "Cheese")
    assert Covers(categories=("Teas",), item_ids=("1",)).includes("1", "Teas")
    assert not Covers(categories=("Teas",), item_ids=("1",)).includes("2", "Teas")


def test_a_fitting_offer_is_chosen_with_true_reasons() -> None:
    decision = choose_offer(book(offer()), customer(), NOTHING_CLAIMED, NOW)
    assert isinstance(decision, OfferDecision)
    assert decision.offer.offer_id == "tea"
    assert decision.cost == 85
    assert decision.runner_up is None
    assert all(line.passed for line in decision.rules)
    assert decision.reason == (
        "'$1.00 off tea' costs the shop $0.85, and $40.00 is at stake (40.0% churn risk of "
        "$100.00 expected spend); this customer bought Teas in 3 orders."
    )


@pytest.mark.parametrize(
    ("rule", "its_offer", "its_customer", "view"),
    [
        (Rule.DATES, offer(starts=date(2018, 1, 2)), customer(), NOTHING_CLAIMED),
        (Rule.DATES, offer(expires=date(2018, 1, 1)), customer(), NOTHING_CLAIMED),
        (Rule.TIER, offer(eligibility=Eligibility(tiers=("low",))), customer(), NOTHING_CLAIMED),
        (Rule.STAGE, offer(eligibility=Eligibility(stages=("new",))), customer(), NOTHING_CLAIMED),
        (
            Rule.CHURN_RISK,
            offer(eligibility=Eligibility(min_churn_risk=0.41)),
            customer(),
            NOTHING_CLAIMED,
        ),
        (
            Rule.CHURN_RISK,
            offer(eligibility=Eligibility(max_churn_risk=0.39)),
            customer(),
            NOTHING_CLAIMED,
        ),
        (
            Rule.BOUGHT,
            offer(eligibility=Eligibility(bought_category=True)),
            customer(bought_categories={"Cheese": 8}),
            NOTHING_CLAIMED,
        ),
        (
            Rule.EXPECTED_SPEND,
            offer(eligibility=Eligibility(min_expected_spend=10_001)),
            customer(),
            NOTHING_CLAIMED,
        ),
        (Rule.WORTH, offer(cost=4001), customer(), NOTHING_CLAIMED),
        (Rule.CAP, offer(), customer(), LedgerView(claims={"tea": 1}, groups={}, spent={})),
        (
            Rule.GROUP,
            offer(exclusive_group="g"),
            customer(),
            LedgerView(claims={}, groups={"g": date(2018, 1, 2)}, spent={}),
        ),
        (Rule.BUDGET, offer(), customer(), LedgerView(claims={}, groups={}, spent={"tea": 9916})),
    ],
)
def test_each_rule_can_refuse(
    rule: Rule, its_offer: Offer, its_customer: OfferCustomer, view: LedgerView
) -> None:
    result = choose_offer(book(its_offer), its_customer, view, NOW)
    assert isinstance(result, NoOffer)
    assert result.rule is rule
    failed = [line.rule for line in result.considered["tea"] if not line.passed]
    assert failed == [rule]


@pytest.mark.parametrize(
    ("its_offer", "its_customer", "view"),
    [
        (offer(starts=date(2018, 1, 1)), customer(), NOTHING_CLAIMED),
        (offer(expires=date(2018, 1, 2)), customer(), NOTHING_CLAIMED),
        (
            offer(eligibility=Eligibility(min_churn_risk=0.4, max_churn_risk=0.4)),
            customer(),
            NOTHING_CLAIMED,
        ),
        (offer(cost=4000), customer(), NOTHING_CLAIMED),
        (
            offer(exclusive_group="g"),
            customer(),
            LedgerView(claims={}, groups={"g": date(2018, 1, 1)}, spent={}),
        ),
        (offer(), customer(), LedgerView(claims={}, groups={}, spent={"tea": 9915})),
        (
            offer(
                covers=Covers(item_ids=("green-tea",)),
                eligibility=Eligibility(bought_category=True),
            ),
            customer(bought_categories={}),
            NOTHING_CLAIMED,
        ),
    ],
)
def test_each_rule_passes_at_its_edge(
    its_offer: Offer, its_customer: OfferCustomer, view: LedgerView
) -> None:
    assert isinstance(choose_offer(book(its_offer), its_customer, view, NOW), OfferDecision)


def test_relevance_goes_before_cost_and_cost_before_id() -> None:
    cheese = Covers(categories=("Cheese",))
    everything = offer("all", covers=Covers(), cost=1)
    dear = offer("a-dear-cheese", covers=cheese, cost=90)
    cheap = offer("b-cheap-cheese", covers=cheese, cost=80)
    same = offer("c-cheap-cheese", covers=cheese, cost=80)
    decision = choose_offer(
        book(everything, offer(), same, dear, cheap), customer(), NOTHING_CLAIMED, NOW
    )
    assert isinstance(decision, OfferDecision)
    assert decision.offer.offer_id == "b-cheap-cheese"
    assert decision.runner_up == "c-cheap-cheese"
    assert set(decision.considered) == {"all", "tea", *[x.offer_id for x in (dear, cheap, same)]}


def test_no_offer_names_the_commonest_rule_of_those_that_run() -> None:
    result = choose_offer(
        book(
            *[offer(f"over-{number}", expires=date(2017, 12, 5)) for number in range(5)],
            offer("one", eligibility=Eligibility(tiers=("low",))),
            offer("two", eligibility=Eligibility(stages=("new",))),
            offer("three", eligibility=Eligibility(stages=("lapsed",))),
        ),
        customer(),
        NOTHING_CLAIMED,
        NOW,
    )
    assert isinstance(result, NoOffer)
    assert result.rule is Rule.STAGE
    assert result.reason == (
        "No offer fits: the commonest reason, for 2 of 3 running on 2018-01-01, is that it is for "
        "other lifecycle stages."
    )


def test_an_empty_book_gives_no_offer() -> None:
    result = choose_offer(book(), customer(), NOTHING_CLAIMED, NOW)
    assert isinstance(result, NoOffer)
    assert result.rule is None


def test_a_moment_without_time_zone_is_refused() -> None:
    with pytest.raises(ValueError, match="aware"):
        choose_offer(book(), customer(), NOTHING_CLAIMED, datetime(2018, 1, 1))


@settings(max_examples=100, deadline=None)
@given(data=st.data())
def test_the_choice_is_deterministic_and_within_the_rules(data: st.DataObject) -> None:
    costs = data.draw(st.lists(st.integers(0, 6000), min_size=1, max_size=6))
    offers = [
        offer(f"o{number}", cost=cost, covers=Covers(categories=(category,)), budget=6000)
        for number, cost in enumerate(costs)
        for category in [data.draw(st.sampled_from(["Teas", "Cheese", "Soap"]))]
    ]
    spent = {x.offer_id: data.draw(st.integers(0, 6000)) for x in offers}
    view = LedgerView(claims={}, groups={}, spent=spent)
    who = customer(churn_risk=data.draw(st.floats(0, 1)))
    first = choose_offer(book(*offers), who, view, NOW)
    assert choose_offer(book(*data.draw(st.permutations(offers))), who, view, NOW) == first
    if isinstance(first, OfferDecision):
        assert first.cost <= round(who.churn_risk * who.expected_spend)
        assert spent[first.offer.offer_id] + first.cost <= first.offer.budget
    else:
        assert all(any(not x.passed for x in lines) for lines in first.considered.values())
