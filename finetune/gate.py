"""The gate: a new adapter becomes the current one only if it is not worse.

Both adapters are judged on customers that neither has trained on, twice: at the newest cut-off
with a whole horizon of outcomes, and at the newest one of the log as it was when the current
adapter was made. Where a training had reached the outcomes, the prior that had not learnt from
these customers stands in for the one that answers. Rows that came since cannot change the second,
and whether they agree with what was known before is tested on its own (`finetune.log_break`); so a
log cannot vouch for itself.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from finetune.adapter import (
    Manifest,
    check_compatible,
    load_held_out_prior,
    read_manifest,
)
from finetune.base_model import BaseModelFiles
from finetune.errors import AdapterError
from finetune.gate_verdict import GateVerdict, GateWindow
from finetune.held_out import is_held_out
from finetune.labels import Example, build_labels
from finetune.log_break import BreakTest, compare_windows
from finetune.lora_predictor import LoraPredictor
from finetune.paired_losses import JudgedAnswers, compare_paired
from finetune.prior import Prior
from finetune.promotions import known_log_version
from finetune.scoring import blended_answers
from finetune.slots import build_slots
from finetune.training_window import render_examples
from retrieval.errors import StorageError
from retrieval.event_log import EventLog
from retrieval.progress import Progress, no_progress
from retrieval.shop import Shop

# Shares of a measure by which a new adapter may be worse and still count as good. Between windows
# levels drift (seasons): at the older one, an adapter made for today may be a little off.
_NEWEST_TOLERANCE = 0.01
_KNOWN_TOLERANCE = 0.05
# With fewer customers held out, all are judged on; with fewer of these, nobody is.
_FEWEST = 25
_SHORTEST_SEAM = 7  # days of new rows, under which they tell too little


@dataclass(frozen=True, slots=True, kw_only=True)
class _Labelled:
    """All customers at one cut-off of one state of the log.

    Attributes:
        name: which window, in words.
        tolerance: share of a measure by which a new adapter may be worse on it.
    """

    name: str
    tolerance: float
    examples: list[Example]

    def is_later(self, learnt_until: datetime) -> bool:
        """Whether all outcomes came after those that were learnt from."""
        return self.examples[0].past.as_of >= learnt_until

    def judged_on(self, seeds: Sequence[int], learnt_until: datetime) -> tuple[list[Example], str]:
        """Customers to judge on, and who they are in words.

        Those held out of both trainings. Where they are too few to tell a worse adapter from
        chance and neither has learnt from outcomes this late, all customers.
        """
        held_out = [
            example
            for example in self.examples
            if all(is_held_out(example.past.customer_id, seed) for seed in seeds)
        ]
        if len(held_out) < _FEWEST and self.is_later(learnt_until):
            return self.examples, "customers, whose outcomes here neither has seen"
        return held_out, "customers held out of both trainings"


def judge_adapter(
    shop: Shop,
    files: BaseModelFiles,
    new_id: str,
    current_id: str,
    *,
    progress: Progress = no_progress,
) -> GateVerdict | None:
    """Judge a new adapter beside the current one.

    Args:
        shop: whose adapters and log.
        files: of the base model.
        new_id: of the new adapter, whole in its folder.
        current_id: of the current one.
        progress: told of the scoring.

    Returns:
        None where the current adapter does not fit the shop any more, so that nothing answers
        until another takes its place.

    Raises:
        AdapterError: the prior by which an adapter is judged is damaged.
    """
    folders = (shop.adapters / current_id, shop.adapters / new_id)
    try:
        current = read_manifest(folders[0])
        check_compatible(current, files, build_slots(files, current.tiers), shop.settings)
        predictors = [LoraPredictor.load(folder, files, shop.settings) for folder in folders]
    except AdapterError:
        return None
    new = predictors[1].manifest
    adapters = [
        (predictor, load_held_out_prior(folder, predictor.manifest))
        for folder, predictor in zip(folders, predictors, strict=True)
    ]
    known_log, known = _known_window(shop, current)
    newest = _window(shop.log, shop, "newest window", _NEWEST_TOLERANCE)
    to_judge = [window for window in (known, newest) if window is not None]
    windows, reasons, notes = [], [], []
    for window in to_judge:
        judged = _judge(shop, files, window, adapters, progress)
        if judged is None:
            notes.append(f"Too few customers to judge on in the {window.name}.")
            continue
        windows.append(judged)
        reasons += _reasons(judged)
    breaks = _breaks(shop, known_log, known, newest, new) if known is not None else []
    for found in breaks:
        reasons += [
            f"The rows that came since do not go on as the log did: at {found.cutoff[:10]}, {why}."
            for why in found.reasons
        ]
    return GateVerdict(
        adapter_id=new_id,
        against=current_id,
        windows=tuple(windows),
        breaks=tuple(breaks),
        reasons=tuple(reasons),
        notes=tuple(notes),
    )


def split_seed(manifest: Manifest) -> int:
    """Seed of the hash by which an adapter's training held customers out."""
    seed: int = manifest.training.get("split_seed", manifest.training["seed"])
    return seed


def _known_window(shop: Shop, current: Manifest) -> tuple[EventLog | None, _Labelled | None]:
    """The log as the current adapter's making knew it, and its newest window.

    Where no rows came since, there is no such window apart. Where that state of the log is not
    recorded or not kept any more: no log, and the window that the adapter learnt from.
    """
    version = known_log_version(shop.adapters, current.adapter_id)
    name = "newest window of the log that the current adapter was made from"
    if version is not None:
        if version >= shop.log.version():
            return shop.log, None  # no rows came since: its newest window is the newest of all
        log = shop.log.as_it_was(version)
        try:
            return log, _window(log, shop, name, _KNOWN_TOLERANCE)
        except StorageError:
            pass
    cutoff = datetime.fromisoformat(current.train_cutoff)
    name = "window that the current adapter learnt from"
    return None, _at(shop.log, cutoff, shop, name, _KNOWN_TOLERANCE)


def _window(log: EventLog, shop: Shop, name: str, tolerance: float) -> _Labelled | None:
    """Customers at the newest cut-off with a whole horizon of outcomes."""
    span = log.span()
    horizon = timedelta(days=shop.settings.churn.horizon_days)
    if span is None or span[0] >= span[1] - horizon:
        return None
    return _at(log, span[1] + timedelta(microseconds=1) - horizon, shop, name, tolerance)


def _at(
    log: EventLog, cutoff: datetime, shop: Shop, name: str, tolerance: float
) -> _Labelled | None:
    examples = build_labels(log, cutoff, shop.settings)
    return _Labelled(name=name, tolerance=tolerance, examples=examples) if examples else None


def _judge(
    shop: Shop,
    files: BaseModelFiles,
    window: _Labelled,
    adapters: Sequence[tuple[LoraPredictor, Prior | None]],
    progress: Progress,
) -> GateWindow | None:
    manifests = [predictor.manifest for predictor, _ in adapters]
    horizon = shop.settings.churn.horizon_days
    newest = max(datetime.fromisoformat(manifest.train_cutoff) for manifest in manifests)
    learnt_until = newest + timedelta(days=horizon)
    seeds = sorted({split_seed(manifest) for manifest in manifests})
    examples, whom = window.judged_on(seeds, learnt_until)
    left = sum(example.churned for example in examples)
    if len(examples) < _FEWEST or not 0 < left < len(examples):
        return None
    pasts = [example.past for example in examples]
    histories = render_examples(shop, files, examples)
    everybody = [example.past for example in window.examples]
    judged = []
    for predictor, held_out in adapters:
        prior = predictor.prior if window.is_later(learnt_until) else held_out
        prior = prior and prior.levelled(everybody)
        answers = blended_answers(predictor, prior, pasts, histories, horizon, progress=progress)
        judged.append(JudgedAnswers(answers=answers, thresholds=predictor.manifest.thresholds))
    return GateWindow(
        name=window.name,
        cutoff=pasts[0].as_of.isoformat(),
        customers=len(examples),
        whom=whom,
        rows=compare_paired(judged[0], judged[1], examples, window.tolerance),
    )


def _reasons(window: GateWindow) -> list[str]:
    return [
        f"In the {window.name}, its {row.measure} is {row.new:.3f} where the current adapter's is "
        f"{row.current:.3f}: worse by {row.low:.3f} to {row.high:.3f}."
        for row in window.rows
        if row.worse
    ]


def _breaks(
    shop: Shop,
    known_log: EventLog | None,
    known: _Labelled,
    newest: _Labelled | None,
    new: Manifest,
) -> list[BreakTest]:
    """Later windows of the log against the known one.

    The window that the new adapter learnt from, the newest, and the seam: histories that end with
    the known log, outcomes in the rows that came since. The seam tells a flip that later histories
    would hide, since they were flipped with it.
    """
    horizon = shop.settings.churn.horizon_days
    learnt = build_labels(shop.log, datetime.fromisoformat(new.train_cutoff), shop.settings)
    pairs = [
        (known.examples, learnt, horizon),
        (known.examples, newest.examples if newest is not None else [], horizon),
    ]
    seam = None if known_log is None else _seam(shop, known_log)
    if seam is not None:
        pairs.append(seam)
    found = {}
    for before, after, days in pairs:
        test = compare_windows(before, after, days)
        if test is not None:
            found[test.cutoff] = test
    return [found[cutoff] for cutoff in sorted(found)]


def _seam(shop: Shop, known_log: EventLog) -> tuple[list[Example], list[Example], int] | None:
    """The last window that the known log tells whole, the first of the rows since, and its days.

    A window is a horizon long, or as long as the rows since last, if that is less.
    """
    before, now = known_log.span(), shop.log.span()
    if before is None or now is None:
        return None
    end = before[1] + timedelta(microseconds=1)
    days = min(shop.settings.churn.horizon_days, (now[1] - end) // timedelta(days=1))
    if days < _SHORTEST_SEAM:
        return None
    churn = shop.settings.churn.model_copy(update={"horizon_days": days})
    settings = shop.settings.model_copy(update={"churn": churn})
    return (
        build_labels(known_log, end - timedelta(days=days), settings),
        build_labels(shop.log, end, settings),
        days,
    )
