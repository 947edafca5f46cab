"""What Complete Journey's coupon campaigns changed, and whether targeting by it pays.

Nobody randomised these campaigns. Contacted households are compared with others whose chance of
being contacted was alike (`finetune.campaign_study`); the method is chosen by placebos of the
campaigns of the first half of the year, and all else is reported of the second. Policies learn on
earlier campaigns, whose outcomes were known before the first later one began, and are judged on
later ones (`bench.offers_journey_policies`). Money is in dollars per contacted household.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime

import numpy as np

from bench.offers_journey_policies import (
    BY_RISK,
    BY_VALUE,
    OURS,
    PolicyResult,
    judge_policies,
)
from bench.offers_journey_values import Terms
from bench.offers_report import OfferOptions, OfferReport
from bench.shops import open_bench_shops
from finetune.campaign_panels import Records
from finetune.campaign_study import Study, study_campaigns
from finetune.campaigns import campaigns_of
from finetune.effect_learning import WINDOW_DAYS, effects_of, middle_of
from finetune.offer_effects import OfferEffects
from finetune.studied_effects import (
    PLACEBOS,
    Measure,
    Method,
    Pooled,
    StudiedEffect,
    choose_method,
    pooled,
)
from ui.journey_contacts import contacts
from ui.terminal import progress_bars

SHOP = "complete_journey"
SET = f"{SHOP} campaigns"
TERMS = Terms(margin=0.25, contact_cost=50)
_CENTS = 100


def measure(report: OfferReport, options: OfferOptions) -> None:
    """Measure, and add to the report."""
    with progress_bars() as progress:
        bench = next(open_bench_shops(options.work, options.data, [SHOP], progress))
        sent = contacts()
        records = Records(bench.shop, sent, WINDOW_DAYS)
        study = study_campaigns(records, campaigns_of(sent), seed=options.seed, progress=progress)
    middle = middle_of(records)
    method = choose_method(study.effects, until=middle)
    report.say(
        f"Complete Journey: {len(study.panels_of(method))} campaigns with {WINDOW_DAYS} days of "
        f"log on both sides of their start; method chosen on campaigns before {middle:%Y-%m-%d}: "
        f"{method.value}"
    )
    _show_overlap(report, study, method)
    _show_placebos(report, study, method, middle)
    effects = effects_of(study, records, sent, seed=options.seed)
    _show_effects(report, effects)
    _show_redemption(report, effects)
    report.say(TERMS.in_words())
    results = judge_policies(study, records, sent, method, TERMS, seed=options.seed)
    _show_policies(report, results)
    for sentence in effects.origin.assumptions:
        report.say(f"  Cannot be known: {sentence}")


def _show_overlap(report: OfferReport, study: Study, method: Method) -> None:
    """How alike contacted and other households are, campaign by campaign."""
    rows = {}
    for each in study.effects:
        if each.method is not method or each.windows_early or each.measure is not Measure.SPEND:
            continue
        overlap = each.overlap
        name = f"{each.kind}, campaign {each.campaign_id}"
        rows[name] = {
            "contacted": float(each.contacted),
            "share within overlap": overlap.inside,
            "ESS contacted": overlap.effective_contacted,
            "ESS others": overlap.effective_others,
            "worst |SMD| before": overlap.apart_before,
            "after": overlap.apart_after,
        }
        report.row(SET, name, "share_within_overlap", overlap.inside)
        report.row(SET, name, "worst_smd_before", overlap.apart_before)
        report.row(SET, name, "worst_smd_after", overlap.apart_after)
    report.table("Overlap (chance 0.05 to 0.95) and balance of 32 features", rows)


def _show_placebos(report: OfferReport, study: Study, method: Method, middle: datetime) -> None:
    """Effects where there was no campaign, by method, half of the year and kind."""
    kinds = sorted({each.kind for each in study.effects})
    rows: dict[str, dict[str, float | None]] = {}
    for half, among in (("earlier", True), ("later", False)):
        for tried in Method:
            for kind in (*kinds, "all"):
                name = f"{half}, {tried.value}, {kind}"
                chosen = [
                    each
                    for each in study.effects
                    if each.method is tried
                    and each.measure is Measure.SPEND
                    and (each.starts < middle) is among
                    and kind in (each.kind, "all")
                ]
                rows[name] = {}
                for early in PLACEBOS:
                    found = pooled(e for e in chosen if e.windows_early == early)
                    rows[name] |= _dollars(f"{early} early", found)
                    if found is not None:
                        _add(report, name, f"placebo_{early}_early", found)
    report.table(f"Placebo effects on spend, dollars in {WINDOW_DAYS} days", rows)
    later = [
        each
        for each in study.effects
        if each.method is method and each.measure is Measure.SPEND and each.starts >= middle
    ]
    together = [pooled(e for e in later if e.windows_early == early) for early in PLACEBOS]
    passes = all(placebo is not None and placebo.contains_zero for placebo in together)
    report.verdict(SET, _placebo_verdict(later, together, method, passes))
    report.claim(f"{SET}: later placebo campaigns, all kinds together, show no effect", passes)


def _placebo_verdict(
    later: Sequence[StudiedEffect],
    together: Sequence[Pooled | None],
    method: Method,
    passes: bool,
) -> str:
    """Whether the later placebos of all kinds hold 0, and which of single kinds do not."""
    kinds = sorted({each.kind for each in later})
    single = {
        f"{kind} {early} early": pooled(
            each for each in later if each.kind == kind and each.windows_early == early
        )
        for kind in kinds
        for early in PLACEBOS
    }
    failed = [
        f"{name} {_in_words(placebo)}"
        for name, placebo in single.items()
        if placebo is not None and not placebo.contains_zero
    ]
    tried = sum(placebo is not None for placebo in single.values())
    return (
        f"placebo campaigns of the later half {'show no effect' if passes else 'SHOW AN EFFECT'} "
        f"by {method.value}: {' and '.join(_in_words(placebo) for placebo in together)}, one and "
        f"two windows early. Of {tried} placebos of single kinds, {len(failed)} leave out 0"
        + (f" ({'; '.join(failed)})." if failed else ".")
    )


def _show_effects(report: OfferReport, effects: OfferEffects) -> None:
    rows: dict[str, dict[str, float | None]] = {}
    for name, kind in (*effects.kinds.items(), ("all", effects.together)):
        rows[name] = {
            "contacts": float(kind.contacts),
            **_dollars("spend", kind.spend.effect),
            **_shares("leaving", kind.churn.effect),
            "redeemed": kind.redeemed,
            "discount": kind.discount / _CENTS,
        }
        for metric, found in (("spend_effect", kind.spend), ("churn_effect", kind.churn)):
            if found.effect is not None:
                scale = _CENTS if metric == "spend_effect" else 1
                _add(report, name, metric, found.effect, scale)
        report.row(SET, name, "redeemed", kind.redeemed)
    report.table(
        f"Effect of a contact in {WINDOW_DAYS} days, dollars and share leaving (95% intervals)",
        rows,
    )
    measured = [name for name, kind in effects.kinds.items() if kind.spend.measured]
    report.verdict(
        SET,
        f"{effects.origin.studied} campaigns together changed spend by "
        f"{_in_words(effects.together.spend.effect)} per contact; "
        + (
            f"kinds whose own interval leaves out 0 while their placebos hold it: "
            f"{', '.join(measured)} (of {len(effects.kinds)} looked at)."
            if measured
            else "no kind has an effect that can be told from none."
        ),
    )


def _show_redemption(report: OfferReport, effects: OfferEffects) -> None:
    quality = effects.redemption_quality
    if quality is None:
        return
    report.table(
        f"Redemption, learnt on earlier campaigns, of {quality.contacts:,} later contacts",
        {
            "logistic": {
                "AUC": quality.auc,
                "Brier": quality.brier,
                "share expected": quality.expected,
                "share that redeemed": quality.redeemed,
            },
            "earlier share": {
                "AUC": 0.5,
                "Brier": quality.base_brier,
                "share expected": quality.base_rate,
                "share that redeemed": quality.redeemed,
            },
        },
    )
    if quality.auc is not None:
        report.row(SET, "redemption logistic", "auc", quality.auc)
    report.row(SET, "redemption logistic", "brier", quality.brier)
    report.row(SET, "redemption base rate", "brier", quality.base_brier)


def _show_policies(report: OfferReport, results: PolicyResult) -> None:
    losses: dict[str, dict[str, float | None]] = {
        name: {"error against one effect a kind": loss.relative, "low": loss.low, "high": loss.high}
        for name, loss in results.losses.items()
    }
    report.table(
        "Learners, each earlier campaign in turn left out (below 0 is better; intervals for all "
        "learners at once)",
        losses,
    )
    for name, loss in results.losses.items():
        report.row(SET, name, "relative_error_earlier", loss.relative, loss.low, loss.high)
    report.say(f"  {results.learnt}")
    rows: dict[str, dict[str, float | None]] = {}
    for name, value in results.values.items():
        rows[name] = {
            "contacts": value.contacts,
            "ESS": value.effective,
            "profit": value.profit.mean,
            "low": value.profit.low,
            "high": value.profit.high,
        }
        report.row(
            SET,
            name,
            "profit_per_budgeted_contact",
            value.profit.mean,
            value.profit.low,
            value.profit.high,
        )
    report.table(
        f"Profit on {results.campaigns} later campaigns, dollars per contact of the budget "
        f"({results.budget:,} contacts)",
        rows,
    )
    for peer, gain in results.gains.items():
        report.difference(
            SET, "profit_per_budgeted_contact", OURS, peer, gain.mean, gain.low, gain.high
        )
    report.verdict(SET, results.in_words())
    for peer in (BY_RISK, BY_VALUE):
        gain = results.gains[peer]
        report.claim(
            f"{SET}: under the budget the learnt policy is estimated to earn more than "
            f"'{peer}' ({gain.mean:+.2f} dollars a contact [{gain.low:.2f}, {gain.high:.2f}])",
            gain.mean > 0,
        )


def _dollars(name: str, found: Pooled | None) -> dict[str, float | None]:
    return _interval(name, found, _CENTS)


def _shares(name: str, found: Pooled | None) -> dict[str, float | None]:
    return _interval(name, found, 1)


def _interval(name: str, found: Pooled | None, scale: float) -> dict[str, float | None]:
    values: Iterable[float | None] = (
        (None, None, None)
        if found is None
        else (found.effect / scale, found.low / scale, found.high / scale)
    )
    return dict(zip((name, f"{name} low", f"{name} high"), values, strict=True))


def _add(report: OfferReport, name: str, metric: str, found: Pooled, scale: float = _CENTS) -> None:
    report.row(SET, name, metric, *(np.array([found.effect, found.low, found.high]) / scale))


def _in_words(found: Pooled | None) -> str:
    if found is None:
        return "nothing measured"
    return (
        f"{found.effect / _CENTS:+.2f} dollars [{found.low / _CENTS:.2f}, "
        f"{found.high / _CENTS:.2f}]"
    )
