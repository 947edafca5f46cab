"""Intervals around predicted spend, of customers and of their total, for the prediction bench."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

import numpy as np

from bench.prediction_measures import SpendEnds, System
from bench.shops import BenchShop
from finetune.labels import Example
from finetune.prior import fit_prior
from finetune.season import read_seasons
from finetune.spend_interval import SpendInterval, fit_spend_interval

_HELD_OUT_SHARE = 0.2


def prior_interval(
    bench: BenchShop,
    windows: Sequence[Sequence[Example]],
    thresholds: tuple[float, ...],
    seed: int,
) -> SpendInterval:
    """The prior's intervals, from a fifth of the training customers that a second prior left out.

    Args:
        bench: the shop; nothing past its training window is looked at.
        windows: labelled customers at each cut-off, the newest first.
        thresholds: of the value tiers, minor units.
        seed: of who is left out.
    """
    newest = windows[0]
    drawn = np.random.default_rng(seed).permutation(len(newest))
    held = drawn[: round(_HELD_OUT_SHARE * len(newest))]
    unseen = {newest[index].past.customer_id for index in held}
    horizon_days = bench.shop.settings.churn.horizon_days
    prior = fit_prior(
        [
            [example for example in window if example.past.customer_id not in unseen]
            for window in windows
        ],
        thresholds,
        horizon_days,
    )
    span = bench.shop.log.span()
    assert span is not None, f"{bench.shop.directory} is empty"
    interval = fit_spend_interval(
        prior.answers([newest[index].past for index in held]).spend,
        [float(newest[index].spend) for index in held],
        read_seasons(bench.shop.log, prior, newest=bench.train_cutoff, first_event=span[0]),
    )
    assert interval is not None, f"{len(held)} customers are too few"
    return interval


def with_interval(system: System, interval: SpendInterval, cutoff: datetime) -> System:
    """A system whose spend has its season corrected where known, with its intervals.

    Args:
        system: its spend without the season.
        interval: of the predictor behind it.
        cutoff: as of which it was asked.
    """
    spend = system.scores.spend
    assert spend is not None
    season = interval.seasons.at(cutoff)
    low, high = interval.around(spend, season)
    return replace(
        system,
        scores=replace(system.scores, spend=season.factor * spend),
        ends=SpendEnds(
            low=np.floor(low),
            high=np.ceil(high),
            total=interval.total(interval.sums(spend), season),
            coverage=interval.coverage,
            season=season.text,
        ),
    )
