"""What past campaigns changed, and the same question asked of moments without a campaign.

Nobody drew lots, so contacted customers are compared with others whose chance of being contacted
was alike, in two ways. *Adjustment* compares what they spent after the start. *Difference in
differences* compares how much it changed from one window to the next, so that reasons that were
there all along cancel (Sant'Anna and Zhao, 2020). A placebo asks for the effect of a campaign one
or two windows before it began, where there is none to find; which of the two ways is believed is
chosen by the placebos of the earlier campaigns alone.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np

from finetune.calibration import Floats
from finetune.campaign_panels import Panel, Records
from finetune.campaigns import Campaign
from finetune.cross_fitting import FOLDS, folds_of
from finetune.overlap import (
    chances_of_contact,
    overlap_of,
    overlap_weights,
)
from finetune.studied_effects import PLACEBOS, Measure, Method, StudiedEffect
from finetune.uplift import Flags, ridge
from retrieval.progress import Progress, no_progress

_WINDOWS_BEFORE = {Method.ADJUSTMENT: 0, Method.DIFFERENCES: 1}
FEWEST = 20
"""Contacted customers, and others, that a campaign must have to be studied."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Study:
    """Effects and placebos of campaigns, with the panels that learning goes on from.

    Attributes:
        effects: of every campaign, method, measure and moment.
        at_start: by campaign, its customers as they were known at the start.
        a_window_before: the same a window earlier; what difference in differences reads.
    """

    effects: tuple[StudiedEffect, ...]
    at_start: dict[str, Panel]
    a_window_before: dict[str, Panel]

    def panels_of(self, method: Method) -> dict[str, Panel]:
        """What a method reads, of the campaigns whose outcome the log holds."""
        studied = {
            each.campaign_id
            for each in self.effects
            if each.method is method and each.windows_early == 0
        }
        panels = self.at_start if method is Method.ADJUSTMENT else self.a_window_before
        return {name: panel for name, panel in panels.items() if name in studied}


def study_campaigns(
    records: Records,
    campaigns: Sequence[Campaign],
    *,
    seed: int = 0,
    progress: Progress = no_progress,
) -> Study:
    """Effects and placebos of every campaign, by both methods, on spend and on churn.

    Left out are campaigns with too few customers to compare, and windows that the log does not
    hold: a moment needs a window of log before it, and a campaign a window after its start.
    """
    found: list[StudiedEffect] = []
    kept: dict[int, dict[str, Panel]] = defaultdict(dict)
    for number, campaign in enumerate(campaigns):
        progress("Comparing campaigns", number, len(campaigns))
        for windows_before in range(max(PLACEBOS) + 2):
            panel = panel_before(records, campaign, windows_before)
            if panel is not None:
                kept[windows_before][campaign.campaign_id] = panel
                found += _effects(records, campaign, panel, windows_before, seed)
    progress("Comparing campaigns", len(campaigns), len(campaigns))
    return Study(effects=tuple(found), at_start=kept[0], a_window_before=kept[1])


def panel_before(records: Records, campaign: Campaign, windows_before: int) -> Panel | None:
    """The panel some windows before a campaign's start; None where there is too little to compare.

    A window of log must lie before the panel's moment, and `FEWEST` customers on either side.
    """
    as_of = campaign.starts - windows_before * records.window
    if as_of < records.begins + records.window or as_of > records.ends:
        return None
    panel = records.panel(campaign, as_of)
    contacted = int(panel.treated.sum())
    return panel if min(contacted, len(panel.treated) - contacted) >= FEWEST else None


def outcome_of(panel: Panel, method: Method, measure: Measure) -> Floats:
    """What a method compares `[n]`: the first window, or the second minus the first."""
    counted = panel.spend if measure is Measure.SPEND else panel.churned
    return counted[:, 0] if method is Method.ADJUSTMENT else counted[:, 1] - counted[:, 0]


def chances_of(panel: Panel, seed: int = 0) -> Floats:
    """Each customer's chance of being contacted `[n]`, drawn or else estimated."""
    if panel.propensity is not None:
        return panel.propensity
    return chances_of_contact(panel.features, panel.treated, seed)


def weighted_effect(
    features: Floats, treated: Flags, outcome: Floats, chances: Floats, seed: int = 0
) -> tuple[float, Floats]:
    """Augmented overlap-weighted difference, and each customer's part in its error.

    What a ridge regression of the customers not contacted (of the other folds) foresees is taken
    off; what is left is compared under overlap weights (Mao, Li and Greene, 2019). Right if the
    chances are, or if effects are alike and the regression is right.

    Returns:
        The effect, and influence `[n]` with mean 0; its mean square over n is the variance.
    """
    fold = folds_of(treated, seed)
    left = np.empty(len(outcome))
    for part in range(FOLDS):
        held = fold == part
        model = ridge()
        model.fit(features[~treated & ~held], outcome[~treated & ~held])
        left[held] = outcome[held] - model.predict(features[held])
    weights = overlap_weights(treated, chances)
    means = [float(np.average(left[g], weights=weights[g])) for g in (treated, ~treated)]
    parts = [
        weights * group * (left - mean) / (weights * group).mean()
        for group, mean in zip((treated, ~treated), means, strict=True)
    ]
    return means[0] - means[1], parts[0] - parts[1]


def _effects(
    records: Records, campaign: Campaign, panel: Panel, windows_before: int, seed: int
) -> list[StudiedEffect]:
    """What a panel says: of the moment itself by adjustment, of a window later by differences."""
    chances = chances_of(panel, seed)
    overlap = overlap_of(panel.features, panel.treated, chances)
    found = []
    for method, measure in product(Method, Measure):
        windows_early = windows_before - _WINDOWS_BEFORE[method]
        observed_until = campaign.starts + (1 - windows_early) * records.window
        if not 0 <= windows_early <= max(PLACEBOS) or observed_until > records.ends:
            continue
        outcome = outcome_of(panel, method, measure)
        effect, influence = weighted_effect(panel.features, panel.treated, outcome, chances, seed)
        found.append(
            StudiedEffect(
                campaign_id=campaign.campaign_id,
                kind=campaign.kind,
                starts=campaign.starts,
                method=method,
                measure=measure,
                windows_early=windows_early,
                contacted=int(panel.treated.sum()),
                effect=effect,
                weight=float((chances * (1 - chances)).sum()),
                customer_ids=panel.customer_ids,
                influence=influence,
                overlap=overlap,
            )
        )
    return found
