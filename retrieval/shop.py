"""A shop is one directory: settings, log, catalogue, offers, index, adapters and ledger."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Literal, Self
from zoneinfo import ZoneInfo, available_timezones

import tomlkit
from babel.numbers import list_currencies
from filelock import FileLock, Timeout
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from retrieval.errors import ShopError, StorageError
from retrieval.event_log import EventLog
from retrieval.source_names import DEFAULT_SOURCES, SourceName

SETTINGS_FILE = "shop.toml"


class ChurnDefinition(StrEnum):
    """What counts as leaving.

    `INACTIVE`: no purchase in the horizon. `DECLINE`: horizon spend under half of the customer's
    own usual spend per horizon.
    """

    INACTIVE = "inactive"
    DECLINE = "decline"


def _known_currency(code: str) -> str:
    if code not in list_currencies():
        raise ValueError(f"'{code}' is no ISO 4217 currency code, such as USD or EUR")
    return code


def _known_timezone(name: str) -> str:
    if name not in available_timezones():
        raise ValueError(f"'{name}' is no IANA time zone, such as Europe/London")
    return name


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ChurnSettings(_Section):
    """Which customers count as leaving, and over how many days."""

    definition: ChurnDefinition = ChurnDefinition.INACTIVE
    horizon_days: Annotated[int, Field(ge=7, le=730)] = 90


class ValueSettings(_Section):
    """Value tiers and lifetime value.

    Attributes:
        tiers: names from lowest to highest; each must be one token of the base model.
        quantiles: of training-window holdout spend; one fewer than tiers.
        discount_rate: yearly, for LTV.
        ltv_days: how far LTV looks ahead.
    """

    tiers: tuple[str, ...] = ("low", "middle", "high")
    quantiles: tuple[float, ...] = (0.5, 0.8)
    discount_rate: Annotated[float, Field(ge=0, lt=1)] = 0.10
    ltv_days: Annotated[int, Field(ge=30, le=3650)] = 360

    @model_validator(mode="after")
    def _one_cut_between_tiers(self) -> Self:
        if len(self.quantiles) != len(self.tiers) - 1:
            raise ValueError("quantiles must be one fewer than tiers")
        if list(self.quantiles) != sorted(set(self.quantiles)):
            raise ValueError("quantiles must rise")
        return self


def _known_writer(writer: str) -> str:
    if writer not in ("local", "off") and not writer.startswith(("http://", "https://")):
        raise ValueError(f"'{writer}' is neither local, off nor an http(s) address")
    return writer


class ModelSettings(_Section):
    """Which models the shop uses.

    Attributes:
        base: `smollm2-135m` (packaged), a folder, or a Hugging Face id in the local cache.
        embedder: `minilm` (packaged) or a folder.
        writer: `local` writes chat sentences with the base model; an `http(s)://` address is an
            OpenAI-compatible server; `off` shows the plain facts.
        writer_model: model name to ask that server for.
    """

    base: str = "smollm2-135m"
    embedder: str = "minilm"
    writer: Annotated[str, AfterValidator(_known_writer)] = "local"
    writer_model: str = "default"


class RecommendSettings(_Section):
    """What is recommended, and by which rules.

    Attributes:
        sources: where candidates come from; see `retrieval.source_names`. Takes effect with the
            next index.
        never_categories: categories never shown, such as deposits, coupons or tobacco.
        never_items: item ids never shown.
        pin_items: item ids shown first wherever they fit what is asked.
        most_per_category: items of one category in a list; 0 sets no limit.
        diversity: 0 shows the likeliest items, 1 the most different ones.
        value: 0 ranks by the chance of purchase, 1 by chance times margin (or price).
        language_model: whether the language model's own judgement reorders the best candidates.
    """

    sources: Annotated[tuple[SourceName, ...], Field(min_length=1)] = DEFAULT_SOURCES
    never_categories: tuple[str, ...] = ()
    never_items: tuple[str, ...] = ()
    pin_items: tuple[str, ...] = ()
    most_per_category: Annotated[int, Field(ge=0)] = 0
    diversity: Annotated[float, Field(ge=0, le=1)] = 0.3
    value: Annotated[float, Field(ge=0, le=1)] = 0.0
    language_model: bool = False


class OfferSettings(_Section):
    """What an offer is worth to the shop, and how much is given to finding out.

    Attributes:
        margin: share of spend that the shop keeps, before discounts.
        explore_share: share of customers a period who get any offer that the rules allow, or none,
            by chance; what follows can be learned from without bias. 0 explores nothing.
        explore_days: length of such a period.
        lasting_share: share of an offer's effect on spend that is taken to last after the horizon.
    """

    margin: Annotated[float, Field(gt=0, le=1)] = 0.25
    explore_share: Annotated[float, Field(ge=0, le=1)] = 0.0
    explore_days: Annotated[int, Field(ge=1, le=366)] = 28
    lasting_share: Annotated[float, Field(ge=0, le=1)] = 0.0


class WindowSettings(_Section):
    """Cut-offs; by default the test window ends with the log and training lies before it."""

    train_cutoff: datetime | None = None
    test_cutoff: datetime | None = None


class LimitSettings(_Section):
    """Bounds that keep work and text small."""

    history_tokens: Annotated[int, Field(ge=32, le=2048)] = 128
    max_bad_share: Annotated[float, Field(ge=0, le=1)] = 0.20


class ShopSettings(_Section):
    """All of `shop.toml`."""

    name: str = "Shop"
    currency: Annotated[str, AfterValidator(_known_currency)] = "USD"
    timezone: Annotated[str, AfterValidator(_known_timezone)] = "UTC"
    churn: ChurnSettings = ChurnSettings()
    value: ValueSettings = ValueSettings()
    models: ModelSettings = ModelSettings()
    recommend: RecommendSettings = RecommendSettings()
    offers: OfferSettings = OfferSettings()
    windows: WindowSettings = WindowSettings()
    limits: LimitSettings = LimitSettings()


class Shop:
    """Paths, settings and log of one shop directory."""

    def __init__(self, directory: Path, settings: ShopSettings) -> None:
        self.directory = directory
        self.settings = settings
        self.log = EventLog(directory / "log", settings.timezone)

    @classmethod
    def open(cls, directory: str | Path) -> Self:
        """Open an existing shop.

        Raises:
            ShopError: there is no shop, or `shop.toml` is wrong; the message names the key.
        """
        directory = Path(directory)
        file = directory / SETTINGS_FILE
        if not file.is_file():
            raise ShopError(
                f"{directory} is not a shop: it has no {SETTINGS_FILE}.",
                hint=f"Make one with: patron init --shop {directory}",
            )
        try:
            text = file.read_text(encoding="utf-8")
            settings = ShopSettings.model_validate(tomlkit.parse(text).unwrap())
        except ValidationError as error:
            first = error.errors()[0]
            key = ".".join(str(part) for part in first["loc"])
            raise ShopError(
                f"{file}: '{key}': {first['msg']}.", hint="Correct that line of shop.toml."
            ) from error
        except (ValueError, OSError) as error:
            raise ShopError(
                f"{file} cannot be read: {error}.", hint="Correct or restore shop.toml."
            ) from error
        return cls(directory, settings)

    @classmethod
    def create(cls, directory: str | Path, settings: ShopSettings) -> Self:
        """Make a new shop directory.

        Raises:
            ShopError: there is one already.
        """
        directory = Path(directory)
        if (directory / SETTINGS_FILE).exists():
            raise ShopError(
                f"{directory} is a shop already.",
                hint=f"Edit {directory / SETTINGS_FILE}, or choose another --shop.",
            )
        document = tomlkit.dumps(settings.model_dump(mode="json", exclude_none=True))
        write_atomically(directory / SETTINGS_FILE, document.encode())
        return cls(directory, settings)

    @property
    def items_file(self) -> Path:
        """The catalogue."""
        return self.directory / "items.parquet"

    @property
    def offers_file(self) -> Path:
        """The offers."""
        return self.directory / "offers.toml"

    @property
    def quarantine(self) -> Path:
        """Folder of rejected rows, one CSV a source file."""
        return self.directory / "quarantine"

    @property
    def index(self) -> Path:
        """Folder of index generations."""
        return self.directory / "index"

    @property
    def adapters(self) -> Path:
        """Folder of trained adapters."""
        return self.directory / "adapters"

    @property
    def ledger_file(self) -> Path:
        """SQLite: offers made and taken, budgets, conversations, feedback."""
        return self.directory / "ledger.db"

    @property
    def zone(self) -> ZoneInfo:
        """Time zone in which local times are read and shown."""
        return ZoneInfo(self.settings.timezone)

    @contextmanager
    def lock(self, name: Literal["ingest", "index", "finetune", "score"]) -> Iterator[None]:
        """Hold, for a `with` block, the right to be the one writer of a kind over all processes.

        Raises:
            ShopError: another process holds it.
        """
        lock = FileLock(self.directory / f".{name}.lock", timeout=0)
        try:
            lock.acquire()
        except Timeout as error:
            raise ShopError(
                f"Another process is running {name} on {self.directory}.",
                hint="Wait for it to end, then run this again.",
            ) from error
        except OSError as error:
            raise StorageError(
                f"Cannot write to {self.directory}: {error}.",
                hint="Make the shop directory writable.",
            ) from error
        try:
            yield
        finally:
            lock.release()


def write_atomically(file: Path, content: bytes) -> None:
    """Write a file whole or not at all, surviving a crash at any moment.

    Raises:
        StorageError: the disk refuses.
    """
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(dir=file.parent, prefix=f".{file.name}.")
        temporary = Path(name)
        try:
            with os.fdopen(descriptor, "wb") as stream:
                stream.write(content)
                stream.flush()
                os.fsync(stream.fileno())
            temporary.replace(file)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
    except OSError as error:
        raise StorageError(
            f"Cannot write {file}: {error}.",
            hint="Free some space or make the directory writable, then run it again.",
        ) from error
