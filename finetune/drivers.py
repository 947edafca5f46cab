"""Drivers: what each line of a customer's history adds to the prediction, by taking it away.

The language model reads the text without the line, and the statistical prior reads neutral values
in place of the features that say what the line says. What is left of a line after that, in other
lines that hint at it, is not its own: changes need not add up to the whole.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TypeGuard

import numpy as np

from finetune.calibration import Floats
from finetune.cross_shop_churn import cross_shop_names
from finetune.day_one_predictor import DayOnePredictor
from finetune.errors import AdapterError
from finetune.lora_predictor import LoraPredictor
from finetune.predictors import Predictor
from finetune.prior import Answers, Prior
from finetune.prior_features import (
    FADING_DAYS,
    FADING_SPEND,
    FADING_SPEND_BY_USUAL,
    KEPT_ITEMS,
    PRIOR_FEATURES,
    UNITS_A_LINE,
)
from finetune.scoring import calibrated_answers, season_factor
from retrieval.history import History, usual_spend
from retrieval.orders import CustomerPast
from retrieval.shop import ShopSettings


class LineKind(StrEnum):
    """What a line of the history tells, as people read it."""

    RHYTHM = "time since the last order"
    RECENT = "recent spend"
    USUAL = "usual spend"
    ORDER_DAYS = "order frequency"
    TOTALS = "orders in all"
    FAVOURITES = "favourites"
    BASKET = "last basket"
    RETURNS = "returns"


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryLine:
    """One line of the template `prompts/history.txt`.

    Attributes:
        beginning: matches this line and no other, whatever titles hold.
        features: columns of the prior's rows that say what the line says.
    """

    beginning: re.Pattern[str]
    features: tuple[str, ...]


LINES: Mapping[LineKind, HistoryLine] = {
    LineKind.RHYTHM: HistoryLine(
        beginning=re.compile(r"Last order (?:under a day|\d+ [a-z]+) ago, usual gap "),
        features=(
            "since_last",
            "since_last_by_horizon",
            "since_last_by_gap",
            "since_last_by_longest_gap",
            "gap_spread",
            *cross_shop_names(
                "bg_nbd_no_purchase",
                "bg_nbd_purchases",
                "since_last_by_horizon",
                "since_last_by_gap",
                "since_last_by_longest_gap",
                "since_last_by_shop_gap",
                "gap_spread",
                "rank_of_since_last",
            ),
        ),
    ),
    LineKind.RECENT: HistoryLine(
        beginning=re.compile(r"Spend last "),
        features=(
            "spend_last_horizon",
            "spend_last_third",
            "spend_last_sixth",
            *FADING_SPEND_BY_USUAL,
            *FADING_SPEND,
            *cross_shop_names(
                "spend_last_horizon_by_usual",
                "spend_last_third_by_usual",
                "spend_last_sixth_by_usual",
            ),
        ),
    ),
    LineKind.USUAL: HistoryLine(
        beginning=re.compile(r"Usual \S+ per "),
        features=(
            "usual_spend",
            "spend_before_by_usual",
            "amount_spread",
            *cross_shop_names(
                "bg_nbd_spend_by_usual",
                "spend_before_by_usual",
                "amount_spread",
                "rank_of_usual_spend",
            ),
        ),
    ),
    LineKind.ORDER_DAYS: HistoryLine(
        beginning=re.compile(r"Orders by "),
        features=(
            "days_last_horizon",
            "days_last_third",
            "days_by_usual_last_third",
            "busy_share",
            *FADING_DAYS,
            *cross_shop_names(
                "order_days_a_horizon",
                "days_last_horizon_by_usual",
                "days_last_third_by_usual",
                "busy_share",
            ),
        ),
    ),
    LineKind.TOTALS: HistoryLine(
        beginning=re.compile(r"In all \d+ orders? in "),
        features=(
            "recency",
            "frequency",
            "T",
            "monetary_value",
            "items_an_order",
            UNITS_A_LINE,
            *cross_shop_names(
                "age_by_horizon",
                "order_days",
                "rank_of_age",
                "rank_of_order_days",
                "rank_of_average_order",
                "rank_of_items_an_order",
            ),
        ),
    ),
    LineKind.FAVOURITES: HistoryLine(
        beginning=re.compile(r"Often buys "),
        features=("repeat_share", *KEPT_ITEMS, *cross_shop_names("repeat_share")),
    ),
    LineKind.BASKET: HistoryLine(
        # An amount is one word, a span of days is not.
        beginning=re.compile(r"Last order \S+: "),
        features=("last_order_by_average", *cross_shop_names("last_order_by_average")),
    ),
    LineKind.RETURNS: HistoryLine(
        beginning=re.compile(r"Returned goods worth "),
        features=("returned_share", *cross_shop_names("returned_share")),
    ),
}
"""Every line of the template with the features that say the same; a feature has one line."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Driver:
    """What one line adds: the answer with it less the answer without it.

    Attributes:
        text: the line.
        churn_risk_change: above 0 where the line raises the risk.
        expected_spend_change: over the horizon, its season corrected as the prediction's, minor
            units.
        tier_chance_change: of the chance of the value tier that is predicted with every line.
    """

    line: LineKind
    text: str
    churn_risk_change: float
    expected_spend_change: float
    tier_chance_change: float

    @property
    def points(self) -> int:
        """How far the line moves the churn risk, in whole percentage points; below 0 lowers it."""
        return round(100 * self.churn_risk_change)

    @property
    def size(self) -> str:
        """The same without its direction: "3 points"."""
        points = abs(self.points)
        return f"{points} {'point' if points == 1 else 'points'}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Drivers:
    """One customer's drivers.

    Attributes:
        churn_risk: with every line, as `score_all` answers.
        lines: one a line of the history, the largest change of the churn risk first.
    """

    churn_risk: float
    lines: tuple[Driver, ...]


def line_kind(line: str) -> LineKind:
    """What a line of a rendered history tells.

    Raises:
        ValueError: no kind knows the line: one was added to the template and not to `LINES`.
    """
    for kind, known in LINES.items():
        if known.beginning.match(line):
            return kind
    raise ValueError(
        f"No kind of line begins as '{line}' does: give new lines of prompts/history.txt a kind "
        "in finetune/drivers.py."
    )


def can_explain(predictor: Predictor) -> TypeGuard[LoraPredictor]:
    """Whether the adapter keeps what `explain` needs; patron-base and those made before do not."""
    if isinstance(predictor, DayOnePredictor):
        return False
    return predictor.prior is not None and bool(predictor.prior.neutral)


def explain(
    predictor: LoraPredictor, past: CustomerPast, history: History, settings: ShopSettings
) -> Drivers:
    """What each line of a history adds to the calibrated answers, computed by leaving it out.

    All texts are read as one batch, so it costs about as many passes as the history has lines; none
    where the prior answers alone.

    Args:
        predictor: with its calibration and prior.
        past: what the customer did.
        history: the same customer's text.
        settings: the shop's horizon.

    Raises:
        AdapterError: the adapter does not keep what stands in for a line, see `can_explain`.
    """
    prior = predictor.prior
    if prior is None or not prior.neutral:
        raise AdapterError(
            f"The adapter {predictor.manifest.adapter_id} was made before predictions named what "
            "moves them.",
            hint="Make its prior again, in minutes: patron finetune --keep-weights --shop DIR",
        )
    kinds = [line_kind(line) for line in history.lines]
    horizon = settings.churn.horizon_days
    answers = _answers(
        predictor,
        prior,
        [history, *_each_left_out(history)],
        _each_neutral(past, kinds, prior),
        _usual_spends(past, horizon, kinds, prior),
    )
    tier = int(np.argmax(answers.tiers[0]))
    churn, spend, tiers = (
        of[0] - of[1:] for of in (answers.churn, answers.spend, answers.tiers[:, tier])
    )
    season = season_factor(predictor.manifest, past.as_of)
    drivers = [
        Driver(
            line=kind,
            text=text,
            churn_risk_change=float(churn[index]),
            expected_spend_change=season * float(spend[index]),
            tier_chance_change=float(tiers[index]),
        )
        for index, (kind, text) in enumerate(zip(kinds, history.lines, strict=True))
    ]
    return Drivers(
        churn_risk=float(answers.churn[0]),
        lines=tuple(sorted(drivers, key=lambda driver: -abs(driver.churn_risk_change))),
    )


def _each_left_out(history: History) -> list[History]:
    """The history without its first line, without its second, and so on."""
    lines = history.lines
    return [replace(history, lines=lines[:at] + lines[at + 1 :]) for at in range(len(lines))]


def _each_neutral(past: CustomerPast, kinds: Sequence[LineKind], prior: Prior) -> Floats:
    """The customer's features, then a row a line with that line's features neutral."""
    rows = np.repeat(prior.rows([past]), len(kinds) + 1, axis=0)
    for row, kind in enumerate(kinds, start=1):
        said = [name in LINES[kind].features for name in prior.features]
        rows[row, said] = np.array(prior.neutral)[said]
    return rows


def _usual_spends(
    past: CustomerPast, horizon_days: int, kinds: Sequence[LineKind], prior: Prior
) -> Floats:
    """Usual spend as the calibration reads it, neutral where its line is left out."""
    usual = np.full(len(kinds) + 1, usual_spend(past, horizon_days))
    neutral = np.expm1(prior.neutral[PRIOR_FEATURES.index("usual_spend")])
    usual[1:][[kind is LineKind.USUAL for kind in kinds]] = neutral
    return usual


def _answers(
    predictor: LoraPredictor,
    prior: Prior,
    histories: Sequence[History],
    features: Floats,
    usual: Floats,
) -> Answers:
    """Calibrated answers, language model and prior blended, of what each of them reads."""
    manifest = predictor.manifest
    if manifest.blend.prior_alone:
        return prior.answers_of(features)
    model = calibrated_answers(manifest.calibration, predictor.logits(histories), usual)
    return manifest.blend.mix(model, prior.answers_of(features))
