import math
import warnings
from pathlib import Path

import pytest

from retrieval.event_log import EventLog
from retrieval.events import Kind
from retrieval.sales import ItemSales, Sales, build_sales
from tests.retrieval.small_log import append, bought, log_of, moment

_AS_OF = moment("2024-03-01")

# Orders by what they hold: milk in 4, bread in 4 (3 shared), tea in 3 (1 with bread), jam in 2.
_ORDERS = {
    ("a", "2024-01-01", "o1"): ["milk", "bread"],
    ("a", "2024-01-08", "o2"): ["milk", "bread"],
    ("b", "2024-02-20", "o3"): ["milk", "bread", "jam"],
    ("c", "2024-02-21", "o4"): ["milk", "jam"],
    ("c", "2024-02-22", "o5"): ["bread", "tea"],
    ("b", "2024-01-09", "o6"): ["tea"],
    ("a", "2024-01-10", "o7"): ["tea"],
}


@pytest.fixture
def log(tmp_path: Path) -> EventLog:
    return log_of(
        tmp_path,
        [
            bought(customer, when, order_id, item_id, 100)
            for (customer, when, order_id), items in _ORDERS.items()
            for item_id in items
        ],
    )


def test_items_are_counted(log: EventLog) -> None:
    items = build_sales(log, _AS_OF).items
    counts = {i: (s.customers, s.orders, s.recent_customers) for i, s in items.items()}
    assert counts == {
        "bread": (3, 4, 2),
        "jam": (2, 2, 2),
        "milk": (3, 4, 2),
        "tea": (3, 3, 1),
    }


def test_bought_together_is_the_cosine_of_orders(log: EventLog) -> None:
    sales = build_sales(log, _AS_OF)
    assert sales.bought_with("milk") == [("bread", pytest.approx(3 / 4))]
    assert sales.bought_with("bread") == [
        ("milk", pytest.approx(3 / 4)),
        ("tea", pytest.approx(1 / math.sqrt(4 * 3))),
    ]
    assert sales.bought_with("tea") == [("bread", pytest.approx(1 / math.sqrt(12)))]


def test_building_prints_no_warning(log: EventLog) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        build_sales(log, _AS_OF)


def test_items_of_few_orders_have_no_neighbours(log: EventLog) -> None:
    sales = build_sales(log, _AS_OF)
    assert sales.bought_with("jam") == []
    assert sales.bought_with("nothing") == []


def test_popular_is_by_recent_then_by_all_customers(log: EventLog) -> None:
    assert build_sales(log, _AS_OF).popular == ["bread", "milk", "jam", "tea"]


def test_returns_views_and_the_future_do_not_count(log: EventLog) -> None:
    before = build_sales(log, _AS_OF)
    append(
        log,
        [
            bought("d", "2024-02-25", "o1", "milk", -100, Kind.RETURN),
            bought("d", "2024-02-25", "", "cake", 0, Kind.VIEW),
            *(
                bought("d", _AS_OF, f"n{number}", item_id, 100)
                for number in range(5)
                for item_id in ("milk", "tea")
            ),
        ],
    )
    after = build_sales(log, _AS_OF)
    assert after.items == before.items
    assert (after.together != before.together).nnz == 0


def test_the_recent_days_begin_inclusive(tmp_path: Path) -> None:
    log = log_of(
        tmp_path,
        [
            bought("a", "2024-02-02", "o1", "milk", 1),
            bought("b", "2024-02-01T23:59", "o2", "milk", 1),
        ],
    )
    assert build_sales(log, _AS_OF).items["milk"].recent_customers == 1


def test_what_is_written_is_read(log: EventLog, tmp_path: Path) -> None:
    sales = build_sales(log, _AS_OF)
    sales.write(tmp_path)
    again = Sales.read(tmp_path)
    assert again.items == sales.items
    assert again.popular == sales.popular
    assert again.bought_with("bread") == sales.bought_with("bread")


def test_a_log_without_pairs(tmp_path: Path) -> None:
    log = log_of(tmp_path, [bought("a", "2024-02-28", "o1", "milk", 129)])
    sales = build_sales(log, _AS_OF)
    assert sales.items == {
        "milk": ItemSales(item_id="milk", customers=1, orders=1, recent_customers=1)
    }
    assert sales.bought_with("milk") == []
    empty = build_sales(log, moment("2020-01-01"))
    assert empty.items == {}
    empty.write(tmp_path)
    assert Sales.read(tmp_path).popular == []
