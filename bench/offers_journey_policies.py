"""Policies that choose whom to contact, learnt on earlier campaigns and judged on later ones.

Policies see what the comparison itself is conditional on: by difference in differences, households
as they were known one window before the start. A policy that saw the window in between, which is
part of the outcome, would be credited with what chance gives back.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import norm

from bench.offers_journey_values import (
    CENTS,
    Draws,
    Interval,
    LaterCampaign,
    PlanValue,
    Score,
    Terms,
    best_within_budget,
    score_campaign,
)
from finetune.calibration import Floats
from finetune.campaign_panels import Panel, Records
from finetune.campaign_study import Study
from finetune.chance_model import fit_chance_model
from finetune.contacts import Contact
from finetune.effect_features import EFFECT_FEATURES, RELATIVE_COLUMNS
from finetune.effect_learning import kind_effect, middle_of, panels_for_redemption
from finetune.effect_slopes import (
    PENALTIES,
    Residuals,
    fit_slopes,
    residuals_of,
    squared_errors,
)
from finetune.offer_effects import decided
from finetune.overlap import OVERLAP
from finetune.redemption import fit_redemption
from finetune.studied_effects import Method, StudiedEffect
from finetune.uplift import UpliftLearner, ridge
from finetune.uplift_learners import DRLearner, TLearner, XLearner

_USUAL = EFFECT_FEATURES.index("spend_usual")
_LEARNERS: Mapping[str, Callable[[], UpliftLearner]] = {
    "T-learner": lambda: TLearner(lambda: ridge(100.0)),
    "X-learner": lambda: XLearner(lambda: ridge(100.0), lambda: ridge(1000.0)),
    "DR-learner": lambda: DRLearner(lambda: ridge(100.0), lambda: ridge(1000.0), clip=OVERLAP),
}
_CONSTANTS = "one effect a kind"
OURS = "learnt policy"
BY_RISK = "highest churn risk"
BY_VALUE = "highest value"


@dataclass(frozen=True, slots=True, kw_only=True)
class Loss:
    """Squared error of a learner on campaigns it had not seen, less that of one effect a kind.

    Attributes:
        relative: to the error of one effect a kind; below 0 is better.
        low: lower end of its interval over households, which holds for all learners at once (95%):
            the best of many is the luckiest of them too.
        high: upper end.
    """

    relative: float
    low: float
    high: float

    @property
    def surely_better(self) -> bool:
        """Whether the whole interval speaks for the learner."""
        return self.high < 0


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyResult:
    """Policies side by side.

    Attributes:
        losses: of each learner, on earlier campaigns.
        learnt: what the learnt policy came to, in words.
        gains: profit of the learnt policy minus each peer's, paired.
    """

    losses: Mapping[str, Loss]
    learnt: str
    campaigns: int
    budget: int
    values: Mapping[str, PlanValue]
    gains: Mapping[str, Interval]

    def in_words(self) -> str:
        """What the figures mean for the shop."""
        ours = self.values[OURS]
        parts = [
            f"{'beats' if gain.mean > 0 else 'DOES NOT BEAT'} {peer} by {gain.mean:+.2f} dollars "
            f"[{gain.low:.2f}, {gain.high:.2f}]"
            for peer, gain in self.gains.items()
        ]
        clear = [peer for peer, gain in self.gains.items() if gain.low > 0 or gain.high < 0]
        told = (
            f"Only against {', '.join(clear)} can that be told from chance."
            if clear
            else "None of these differences can be told from chance."
        )
        made = f"{ours.contacts:,.0f}" if ours.contacts else "none"
        return (
            f"the learnt policy makes {made} of {self.budget:,} contacts and earns "
            f"{ours.profit.mean:.2f} dollars per contact of the budget; by point estimate it "
            f"{'; '.join(parts)}. {told}"
        )


def judge_policies(
    study: Study,
    records: Records,
    contacts: Sequence[Contact],
    method: Method,
    terms: Terms,
    *,
    seed: int,
) -> PolicyResult:
    """Learn on earlier campaigns, choose in later ones, estimate what that had earned."""
    panels = study.panels_of(method)
    first_later = min(
        study.at_start[name].as_of
        for name in panels
        if study.at_start[name].as_of >= middle_of(records)
    )
    known = [n for n in panels if study.at_start[n].as_of + records.window <= first_later]
    residuals = [residuals_of(panels[n], method, seed) for n in known]
    losses = losses_of(residuals)
    differing = min(losses, key=lambda name: losses[name].relative)
    before = [each for each in contacts if each.starts < first_later and each.ends <= first_later]
    effects = [e for e in study.effects if e.campaign_id in known and e.method is method]
    average = _average_effect(before, effects)
    adopted = losses[differing].surely_better
    spend_effect = _fitted(differing, residuals) if adopted else average
    later = [
        scored
        for name in panels
        if study.at_start[name].as_of >= first_later
        and (scored := score_campaign(panels[name], method, terms, seed)) is not None
    ]
    redemption = fit_redemption(panels_for_redemption(study, records, before)[0])
    discounts = _discounts(before)
    risk = _risk([study.at_start[name] for name in known])

    def expected_profit(effect: Score) -> Score:
        return lambda kind, features: (
            terms.margin * effect(kind, features)
            - redemption.chances(features, kind) * discounts[kind]
            - terms.contact_cost
        )

    ranking = expected_profit(_fitted(differing, residuals))
    plans = {
        OURS: [
            best_within_budget(each, expected_profit(spend_effect), only_gains=True)
            for each in later
        ],
        f"{differing}, whole budget": [best_within_budget(each, ranking) for each in later],
        BY_RISK: [best_within_budget(each, lambda _, f: risk(f)) for each in later],
        BY_VALUE: [best_within_budget(each, lambda _, f: f[:, _USUAL]) for each in later],
        "likeliest to redeem": [
            best_within_budget(each, lambda kind, f: redemption.chances(f, kind)) for each in later
        ],
        "random": [np.full(len(each.treated), each.budget / len(each.treated)) for each in later],
        "never": [np.zeros(len(each.treated)) for each in later],
        "everybody, no budget": [np.ones(len(each.treated)) for each in later],
    }
    drawn = Draws(later, seed)
    return PolicyResult(
        losses=losses,
        learnt=_learnt_in_words(losses, differing, average, later),
        campaigns=len(later),
        budget=drawn.budget,
        values={name: drawn.value(plan) for name, plan in plans.items()},
        gains={
            name: drawn.profit([a - b for a, b in zip(plans[OURS], plan, strict=True)])
            for name, plan in plans.items()
            if name not in (OURS, "never")
        },
    )


def losses_of(campaigns: Sequence[Residuals]) -> dict[str, Loss]:
    """Error of each learner on every campaign in turn, beside one effect a kind."""
    names = [*(_linear(penalty) for penalty in PENALTIES), *_LEARNERS]
    ids = sorted({customer for each in campaigns for customer in each.customer_ids})
    row = {customer: number for number, customer in enumerate(ids)}
    base = np.zeros(len(ids))
    extra = {name: np.zeros(len(ids)) for name in names}
    for held in campaigns:
        others = [each for each in campaigns if each is not held]
        rows = [row[customer] for customer in held.customer_ids]
        constant = squared_errors(fit_slopes(others, np.inf), held)
        base[rows] += constant
        for name in names:
            foreseen = held.contact * _fitted(name, others)(held.kind, held.features)
            extra[name][rows] += (held.outcome - foreseen) ** 2 - constant
    # Bonferroni: of as many intervals, all hold at once.
    errors_wide = float(norm.ppf(1 - 0.025 / len(names)))
    return {name: _loss(each, base, errors_wide) for name, each in extra.items()}


def _loss(extra: Floats, base: Floats, errors_wide: float) -> Loss:
    """A ratio of sums over households, with the interval of its linear part."""
    relative = float(extra.sum() / base.sum())
    parts = (extra - relative * base) / base.sum()
    margin = errors_wide * float(np.sqrt((parts**2).sum()))
    return Loss(relative=relative, low=relative - margin, high=relative + margin)


def _linear(penalty: float) -> str:
    return f"R-learner, ridge {penalty:g}"


def _fitted(name: str, campaigns: Sequence[Residuals]) -> Score:
    """A learner's effect on spend, from a kind and features."""
    for penalty in PENALTIES:
        if name == _linear(penalty):
            return fit_slopes(campaigns, penalty).effects
    kinds = sorted({each.kind for each in campaigns})

    def read(kind: str, features: Floats) -> Floats:
        of_kind = np.tile([float(kind == known) for known in kinds], (len(features), 1))
        return np.column_stack([features[:, RELATIVE_COLUMNS], of_kind])

    contact = np.concatenate([each.contact for each in campaigns])
    treated = contact > 0
    learner = _LEARNERS[name]().fit(
        np.vstack([read(each.kind, each.features) for each in campaigns]),
        treated,
        np.concatenate([each.outcome for each in campaigns]),
        treated - contact,
    )
    return lambda kind, features: learner.effect(read(kind, features))


def _average_effect(contacts: Sequence[Contact], effects: Sequence[StudiedEffect]) -> Score:
    """The effect to decide by of each kind, by the rule of `finetune.offer_effects`."""
    together = kind_effect(contacts, effects).spend
    by_kind = {}
    for kind in {each.kind for each in effects}:
        own = kind_effect(
            [each for each in contacts if each.kind == kind],
            [each for each in effects if each.kind == kind],
        ).spend
        chosen, _ = decided(own, together)
        by_kind[kind] = 0.0 if chosen is None else chosen.shrunk
    unknown, _ = decided(None, together)
    other = 0.0 if unknown is None else unknown.shrunk
    return lambda kind, features: np.full(len(features), by_kind.get(kind, other))


def _discounts(contacts: Sequence[Contact]) -> dict[str, float]:
    """What those who redeem a kind of campaign take off in it, minor units."""
    return {
        kind: float(np.mean([c.discount for c in contacts if c.kind == kind and c.redemptions]))
        for kind in {each.kind for each in contacts}
    }


def _risk(panels: Sequence[Panel]) -> Callable[[Floats], Floats]:
    """Chance of leaving within a window, learnt at the starts of earlier campaigns."""
    features = np.vstack([panel.features for panel in panels])
    left = np.concatenate([panel.churned[:, 0] for panel in panels]) > 0
    return fit_chance_model(features, left, np.ones(len(left))).chances


def _learnt_in_words(
    losses: Mapping[str, Loss], differing: str, average: Score, later: Sequence[LaterCampaign]
) -> str:
    if losses[differing].surely_better:
        return f"The learnt policy tells customers apart by the {differing}."
    known = {each.kind: average(each.kind, each.features[:1])[0] / CENTS for each in later}
    shown = ", ".join(f"{kind} {effect:.2f}" for kind, effect in sorted(known.items()))
    return (
        f"No learner surely foresees earlier campaigns better than {_CONSTANTS}, so the policy has "
        f"one effect a kind, 0 where none was measured (dollars: {shown}), and contacts nobody who "
        "is not expected to pay."
    )
