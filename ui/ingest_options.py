"""What the commands that read logs share: their options, and the reading."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from retrieval.errors import IngestError

if TYPE_CHECKING:
    from retrieval.ingest import IngestReport
    from retrieval.progress import Progress
    from retrieval.shop import Shop

MapOption = Annotated[
    list[str] | None,
    typer.Option(
        "--map",
        help="target=source, such as customer_id=CustomerID; may be repeated. Targets: "
        "customer_id, timestamp, order_id, item_id, quantity, amount, unit_price, kind, "
        "title, category. Others are guessed from common names.",
    ),
]
TimezoneOption = Annotated[
    str | None, typer.Option(help="Zone of times without one; the shop's by default.")
]
CurrencyOption = Annotated[
    str | None, typer.Option(help="Currency of the amounts; it must be the shop's.")
]
MaxBadOption = Annotated[
    float | None,
    typer.Option(
        help="Largest share of bad rows (0 to 1) to go on with; shop.toml's "
        "limits.max_bad_share by default.",
        min=0.0,
        max=1.0,
    ),
]


def read_logs(
    shop: "Shop",
    files: Sequence[Path],
    *,
    columns: list[str] | None,
    timezone: str | None,
    currency: str | None,
    max_bad: float | None,
    progress: "Progress",
) -> "IngestReport":
    """Ingest files with the options as they were typed.

    Raises:
        IngestError: an option is wrong, or a file cannot be ingested.
    """
    from retrieval.ingest import ingest_files

    if currency is not None and currency != shop.settings.currency:
        raise IngestError(
            f"--currency {currency}: this shop keeps {shop.settings.currency}.",
            hint=f"Convert the amounts, or change currency in {shop.directory / 'shop.toml'} "
            "before the first ingest.",
        )
    return ingest_files(
        shop,
        files,
        column_map=column_map(columns or []),
        timezone=timezone,
        max_bad_share=max_bad,
        progress=progress,
    )


def column_map(pairs: list[str], example: str = "customer_id=CustomerID") -> Mapping[str, str]:
    """Target name to source column, from what was given with --map.

    Raises:
        IngestError: one is not target=source.
    """
    mapping: dict[str, str] = {}
    for pair in pairs:
        target, equals, source = pair.partition("=")
        if not equals or not target or not source:
            raise IngestError(
                f"--map {pair}: this is not target=source.",
                hint=f"Write it such as --map {example}.",
            )
        mapping[target.strip()] = source.strip()
    return mapping
