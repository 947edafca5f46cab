"""The adapters of a shop: which there are, which is current, and how to change that."""

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from finetune.adapter import (
    Manifest,
    check_compatible,
    current_id,
    load_held_out_prior,
    load_prior,
    make_current,
    read_manifest,
    read_weights,
)
from finetune.base_model import find_base_model
from finetune.errors import AdapterError
from finetune.gate_verdict import GateVerdict
from finetune.promotions import Why, adapters_before, read_promotions, read_verdicts
from finetune.slots import build_slots
from retrieval.progress import Progress, no_progress
from retrieval.shop import Shop

LISTED_METRICS = ("churn_auc", "brier", "spearman")


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedAdapter:
    """One adapter of a shop.

    Attributes:
        made_current: when it last became current; None where that is not recorded.
        why: of that moment.
        train_cutoff: ISO moment at which its training histories end; None where its manifest
            cannot be read.
        metrics: on validation customers, by name; None where it does not tell.
        damage: what is wrong with its manifest; None where it can be read.
        verdict: the gate's newest; None where it was never judged.
    """

    adapter_id: str
    current: bool
    made_current: datetime | None
    why: Why | None
    train_cutoff: str | None
    metrics: dict[str, float | None]
    damage: str | None = None
    verdict: GateVerdict | None = None

    def to_json(self) -> dict[str, Any]:
        """The shape for scripts."""
        return {
            "adapter_id": self.adapter_id,
            "current": self.current,
            "made_current": None if self.made_current is None else self.made_current.isoformat(),
            "why": None if self.why is None else self.why.value,
            "train_cutoff": self.train_cutoff,
            "metrics": self.metrics,
            "damage": self.damage,
            "verdict": None if self.verdict is None else self.verdict.to_json(),
        }


def list_adapters(shop: Shop) -> list[ListedAdapter]:
    """Every adapter in the shop, the one made current last first; damaged ones too."""
    current = current_id(shop)
    moves = {p.adapter_id: p for p in read_promotions(shop.adapters, current)}
    verdicts = read_verdicts(shop.adapters)
    listed = []
    for folder in adapter_folders(shop):
        manifest: Manifest | None = None
        damage = None
        try:
            manifest = read_manifest(folder)
        except AdapterError as error:
            damage = error.message
        move = moves.get(folder.name)
        listed.append(
            ListedAdapter(
                adapter_id=folder.name,
                current=folder.name == current,
                made_current=None if move is None else move.moment,
                why=None if move is None else move.why,
                train_cutoff=None if manifest is None else manifest.train_cutoff,
                metrics={
                    name: None if manifest is None else manifest.metrics.get(name)
                    for name in LISTED_METRICS
                },
                damage=damage,
                verdict=verdicts.get(folder.name),
            )
        )
    return sorted(listed, key=_newest_first)


def promote(shop: Shop, adapter_id: str, *, progress: Progress = no_progress) -> str | None:
    """Make an adapter of the shop the current one, after the checks that loading it does.

    The gate is not asked: this is how a person overrules it.

    Agents that are running take it up with their next answer.

    Args:
        shop: whose.
        adapter_id: as listed.
        progress: told of the base model's conversion.

    Returns:
        The adapter that was current until now.

    Raises:
        AdapterError: there is no such adapter, it is damaged, or it does not fit the shop; the
            current one stays.
    """
    before = current_id(shop)
    _check(shop, adapter_id, progress)
    make_current(shop, adapter_id, Why.PROMOTED)
    return before


def roll_back(shop: Shop, *, progress: Progress = no_progress) -> str:
    """Return to the adapter that was current before; called again, to the one before that.

    Args:
        shop: whose.
        progress: told of the base model's conversion.

    Returns:
        The adapter that is current now.

    Raises:
        AdapterError: there was none before, or it is gone, damaged or does not fit the shop any
            more; the current one stays.
    """
    current = current_id(shop)
    if current is None:
        raise AdapterError(
            f"{shop.directory} has no current adapter to roll back.",
            hint=f"Train one: patron finetune --shop {shop.directory}",
        )
    before = adapters_before(read_promotions(shop.adapters, current), current)
    if not before:
        raise AdapterError(
            f"There is nothing to go back to: no adapter is known to have been current before "
            f"{current}.",
            hint=f"Choose one: patron adapters list --shop {shop.directory}",
        )
    _check(shop, before[0], progress)
    make_current(shop, before[0], Why.ROLLED_BACK)
    return before[0]


def _check(shop: Shop, adapter_id: str, progress: Progress) -> None:
    """Refuse an adapter that could not be loaded."""
    names = [folder.name for folder in adapter_folders(shop)]
    choose = f"Choose another: patron adapters list --shop {shop.directory}"
    if adapter_id not in names:
        raise AdapterError(
            f"There is no adapter '{adapter_id}' in {shop.adapters}.",
            hint=choose,
        )
    folder = shop.adapters / adapter_id
    try:
        manifest = read_manifest(folder)
        files = find_base_model(shop.settings.models.base, progress)
        check_compatible(manifest, files, build_slots(files, manifest.tiers), shop.settings)
        read_weights(folder)
        load_prior(folder, manifest)
        load_held_out_prior(folder, manifest)
    except AdapterError as error:
        # The shop has an adapter that works: training anew is not the first thing to do.
        raise AdapterError(error.message, hint=choose) from error


def adapter_folders(shop: Shop) -> list[Path]:
    """Folders of the shop's adapters, damaged ones too, without those being built."""
    if not shop.adapters.is_dir():
        return []
    return sorted(
        folder
        for folder in shop.adapters.iterdir()
        if folder.is_dir() and not folder.name.startswith(".")
    )


def _newest_first(adapter: ListedAdapter) -> tuple[bool, float, str]:
    moment = 0.0 if adapter.made_current is None else adapter.made_current.timestamp()
    return (not adapter.current, -moment, adapter.adapter_id)
