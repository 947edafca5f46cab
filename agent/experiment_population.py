"""Whom an experiment may be limited to: the customers of a value tier, or those of a list."""

from collections.abc import Collection
from datetime import date
from pathlib import Path

import pyarrow.parquet as pq

from agent.experiments import ExperimentError
from finetune.batch_scoring import PREDICTIONS_FILE
from retrieval.shop import Shop


def customers_of_tier(shop: Shop, tier: str, before: date) -> frozenset[str]:
    """Customers whose likeliest value tier it is, by the shop's `predictions.parquet`.

    Args:
        shop: the shop.
        tier: one of the shop's value tiers.
        before: the experiment's first day; predictions made on what came after it are refused, as
            an offer may have moved a customer into a tier.

    Raises:
        ExperimentError: the shop has no such tier, no predictions, or only later ones.
    """
    if tier not in shop.settings.value.tiers:
        raise ExperimentError(
            f"--tier {tier}: this shop's value tiers are {', '.join(shop.settings.value.tiers)}.",
            hint="Choose one of them.",
        )
    file = shop.directory / PREDICTIONS_FILE
    if not file.is_file():
        raise ExperimentError(
            f"--tier {tier}: {file} is missing.", hint=f"Run: patron score --shop {shop.directory}"
        )
    rows = pq.read_table(file, columns=["customer_id", "as_of", "value_tier"]).to_pylist()
    newest = max((row["as_of"].astimezone(shop.zone).date() for row in rows), default=before)
    if newest > before:
        raise ExperimentError(
            f"--tier {tier}: the predictions are of {newest}, after the start on {before}.",
            hint="Start on that day or later.",
        )
    return frozenset(row["customer_id"] for row in rows if row["value_tier"] == tier)


def customers_of_file(file: Path, known: Collection[str]) -> frozenset[str]:
    """Customers of a text file with one id a line; empty lines are skipped.

    Args:
        file: the list.
        known: customers with an order before the start.

    Raises:
        ExperimentError: the file cannot be read, or names somebody unknown; the message names the
            line.
    """
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ExperimentError(
            f"--customers {file}: {error}.", hint="Give a text file with one customer id a line."
        ) from error
    ids = [(number, line.strip()) for number, line in enumerate(lines, start=1) if line.strip()]
    for number, customer_id in ids:
        if customer_id not in known:
            raise ExperimentError(
                f"--customers {file}: line {number}: '{customer_id}' has no order before the "
                "start.",
                hint="Leave that line out.",
            )
    return frozenset(customer_id for _, customer_id in ids)
