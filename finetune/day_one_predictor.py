"""The predictor of a shop without an adapter: patron-base, put on the shop's own level.

Its level is fitted once and kept, in memory and in the shop. In a small log the fit is of the very
moment of the answer. In a large one it is of the last midnight before: what is usual among
thousands of customers does not change within a day, and an answer need not wait for a new fit
because somebody has just bought something.
"""

import hashlib
import json
import threading
from collections import OrderedDict
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from finetune.base_prior import BASE_ID, base_sha256, load_base_prior
from finetune.calibration import Floats
from finetune.day_one_fit import SEASON, DayOneFit, fit_shop
from finetune.foresight import AverageRisk, Foresight, at_risk_above
from finetune.held_out import FEWEST_CUSTOMERS
from finetune.spend_interval import Total
from retrieval.errors import ShopError, StorageError
from retrieval.events import KIND, TIMESTAMP, Kind
from retrieval.orders import CustomerPast
from retrieval.shop import Shop, write_atomically

FIT_FILE = ".day-one.json"

# Raise it when what is fitted changes.
_FORMAT = 2
_SMALL_LOG = 20_000  # events before the moment; a fit to so many takes a second
_KEPT = 8


class DayOnePredictor:
    """Answers for one shop from what other shops teach; safe to call from several threads."""

    def __init__(self, shop: Shop) -> None:
        """Read the prior.

        Args:
            shop: which; its settings stay as they are while this lives.

        Raises:
            AdapterError: the prior that comes with Patron is missing or damaged.
        """
        self._shop = shop
        self.prior = load_base_prior()
        self._sha256 = base_sha256()
        self._lock = threading.Lock()
        # By moment of the answer and log version, the oldest first.
        self._fits: OrderedDict[tuple[datetime, int], DayOneFit] = OrderedDict()

    def foresee(self, pasts: Sequence[CustomerPast]) -> Foresight:
        """Answers for customers, all at one moment.

        Raises:
            TrainingError: nobody has been a customer for as much as a day.
            ValueError: they are of several moments, or there are none.
        """
        (moment,) = {past.as_of for past in pasts}
        fit = self.fit(moment)
        answers, spends = fit.answers(pasts)
        return Foresight(
            answers=answers,
            spends=spends,
            at_risk_above=at_risk_above(fit.average_churn),
            basis=_basis(fit),
        )

    def basis(self, moment: datetime) -> str:
        """What answers of a moment rest on, in words."""
        return _basis(self.fit(moment))

    def average_risk(self, moment: datetime) -> AverageRisk:
        """The mean risk that it foresees of the shop's customers."""
        fit = self.fit(moment)
        return AverageRisk(
            adapter_id=BASE_ID,
            share=fit.average_churn,
            at_risk_above=at_risk_above(fit.average_churn),
            record=f"{{share}} is the mean churn risk that {BASE_ID} foresees of {fit.customers} "
            "customers of the shop",
        )

    def totals(self, moment: datetime) -> "DayOneTotals":
        """What the interval of a total is made with."""
        return DayOneTotals(fit=self.fit(moment))

    def fit(self, moment: datetime) -> DayOneFit:
        """The shop's fit for answers of a moment.

        Raises:
            TrainingError: nobody has been a customer for as much as a day.
        """
        with self._lock:
            known = (moment, self._shop.log.version())
            if known not in self._fits:
                self._fits[known] = self._read_or_fit(moment)
                while len(self._fits) > _KEPT:
                    self._fits.popitem(last=False)
            return self._fits[known]

    def _read_or_fit(self, moment: datetime) -> DayOneFit:
        at, events = self._fit_moment(moment)
        key = self._key(at, events)
        kept = self._read(key)
        if kept is not None:
            return kept
        fit = fit_shop(self._shop, self.prior, at)
        document = json.dumps({"key": key, "fit": fit.to_json()}) + "\n"
        # A shop that cannot be written to still gets its answer; the next process fits anew.
        with suppress(StorageError):
            write_atomically(self._file, document.encode())
        return fit

    def _fit_moment(self, moment: datetime) -> tuple[datetime, int]:
        """At which moment to fit, and how many events lie before it."""
        events = self._events_before(moment)
        if events <= _SMALL_LOG:
            return moment, events
        midnight = moment.astimezone(self._shop.zone).replace(
            hour=0, minute=0, second=0, microsecond=0
        )
        before = self._events_before(midnight)
        # A large log that began today has nothing before.
        return (midnight, before) if before > _SMALL_LOG else (moment, events)

    def _events_before(self, moment: datetime) -> int:
        """Purchases and other events, which late rows add to."""
        row = self._shop.log.query(
            f"SELECT count(*) AS events, count(*) FILTER ({KIND} = '{Kind.PURCHASE}') AS purchases "
            f"FROM events WHERE {TIMESTAMP} < $moment",
            {"moment": moment},
        ).to_pylist()[0]
        if not row["purchases"]:
            raise ShopError(
                f"{self._shop.directory} has no purchases before {moment:%Y-%m-%d}.",
                hint=f"Read a log first: patron ingest FILE --shop {self._shop.directory}",
            )
        return int(row["events"])

    @property
    def _file(self) -> Path:
        return self._shop.directory / FIT_FILE

    def _key(self, moment: datetime, events: int) -> str:
        """A hash of all that decides a fit."""
        settings = self._shop.settings
        decides = (
            _FORMAT,
            self._sha256,
            moment.isoformat(),
            events,
            settings.churn.model_dump_json(),
            settings.value.model_dump_json(),
        )
        return hashlib.sha256(repr(decides).encode()).hexdigest()

    def _read(self, key: str) -> DayOneFit | None:
        """The fit kept in the shop; None where it is of something else, or cannot be read."""
        try:
            document = json.loads(self._file.read_text(encoding="utf-8"))
            if document["key"] != key:
                return None
            return DayOneFit.from_json(document["fit"], self.prior, self._shop)
        except (OSError, ValueError, KeyError, TypeError):
            return None  # it is made anew from the log


@dataclass(frozen=True, slots=True, kw_only=True)
class DayOneTotals:
    """See `finetune.predictors.SpendTotals`."""

    fit: DayOneFit
    season: str = SEASON

    def sums(self, told: Floats) -> Floats:
        """What `total` needs of customers; sums of parts may be added."""
        return self.fit.sums(told)

    def total(self, sums: Floats) -> Total:
        """The interval of the total."""
        return self.fit.total(sums)


def _basis(fit: DayOneFit) -> str:
    known = fit.labelled
    whence = (
        "learnt from other shops, corrected by yours"
        if known
        else "learnt from other shops, not yet from yours"
    )
    outcomes = f"{known:,} {'customer' if known == 1 else 'customers'} with known outcomes"
    minimum = (
        f"at least {FEWEST_CUSTOMERS} are needed to fine-tune"
        if known < FEWEST_CUSTOMERS
        else "patron finetune learns an adapter of your own"
    )
    return (
        f"{whence}: {outcomes}; {minimum}; value tiers are cut at what is foreseen of your "
        "customers, not at what they spent"
    )
