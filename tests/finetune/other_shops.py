"""Shops made up by one story in different money and time: who has gone silent mostly stays away."""

from collections.abc import Sequence

import numpy as np

from finetune.scale_free_features import measure_shop
from finetune.shop_windows import ShopWindow, label
from retrieval.orders import CustomerPast
from tests.finetune.hand_made import past_of


def tell_shop(
    seed: int,
    *,
    money: int = 1,
    pace: int = 1,
    gone_share: float = 0.4,
    contrary: bool = False,
    count: int = 400,
) -> tuple[list[CustomerPast], dict[str, int]]:
    """Customers on day `180 * pace`, and what they spend in the `90 * pace` days after it.

    Args:
        seed: of the shop.
        money: minor units in a coin.
        pace: days in a step.
        gone_share: of the customers.
        contrary: those who went silent come back, and the others do not.
        count: of customers.
    """
    random = np.random.default_rng(seed)
    pasts, after = [], {}
    for number in range(count):
        gone = bool(random.random() < gone_share)
        last = 110 if gone else 178
        days = np.unique(random.integers(0, last, 7))
        amounts = random.integers(900, 1100, len(days)) * int(random.integers(1, 6))
        name = f"c{number}"
        pasts.append(
            past_of(
                [
                    (float(day * pace), int(amount) * money)
                    for day, amount in zip(days, amounts, strict=True)
                ],
                as_of=180 * pace,
                customer_id=name,
            )
        )
        leaves = gone if random.random() < 0.9 else not gone
        if leaves is contrary:
            after[name] = int(amounts.mean()) * 3 * money
    return pasts, after


def window_of(
    pasts: Sequence[CustomerPast], after: dict[str, int], shop: str, *, pace: int = 1
) -> ShopWindow:
    return label(pasts, after, 90 * pace, measure_shop(pasts, 90 * pace), shop)
