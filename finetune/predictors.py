"""Which predictor answers for a shop: its current adapter, or patron-base where it has none.

Only the absence of any adapter leads to patron-base. An adapter that is damaged, gone, or of
another shop stays an error: who trained one must not be answered by something else unnoticed.
"""

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Protocol, TypeAlias

from finetune.adapter import current_adapter, current_id
from finetune.base_model import BaseModelFiles
from finetune.base_prior import BASE_ID
from finetune.calibration import Floats
from finetune.day_one_predictor import DayOnePredictor
from finetune.errors import AdapterError
from finetune.foresight import AverageRisk
from finetune.lora_predictor import LoraPredictor
from finetune.registry import adapter_folders
from finetune.season import Season
from finetune.spend_interval import SpendInterval, Total
from retrieval.shop import Shop

Predictor: TypeAlias = LoraPredictor | DayOnePredictor


class SpendTotals(Protocol):
    """Makes the interval of the total of many customers' expected spends."""

    @property
    def season(self) -> str:
        """Whether it is known, with the reason: "known: ..." or "unknown: ..."."""

    def sums(self, told: Floats) -> Floats:
        """What `total` needs of customers, from their spends as told; parts may be added."""

    def total(self, sums: Floats) -> Total:
        """The interval of the total."""


def answering_adapter(shop: Shop) -> Path | None:
    """Folder of the adapter that answers; None where the shop has no adapter at all.

    Raises:
        AdapterError: the current adapter is gone, or there are adapters and none is current.
    """
    if current_id(shop) is not None:
        return current_adapter(shop)
    kept = [folder.name for folder in adapter_folders(shop)]
    if kept:
        raise AdapterError(
            f"{shop.directory} has adapters ({', '.join(kept)}), and none of them is current.",
            hint=f"Choose one: patron adapters promote {kept[0]} --shop {shop.directory}",
        )
    return None


def open_predictor(shop: Shop, folder: Path | None, files: BaseModelFiles) -> Predictor:
    """Load what answers.

    Args:
        shop: for which.
        folder: what `answering_adapter` said.
        files: the base model's.

    Raises:
        AdapterError: the adapter is damaged or does not fit the shop.
    """
    if folder is None:
        return DayOnePredictor(shop)
    return LoraPredictor.load(folder, files, shop.settings)


def meanwhile(shop: Shop) -> str:
    """What answers as long as a new adapter cannot be trained, as a sentence."""
    current = current_id(shop)
    if current is not None:
        return f"Meanwhile {current} stays the current adapter."
    return f"Meanwhile predictions come from {BASE_ID}, which learnt from other shops."


def adapter_id_of(predictor: Predictor) -> str:
    """What predictions name as their origin."""
    if isinstance(predictor, DayOnePredictor):
        return BASE_ID
    return predictor.manifest.adapter_id


def average_risk(predictor: Predictor, moment: datetime) -> AverageRisk:
    """The churn risk that a customer's is compared with at a moment."""
    if isinstance(predictor, DayOnePredictor):
        return predictor.average_risk(moment)
    manifest = predictor.manifest
    return AverageRisk(
        adapter_id=manifest.adapter_id,
        share=manifest.base_rate,
        at_risk_above=manifest.at_risk_above,
        record=f"{{share}} of {manifest.train_customers} training customers churned within "
        f"{manifest.horizon_days} days of {manifest.train_cutoff[:10]}",
    )


def basis_of(predictor: Predictor, moment: datetime) -> str | None:
    """What answers of a moment rest on; None for an adapter of the shop's own."""
    return predictor.basis(moment) if isinstance(predictor, DayOnePredictor) else None


def spend_totals(predictor: Predictor, moment: datetime) -> SpendTotals | None:
    """Makes a total's interval; None where the adapter was made without intervals."""
    if isinstance(predictor, DayOnePredictor):
        return predictor.totals(moment)
    interval = predictor.manifest.spend_interval
    return None if interval is None else _SeasonTotals(interval, interval.seasons.at(moment))


@dataclass(frozen=True, slots=True)
class _SeasonTotals:
    """Of an adapter; spends are told with their season."""

    interval: SpendInterval
    at: Season

    @property
    def season(self) -> str:
        return self.at.text

    def sums(self, told: Floats) -> Floats:
        return self.interval.sums(told / self.at.factor)

    def total(self, sums: Floats) -> Total:
        return self.interval.total(sums, self.at)
