"""`offers.toml`: reading it with errors that name offer and field, and writing it."""

import tomllib
from collections.abc import Collection, Iterable
from datetime import tzinfo
from decimal import Decimal
from pathlib import Path
from typing import Any

import tomlkit
from pydantic import ValidationError

from agent.errors import OfferError
from agent.offer_table import OfferTable, to_table
from agent.offers import Offer, OfferBook
from finetune.value import Stage
from retrieval.shop import Shop, write_atomically


def read_offers(
    file: Path,
    currency: str,
    zone: tzinfo,
    *,
    known_tiers: Collection[str] | None = None,
    known_stages: Collection[str] | None = None,
) -> OfferBook:
    """Read `offers.toml`; an absent file is an empty book.

    Args:
        file: TOML whose `[[offers]]` hold amounts in major units (1.50).
        currency: ISO 4217 code of all amounts.
        zone: the shop's time zone, in which days and times without an offset are read.
        known_tiers: where given, an offer for any other value tier is an error.
        known_stages: where given, an offer for any other lifecycle stage is an error.

    Raises:
        OfferError: the file or an offer is wrong; the message names the offer and the field.
    """
    if not file.exists():
        return OfferBook([], currency=currency)
    offers: dict[str, Offer] = {}
    for number, raw in enumerate(_raw_offers(file), start=1):
        offer = _read_offer(raw, number, file, currency, zone)
        if offer.offer_id in offers:
            raise _wrong(file, offer.offer_id, "offer_id", "another offer has the same id")
        _check_known(offer.eligibility.tiers, known_tiers, file, offer, "eligibility.tiers")
        _check_known(offer.eligibility.stages, known_stages, file, offer, "eligibility.stages")
        offers[offer.offer_id] = offer
    return OfferBook(offers.values(), currency=currency)


def shop_offers(shop: Shop) -> OfferBook:
    """The shop's offers, whose tiers and stages must be the shop's own.

    Raises:
        OfferError: as `read_offers`.
    """
    return read_offers(
        shop.offers_file,
        shop.settings.currency,
        shop.zone,
        known_tiers=shop.settings.value.tiers,
        known_stages=[stage.value for stage in Stage],
    )


def write_offers(file: Path, book: OfferBook, zone: tzinfo) -> None:
    """Write a book as `offers.toml`, atomically; `read_offers` gives back an equal book.

    A moment at midnight of `zone`, the shop's time zone, is written as a day, any other as a time
    on the shop's clock.

    Raises:
        StorageError: the disk refuses.
    """
    entries = [to_table(offer, book.currency, zone) for offer in book.values()]
    write_atomically(file, tomlkit.dumps({"offers": entries}).encode())


def _raw_offers(file: Path) -> list[Any]:
    try:
        # The standard reader keeps 1.10 exact as a Decimal and is far faster than tomlkit.
        document = tomllib.loads(file.read_text(encoding="utf-8"), parse_float=Decimal)
    except (ValueError, OSError) as error:
        raise OfferError(
            f"{file} cannot be read: {error}.", hint="Correct or restore offers.toml."
        ) from error
    unknown = sorted(set(document) - {"offers"})
    offers = document.get("offers", [])
    if unknown or not isinstance(offers, list):
        raise OfferError(
            f"{file}: '{unknown[0] if unknown else 'offers'}' is no list of offers.",
            hint="Begin each offer with a line [[offers]], and put nothing before the first.",
        )
    return offers


def _read_offer(raw: object, number: int, file: Path, currency: str, zone: tzinfo) -> Offer:
    given = raw.get("offer_id") if isinstance(raw, dict) else None
    name = given if isinstance(given, str) and given else f"number {number}"
    try:
        return OfferTable.model_validate(raw, context={"currency": currency, "zone": zone}).offer()
    except ValidationError as error:
        first = error.errors()[0]
        message = first["msg"].removeprefix("Value error, ")
        key = ".".join(str(part) for part in first["loc"])
        if not key:
            key, _, message = message.partition(": ")
        raise _wrong(file, name, key, message) from error


def _wrong(file: Path, offer: str, key: str, message: str) -> OfferError:
    return OfferError(
        f"{file}: offer '{offer}': '{key}': {message}.", hint=f"Correct {key} of that offer."
    )


def _check_known(
    names: Iterable[str], known: Collection[str] | None, file: Path, offer: Offer, key: str
) -> None:
    for name in names:
        if known is not None and name not in known:
            raise _wrong(
                file, offer.offer_id, key, f"'{name}' is none of {', '.join(sorted(known))}"
            )
