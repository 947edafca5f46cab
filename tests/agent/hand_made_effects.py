"""Effects of offers as if they had been learned: one for everybody, a fifth redeem."""

from finetune.effect_features import EFFECT_FEATURES, RELATIVE_COLUMNS
from finetune.offer_effects import EffectOrigin, KindEffect, MeasuredEffect, OfferEffects
from finetune.redemption import RedemptionModel
from finetune.studied_effects import Pooled


def effects(spend: float) -> OfferEffects:
    """Effects whose mean on spend is `spend`, minor units, give or take a quarter of it."""

    def pooled(effect: float, margin: float) -> Pooled:
        return Pooled(
            effect=effect, low=effect - margin, high=effect + margin, campaigns=3, contacted=300
        )

    nothing = pooled(0.0, 0.01)
    together = KindEffect(
        contacts=300,
        spend=MeasuredEffect(
            effect=pooled(spend, abs(spend) / 4), placebos=(pooled(0.0, 100.0), pooled(1.0, 100.0))
        ),
        churn=MeasuredEffect(effect=nothing, placebos=(nothing,)),
        redeemed=0.2,
        discount=20.0,
    )
    names = tuple(EFFECT_FEATURES[column] for column in RELATIVE_COLUMNS)
    return OfferEffects(
        origin=EffectOrigin(
            log_until="2025-01-01T00:00:00+00:00",
            earlier_until="2024-07-01T00:00:00+00:00",
            method="adjustment",
            later_placebos=(),
            window_days=28,
            campaigns=3,
            studied=3,
            assumptions=("Made for the tests.",),
        ),
        kinds={},
        together=together,
        slopes=None,
        slopes_verdict=None,
        redemption=RedemptionModel(
            features=names,
            lowest=(0.0,) * len(names),
            highest=(1.0,) * len(names),
            kinds=("made",),
            kind_shares=(1.0,),
            weights=(0.0,) * (len(names) + 1),
            intercept=-1.3862943611198906,
        ),
        redemption_quality=None,
    )
