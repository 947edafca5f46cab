"""The demonstration shop: The Complete Journey's receipts, catalogue, offers and adapter."""

import tempfile
from pathlib import Path

from rich.text import Text

from agent.offer_file import write_offers
from agent.offers import OfferBook
from finetune.adapter import current_adapter, install_adapter, read_manifest, shipped_adapters
from finetune.base_model import find_base_model
from finetune.contacts import CONTACTS_FILE, write_contacts
from finetune.effect_learning import learn_effects
from finetune.errors import AdapterError
from finetune.indexing import index_shop
from finetune.offer_effects import EFFECTS_FILE, write_effects
from retrieval.catalogue import Catalogue
from retrieval.errors import ShopError
from retrieval.ingest import ingest_file
from retrieval.progress import Progress
from retrieval.shop import SETTINGS_FILE, Shop, ShopSettings
from ui import complete_journey, journey_contacts
from ui.logins import DEMO_LOGINS, logins_file, write_demo_logins
from ui.terminal import OUT

NAME = "The Complete Journey"
# Receipts hold them, but nobody wants them recommended.
_NOT_GOODS = (
    "Bottle deposits",
    "Cigarettes",
    "Cigars",
    "Coupon",
    "Coupons/store and mfg",
    "Fuel",
    "Fuel, gift cards and other",
    "Miscellaneous",
    "Non edible products",
    "Tobacco other",
)
DEMO_SETTINGS = ShopSettings.model_validate(
    {
        "name": NAME,
        "currency": complete_journey.CURRENCY,
        "timezone": complete_journey.TIME_ZONE,
        # Hardly any household stops buying altogether; many buy far less.
        "churn": {"definition": "decline", "horizon_days": 90},
        "recommend": {"never_categories": _NOT_GOODS},
        "windows": {"train_cutoff": "2017-07-01T00:00:00Z", "test_cutoff": "2017-10-01T00:00:00Z"},
    }
)


def build_demo(directory: Path, progress: Progress) -> Shop:
    """Build the demonstration shop, doing only what is not done yet.

    Each step leaves its result whole or not at all, so a killed build goes on when run again.

    Args:
        directory: the shop's; made if absent.
        progress: told of every step.
    """
    if (directory / SETTINGS_FILE).exists():
        shop = Shop.open(directory)
        if shop.settings.name != NAME:
            raise ShopError(
                f"{directory} is the shop '{shop.settings.name}', not the demonstration.",
                hint="Choose another --shop: the demonstration's logins are public.",
            )
    else:
        shop = Shop.create(directory, DEMO_SETTINGS)
    if shop.log.version() < 0:
        _read_receipts(shop, progress)
    if not shop.offers_file.exists():
        progress("Deriving offers from campaigns", 0, 1)
        book = OfferBook(complete_journey.offers(), currency=shop.settings.currency)
        write_offers(shop.offers_file, book, shop.zone)
        progress("Deriving offers from campaigns", 1, 1)
    if not (shop.directory / CONTACTS_FILE).exists():
        write_contacts(shop, journey_contacts.contacts())
    if not (shop.directory / EFFECTS_FILE).exists():
        write_effects(shop, learn_effects(shop, progress))
    if not logins_file(shop.directory).exists():
        write_demo_logins(shop.directory)
    index_shop(shop, progress=progress)
    _install_shipped_adapter(shop, find_base_model(shop.settings.models.base).sha256)
    return shop


def print_demo_logins(directory: Path, host: str) -> None:
    """Say who can log in, and warn where their passwords, which are public, would do harm."""
    if host not in ("127.0.0.1", "::1", "localhost"):
        OUT.print(
            Text(
                f"Warning: everyone who reaches {host} can log in with these public passwords.",
                style="bold red",
            )
        )
    OUT.print(Text(f"Demo logins ({logins_file(directory)}):", style="bold"))
    for login in DEMO_LOGINS:
        who = "retention desk" if login.customer_id is None else f"shopper {login.customer_id}"
        OUT.print(Text(f"  {login.login} / {login.password}  ({who})"))


def _read_receipts(shop: Shop, progress: Progress) -> None:
    progress("Reading The Complete Journey", 0, 2)
    catalogue = Catalogue(complete_journey.catalogue())
    progress("Reading The Complete Journey", 1, 2)
    with tempfile.TemporaryDirectory() as folder:
        transactions = Path(folder) / "transactions.parquet"
        complete_journey.write_transactions(transactions)
        progress("Reading The Complete Journey", 2, 2)
        catalogue.write(shop.items_file)
        ingest_file(shop, transactions, progress=progress)


def _install_shipped_adapter(shop: Shop, base_sha256: str) -> None:
    """Use the shipped adapter unless the shop has one of its own.

    Raises:
        AdapterError: none is shipped for this base model.
    """
    try:
        current_adapter(shop)
        return
    except AdapterError:
        pass
    for folder in shipped_adapters():
        manifest = read_manifest(folder)
        if manifest.shop == NAME and manifest.base_sha256 == base_sha256:
            install_adapter(shop, folder)
            return
    raise AdapterError(
        "No shipped adapter fits this base model.",
        hint=f"Train one: patron finetune --shop {shop.directory}",
    )
