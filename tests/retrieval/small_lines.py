"""Lines written by hand: orders of customers, as rows of an item table that need not exist."""

from collections.abc import Mapping, Sequence

import numpy as np

from retrieval.lines import Lines, microseconds
from tests.retrieval.small_log import moment

AMOUNT = 100


def lines_of(orders: Mapping[tuple[str, str, str], Sequence[int]]) -> Lines:
    """Lines as `read_lines` gives them: by customer, then time, order and item.

    Args:
        orders: item rows by customer, moment (`2024-01-01` or `2024-01-01T09:30`, UTC) and order
            id; an item given twice is one line of quantity 2. Every line costs `AMOUNT` a piece.
            An order without items makes its customer known.
    """
    customer_ids = sorted({customer for customer, _, _ in orders})
    order_ids = sorted({(customer, order) for customer, _, order in orders})
    number = {customer: row for row, customer in enumerate(customer_ids)}
    order_number = {order: row for row, order in enumerate(order_ids)}
    rows = sorted(
        (
            number[customer],
            microseconds(moment(when)),
            order_number[customer, order],
            item,
            list(items).count(item),
        )
        for (customer, when, order), items in orders.items()
        for item in set(items)
    )
    customer, time, order, item, quantity = np.array(rows, dtype=np.int64).reshape(-1, 5).T.copy()
    return Lines(
        customer_ids=customer_ids,
        customer=customer,
        order=order,
        item=item,
        time=time,
        amount=AMOUNT * quantity,
        quantity=quantity.astype(np.float64),
    )
