"""A plan over the whole tiny shop, from its own predictions."""

import csv
from dataclasses import replace
from datetime import timedelta

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from agent.agent import Agent
from agent.errors import OfferError
from agent.ledger import Ledger
from agent.offer_choice import OfferDecision
from agent.offer_file import shop_offers, write_offers
from agent.offer_plan import PLAN_FILE, plan_offers, write_plan
from agent.offers import OfferBook
from agent.resources import Resources
from finetune.batch_scoring import PREDICTIONS_FILE, score_shop
from finetune.offer_effects import write_effects
from retrieval.shop import Shop
from tests.agent.hand_made_effects import effects


@pytest.fixture
def scored(shop: Shop) -> Shop:
    """A shop with effects and predictions; an offer that is redeemed by a fifth pays."""
    write_effects(shop, effects(spend=4_000.0))
    score_shop(shop)
    return shop


def test_everybody_gets_what_the_agent_would_offer_while_the_budget_lasts(scored: Shop) -> None:
    plan = plan_offers(Resources(scored))
    agent = Agent.open(scored.directory)
    having = {c for c in agent.customers(limit=100) if isinstance(agent.offer(c), OfferDecision)}
    planned = [each.customer_id for each in plan.planned]
    assert planned
    assert set(planned) <= having
    assert plan.eligible == len(having)
    # Its own budget of $10.00 is the only limit, an expected cost of $0.16 each.
    cost = sum(each.worth.cost for each in plan.planned)
    assert cost == plan.allocation.cost <= 1_000
    assert len(planned) == min(len(having), 1_000 // plan.planned[0].worth.cost)


def test_a_budget_is_kept_and_goes_to_those_who_gain_most(scored: Shop) -> None:
    whole = plan_offers(Resources(scored))
    each = whole.planned[0].worth.cost
    small = plan_offers(Resources(scored), budget=2 * each)
    assert [x.worth.cost for x in small.planned] == [each, each]
    best = sorted((x.worth.gain for x in whole.planned), reverse=True)[:2]
    assert sorted((x.worth.gain for x in small.planned), reverse=True) == best
    assert small.allocation.upper_bound >= small.allocation.gain
    assert plan_offers(Resources(scored), budget=0).planned == ()


def test_codes_and_the_periods_budget_limit_a_plan(scored: Shop) -> None:
    book = shop_offers(scored)

    def planned(**changes: object) -> int:
        changed = OfferBook([replace(book["drinks"], **changes)], currency="USD")  # type: ignore[arg-type]
        write_offers(scored.offers_file, changed, scored.zone)
        return len(plan_offers(Resources(scored)).planned)

    assert planned() > 3
    cost = plan_offers(Resources(scored)).planned[0].worth.cost
    assert planned(needs_code=True) == 0
    Ledger(scored.ledger_file).add_codes("drinks", ["a", "b", "c"])
    assert planned(needs_code=True) == 3
    assert planned(period_budget=100, period_days=7) == 100 // cost < planned()


def test_nothing_is_planned_where_nothing_pays(scored: Shop) -> None:
    write_effects(scored, effects(spend=0.0))
    plan = plan_offers(Resources(scored))
    assert (plan.planned, plan.best_single, plan.best_single_gain) == ((), None, 0)


def test_a_plan_claims_nothing_and_is_written_in_major_units(scored: Shop) -> None:
    resources = Resources(scored)
    plan = plan_offers(resources)
    write_plan(scored.directory / PLAN_FILE, plan)
    with (scored.directory / PLAN_FILE).open(encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    assert [row["customer_id"] for row in rows] == [x.customer_id for x in plan.planned]
    assert rows[0]["expected_gain"] == f"{plan.planned[0].worth.gain / 100:.2f}"
    assert resources.ledger.balances() == {}
    assert resources.ledger.decisions() == ()


def test_what_is_missing_is_named(shop: Shop) -> None:
    with pytest.raises(OfferError, match="learned no effects"):
        plan_offers(Resources(shop))
    write_effects(shop, effects(spend=4_000.0))
    with pytest.raises(OfferError, match=PREDICTIONS_FILE):
        plan_offers(Resources(shop))


def test_predictions_of_another_moment_are_refused(scored: Shop) -> None:
    file = scored.directory / PREDICTIONS_FILE
    table = pq.read_table(file)
    column = table.column_names.index("as_of")
    earlier = [moment - timedelta(days=1) for moment in table["as_of"].to_pylist()]
    field = table.schema.field("as_of")
    pq.write_table(table.set_column(column, field, pa.array(earlier, type=field.type)), file)
    with pytest.raises(OfferError, match="the log goes on until"):
        plan_offers(Resources(scored))
