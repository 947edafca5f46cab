"""Are the reasons true, is every item valid, and what do newcomers get?"""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from bench.recommendation_compare import metrics_of
from bench.recommendation_data import LENGTH, Window
from bench.recommendation_lists import Found, arranged, learn, ranked, source_lists
from bench.report import Report
from retrieval.baskets import baskets_of
from retrieval.counting_sources import Popular, RecentOwnRepeats, Trending
from retrieval.filters import Filters
from retrieval.item_neighbours import BoughtTogether, Ease
from retrieval.lines import Ints
from retrieval.progress import Progress
from retrieval.purchases import basket_variants, purchases_of
from retrieval.ranking import Recommendation, RecommendContext, recommend
from retrieval.recommender import HORIZON, Recommender
from retrieval.sources import CandidateSource
from retrieval.text_similarity import Similar

_REASONED_CUSTOMERS = 60
_SHOWN = 10
_NEW_ITEMS = 300  # sold items that are made new
_LEAST_PASSING = 0.95


def check_reasons(
    recommender: Recommender, test: Window, seed: int, report: Report, progress: Progress
) -> None:
    """Deletion test of reasons, and validity of items, on customers drawn at random.

    Without the orders that a reason cites, the item is ranked again from the start, by the path
    that finds candidates, not by the one that scored the reason. A control leaves out as many
    orders drawn at random.
    """
    data = test.data
    drawn = np.random.default_rng(seed).permutation(len(test.customers))[:_REASONED_CUSTOMERS]
    random = np.random.default_rng(seed)
    items = cited = passed = control = valid = 0
    for number, row in enumerate(drawn):
        customer_id = data.lines.customer_ids[test.customers[row]]
        purchases = purchases_of(data.shop.log, customer_id, test.cutoff)
        for filters in _filters(test, int(row)):
            context = RecommendContext(
                recommender=recommender,
                assortment=data.assortment,
                catalogue=data.catalogue,
                purchases=purchases,
                as_of=test.cutoff,
                currency=data.shop.settings.currency,
            )
            found = recommend(context, count=_SHOWN, filters=filters)
            items += len(found.items)
            valid += sum(_fits(context, item, filters, bool(found.notes)) for item in found.items)
            with_orders = [item for item in found.items if item.cites]
            cited += len(with_orders)
            new_only = filters.new_only
            passed += _falling(context, with_orders, [item.cites for item in with_orders], new_only)
            orders = list(dict.fromkeys(purchase.order_id for purchase in purchases))
            drawn_orders = [
                tuple(random.choice(orders, len(set(item.cites)), replace=False).tolist())
                for item in with_orders
            ]
            control += _falling(context, with_orders, drawn_orders, new_only)
        progress(f"Reasons on {data.name}", number + 1, len(drawn))
    report.say(
        f"{data.name}: {items} items shown to {len(drawn)} customers, {cited} with a reason that "
        f"cites orders ({cited / items:.1%}), {passed} of these pass the deletion test; without as "
        f"many orders drawn at random {control / max(1, cited):.1%} fall"
    )
    report.add_row(data.name, "reasons", "patron", "fall at random", control / max(1, cited))
    report.add_row(data.name, "reasons", "patron", "cite orders", cited / items)
    report.add_row(data.name, "reasons", "patron", "pass deletion", passed / max(1, cited))
    report.add_row(data.name, "reasons", "patron", "valid ratio", valid / items)
    share = passed / max(1, cited)
    report.claim(
        f"{data.name}: at least 95% of reasons pass the deletion test ({share:.2%})",
        cited > 0 and share >= _LEAST_PASSING,
    )
    report.claim(f"{data.name}: every item is valid ({valid} of {items})", valid == items)


def _filters(test: Window, row: int) -> tuple[Filters, ...]:
    """A plain question, new items, prices that can and cannot be met, and a category of theirs."""
    assortment = test.data.assortment
    own = test.baskets.item[test.baskets.starts[row] : test.baskets.starts[row + 1]]
    item = assortment.item(int(own[len(own) // 2]))
    price = int(np.median(assortment.price[assortment.price > 0]))
    return (
        Filters(),
        Filters(new_only=True),
        Filters(max_price=price),
        Filters(max_price=0),
        Filters(categories=frozenset({item.category}) - {""}),
    )


def _fits(
    context: RecommendContext, item: Recommendation, filters: Filters, loosened: bool
) -> bool:
    entry = context.catalogue.items.get(item.item_id)
    row = context.assortment.table.row.get(item.item_id, -1)
    if entry is None or entry.title != item.title or not context.assortment.sellable[row]:
        return False
    if loosened:
        return True
    bought = {purchase.item_id for purchase in context.purchases}
    return (
        (filters.max_price is None or (entry.price or 10**9) <= filters.max_price)
        and (not filters.categories or entry.category in filters.categories)
        and not (filters.new_only and item.item_id in bought)
    )


def _falling(
    context: RecommendContext,
    items: list[Recommendation],
    orders: list[tuple[str, ...]],
    new_only: bool,
) -> int:
    """How many items' scores fall without some orders of the customer, each its own."""
    if not items:
        return 0
    whole = _scores(context, items, [frozenset()] * len(items), new_only)
    left = _scores(context, items, [frozenset(left_out) for left_out in orders], new_only)
    return sum(after < before for before, after in zip(whole, left, strict=True))


def _scores(
    context: RecommendContext,
    items: list[Recommendation],
    without: list[frozenset[str]],
    new_only: bool,
) -> list[float]:
    """Each item's score, ranked anew without some orders; only the item may be named."""
    recommender = context.recommender
    baskets = basket_variants(context.purchases, recommender.table, context.as_of, without)
    scores = []
    for row, item in enumerate(items):
        place = recommender.table.row[item.item_id]
        allowed = np.zeros(len(recommender.table), dtype=bool)
        allowed[place] = True
        found = recommender.rank(baskets.rows(row, row + 1), allowed=allowed, new_only=new_only)
        scores.append(float(found.score[0]) if len(found.score) else 0.0)
    return scores


def check_cold_start(
    recommender: Recommender, test: Window, seed: int, report: Report, progress: Progress
) -> None:
    """Customers without a past or with one order, and items that never sold, all simulated."""
    _new_customers(recommender, test, report)
    _new_items(test, seed, report, progress)


def _new_customers(recommender: Recommender, test: Window, report: Report) -> None:
    """The test customers, as if they had bought nothing, or only their last order."""
    items = len(test.data.table)
    own = test.past.of_customers(test.customers)
    newest = np.zeros(len(own.customer_ids), dtype=np.int64)
    np.maximum.at(newest, own.customer, own.time)
    earlier = np.unique(own.order[own.time < newest[own.customer]])
    peers: dict[str, CandidateSource] = {
        "popular": Popular.fit(test.past, items),
        "recently popular": Trending.fit(test.past, items, test.cutoff),
        "recent own repeats": RecentOwnRepeats(),
        "item-knn": BoughtTogether.fit(test.past, items),
        "ease": Ease.fit(test.past, items),
    }
    for name, lines in (
        ("no orders", own.without_orders(own.order)),
        ("one order", own.without_orders(earlier)),
    ):
        baskets = baskets_of(lines, test.cutoff, items, test.customers)
        newcomers = replace(test, baskets=baskets)
        lists = {"patron": arranged(recommender, newcomers, ranked(recommender, newcomers))}
        lists |= {peer: source_lists(source, newcomers) for peer, source in peers.items()}
        baskets_alone = {system: by_task["basket"] for system, by_task in lists.items()}
        _add(newcomers, f"new customer, {name}", baskets_alone, report)


def _new_items(test: Window, seed: int, report: Report, progress: Progress) -> None:
    """Items that sell in the test window, as if they had never sold before."""
    data, items = test.data, len(test.data.table)
    after = data.lines.between(test.cutoff, test.cutoff + HORIZON)
    sold = np.intersect1d(after.item, test.past.item)
    random = np.random.default_rng(seed)
    drawn = np.sort(random.choice(sold, min(_NEW_ITEMS, len(sold) // 10), replace=False))
    past = test.past.without_items(drawn)
    baskets = baskets_of(past, test.cutoff, items, test.customers)
    # What was bought before is not new to that customer, whatever is left out.
    unsold = replace(test, past=past, baskets=baskets, only=drawn, known=test.baskets)
    allowed = np.zeros(items, dtype=bool)
    allowed[drawn] = True
    recommender = learn(unsold, seed, progress)
    scored = recommender.rank(unsold.baskets, allowed=allowed)
    starts = np.searchsorted(scored.customer, np.arange(len(unsold.customers) + 1))
    similar = Similar.fit(data.vectors, data.table.text, unsold.sales.customers)
    customer = np.repeat(np.arange(len(unsold.customers)), len(drawn))
    near = similar.scores_at(unsold.baskets, customer, np.tile(drawn, len(unsold.customers)))
    nearest = np.argsort(-near.reshape(-1, len(drawn)), axis=1, kind="stable")[:, :LENGTH]
    lists = {
        "patron": Found(ranked=scored, starts=starts).best(len(unsold.customers)),
        "similarity alone": drawn[nearest],
        "at random": np.stack([random.permutation(drawn)[:LENGTH] for _ in unsold.customers]),
    }
    _add(unsold, f"new items ({len(drawn)})", lists, report)


def _add(window: Window, task: str, lists: Mapping[str, Ints], report: Report) -> None:
    figures = {}
    for system, rows in lists.items():
        metrics = metrics_of(window, task, rows)
        for metric in ("ndcg@10", "recall@20"):
            report.add_row(window.data.name, task, system, metric, metrics[metric])
        figures[system] = {m: float(metrics[m].mean()) for m in ("ndcg@10", "recall@20")}
    report.table(f"{window.data.name}, {task} (simulated)", figures)
