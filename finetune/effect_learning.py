"""Learning what a shop's campaigns and own decisions changed, from its log."""

from collections.abc import Sequence
from datetime import datetime

import numpy as np

from finetune.campaign_panels import Panel, Records
from finetune.campaign_study import Study, study_campaigns
from finetune.campaigns import campaigns_of
from finetune.contacts import CONTACTS_FILE, Contact, read_contacts
from finetune.decision_effects import LoggedChoice, learn_from_decisions
from finetune.effect_slopes import (
    EffectSlopes,
    SlopesVerdict,
    fit_slopes,
    judge_slopes,
    residuals_of,
)
from finetune.errors import TrainingError
from finetune.offer_effects import EffectOrigin, KindEffect, MeasuredEffect, OfferEffects
from finetune.redemption import fit_redemption, judge_redemption
from finetune.studied_effects import (
    PLACEBOS,
    Measure,
    Method,
    Pooled,
    StudiedEffect,
    choose_method,
    pooled,
)
from retrieval.progress import Progress, no_progress
from retrieval.shop import Shop

WINDOW_DAYS = 28
"""Over which outcomes are counted: four weeks, so that every weekday is in it as often."""
_CHOSEN = (
    "The shop chose whom to contact by what they bought; nobody was kept out at random. That "
    "customers alike in purchases and earlier contacts differ in nothing else that matters is "
    "assumed and cannot be checked; the placebos only fail to contradict it."
)
_TRENDS = (
    "Without the campaign, the spend of contacted customers would have changed as that of the "
    "others like them did."
)
_SPILL = (
    "Campaigns overlap: an effect is that of one more campaign beside those that ran anyway, and "
    "one campaign's effect may still run on when the next begins."
)
_WHOM = (
    "Effects are those on customers who might as well have been chosen as not; of customers who "
    "were always or never contacted the log says nothing."
)
_AFTER = "Only the first {days} days after the start are counted; what came later is not known."


def learn_effects(
    shop: Shop,
    progress: Progress = no_progress,
    *,
    choices: Sequence[LoggedChoice] = (),
    window_days: int = WINDOW_DAYS,
    seed: int = 0,
) -> OfferEffects:
    """Study the shop's past campaigns and own decisions; keep what they show, with its limits.

    The method is chosen by the placebos of the campaigns that began in the first half of the log;
    whether effects differ between customers, and how well redemptions are foreseen, is judged on
    those of the second half. What is kept is then learnt from all.

    Args:
        shop: whose log and contacts are read; nothing is written.
        progress: told of the campaigns.
        choices: the shop's own decisions, oldest first.
        window_days: over which outcomes are counted.
        seed: settles folds and draws.

    Raises:
        TrainingError: the shop has no contacts, no campaign that can be studied, or none of those
            is over yet.
    """
    contacts = read_contacts(shop)
    if not contacts:
        raise TrainingError(
            f"{shop.directory} has no past contacts to learn from.",
            hint=f"Write who was sent which campaign to {CONTACTS_FILE}.",
        )
    progress("Reading orders", 0, 1)
    records = Records(shop, contacts, window_days)
    progress("Reading orders", 1, 1)
    campaigns = campaigns_of(contacts)
    study = study_campaigns(records, campaigns, seed=seed, progress=progress)
    if not study.effects:
        raise TrainingError(
            f"None of {len(campaigns)} campaigns can be studied.",
            hint=f"A campaign needs {window_days} days of log before and after its start, and "
            "twenty customers contacted and twenty not.",
        )
    effects = effects_of(study, records, contacts, seed=seed)
    decisions = learn_from_decisions(choices, records, seed=seed) if choices else None
    return effects.with_decisions(decisions)


def effects_of(
    study: Study, records: Records, contacts: Sequence[Contact], *, seed: int = 0
) -> OfferEffects:
    """What a study of campaigns alone shows; see `learn_effects`."""
    middle = middle_of(records)
    method = choose_method(study.effects, until=middle)
    slopes, verdict = _learn_slopes(study, method, middle, seed)
    earlier, later = panels_for_redemption(study, records, contacts)
    of_method = [each for each in study.effects if each.method is method]
    window_days = records.window.days
    return OfferEffects(
        origin=EffectOrigin(
            log_until=records.ends.isoformat(),
            earlier_until=middle.isoformat(),
            method=method.value,
            later_placebos=_placebos(
                [e for e in of_method if e.measure is Measure.SPEND and e.starts >= middle]
            ),
            window_days=window_days,
            campaigns=len({each.campaign_id for each in contacts}),
            studied=len(study.panels_of(method)),
            assumptions=assumptions(method, window_days),
        ),
        kinds={
            kind: kind_effect(
                [each for each in contacts if each.kind == kind],
                [each for each in of_method if each.kind == kind],
            )
            for kind in sorted({each.kind for each in contacts})
        },
        together=kind_effect(contacts, of_method),
        slopes=slopes,
        slopes_verdict=verdict,
        redemption=fit_redemption([*earlier, *later]),
        redemption_quality=judge_redemption(fit_redemption(earlier), earlier, later)
        if earlier and later
        else None,
    )


def panels_for_redemption(
    study: Study, records: Records, contacts: Sequence[Contact]
) -> tuple[list[Panel], list[Panel]]:
    """Campaigns of the first half and of the second, as of their starts, that are over by now."""
    middle = middle_of(records)
    over = {each.campaign_id for each in contacts if each.ends <= records.ends}
    panels = [panel for name, panel in study.at_start.items() if name in over]
    return [p for p in panels if p.as_of < middle], [p for p in panels if p.as_of >= middle]


def middle_of(records: Records) -> datetime:
    """The moment that divides earlier campaigns from later ones: the middle of the log."""
    return records.begins + (records.ends - records.begins) / 2


def assumptions(method: Method, window_days: int) -> tuple[str, ...]:
    """What must hold, and what cannot be known from such data."""
    trends = (_TRENDS,) if method is Method.DIFFERENCES else ()
    return (_CHOSEN, *trends, _WHOM, _SPILL, _AFTER.format(days=window_days))


def _learn_slopes(
    study: Study, method: Method, middle: datetime, seed: int
) -> tuple[EffectSlopes | None, SlopesVerdict | None]:
    residuals = {
        name: residuals_of(panel, method, seed) for name, panel in study.panels_of(method).items()
    }
    starts = {each.campaign_id: each.starts for each in study.effects}
    earlier = [each for name, each in residuals.items() if starts[name] < middle]
    later = [each for name, each in residuals.items() if starts[name] >= middle]
    if not earlier or not later:
        return None, None
    verdict = judge_slopes(earlier, later, seed)
    everything = [*earlier, *later]
    return (fit_slopes(everything, verdict.penalty) if verdict.better else None), verdict


def kind_effect(contacts: Sequence[Contact], effects: Sequence[StudiedEffect]) -> KindEffect:
    """What campaigns did, from their contacts and from one method's effects and placebos."""
    treated = [each for each in contacts if each.treated]
    return KindEffect(
        contacts=len(treated),
        spend=_measured([each for each in effects if each.measure is Measure.SPEND]),
        churn=_measured([each for each in effects if each.measure is Measure.CHURN]),
        redeemed=float(np.mean([each.redemptions > 0 for each in treated])),
        discount=float(np.mean([each.discount for each in treated])),
    )


def _measured(effects: Sequence[StudiedEffect]) -> MeasuredEffect:
    return MeasuredEffect(
        effect=pooled(each for each in effects if each.windows_early == 0),
        placebos=_placebos(effects),
    )


def _placebos(effects: Sequence[StudiedEffect]) -> tuple[Pooled | None, ...]:
    return tuple(
        pooled(each for each in effects if each.windows_early == early) for early in PLACEBOS
    )
