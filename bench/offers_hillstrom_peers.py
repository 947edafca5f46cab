"""Peers at telling whom an e-mail moves: simple counts, and learners of two libraries.

The learners of scikit-uplift and causalml read the same features as Patron's candidates, but for
what the other arm's customers did, over a linear model and over the prior's LightGBM each.
scikit-uplift's class transformation and dependent models exist for outcomes of 0 and 1 only.
"""

from typing import Any

import lightgbm
import numpy as np
from causalml.inference.meta import BaseDRRegressor, BaseTRegressor, BaseXRegressor
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklift.models import ClassTransformation, SoloModel, TwoModels

from bench.offers_hillstrom_systems import Campaign, Views
from finetune.calibration import Floats
from finetune.chance_model import TREE_SETTINGS
from finetune.uplift import chances, ridge, trees


def peer_effects(
    campaign: Campaign, customers: Views, *, bought_column: int, seed: int
) -> dict[str, Floats]:
    """Every peer's scores for customers `[n]`; the highest are moved most, says the peer.

    Args:
        campaign: to learn from.
        customers: to answer for.
        bought_column: column of `Views.bought` that the e-mail is about.
        seed: of the random order, and of the folds of causalml's DR-learner.
    """
    without = ~campaign.treated
    stays = (chances if campaign.binary else ridge)()
    stays.fit(campaign.views.rfm[without], campaign.outcome[without])
    scores: dict[str, Floats] = {
        "random": np.random.default_rng(seed).random(len(customers.spent)),
        "by_risk": -stays.predict(customers.rfm),
        "by_value": customers.spent,
        "by_category": customers.bought[:, bought_column],
    }
    for name, model in _of_sklift(binary=campaign.binary).items():
        model.fit(campaign.views.rfm, campaign.outcome, campaign.treated.astype(int))
        scores[name] = np.asarray(model.predict(customers.rfm), dtype=np.float64)
    chance = campaign.treated.mean()
    known = np.full(len(campaign.outcome), chance)
    asked = np.full(len(customers.spent), chance)
    for name, learner, settings in _of_causalml(seed):
        learner.fit(
            X=campaign.views.rfm,
            y=campaign.outcome,
            treatment=campaign.treated.astype(int),
            p=known,
            **settings,
        )
        scores[name] = np.asarray(learner.predict(customers.rfm, p=asked)).ravel()
    return scores


def _of_sklift(*, binary: bool) -> dict[str, Any]:
    if not binary:
        return {
            "sklift_solo_ridge": SoloModel(ridge(), method="treatment_interaction"),
            "sklift_solo_trees": SoloModel(trees()),
            "sklift_two_ridge": TwoModels(ridge(), ridge()),
            "sklift_two_trees": TwoModels(trees(), trees()),
        }
    return {
        "sklift_solo_logistic": SoloModel(_logistic(), method="treatment_interaction"),
        "sklift_solo_trees": SoloModel(_tree_classes()),
        "sklift_two_logistic": TwoModels(_logistic(), _logistic()),
        "sklift_two_trees": TwoModels(_tree_classes(), _tree_classes()),
        "sklift_two_dependent": TwoModels(_logistic(), _logistic(), method="ddr_control"),
        "sklift_class_logistic": ClassTransformation(_logistic()),
        "sklift_class_trees": ClassTransformation(_tree_classes()),
    }


def _of_causalml(seed: int) -> list[tuple[str, Any, dict[str, int]]]:
    """Name, learner, and what its fit is told beside the data; only the DR-learner draws."""
    return [
        (f"causalml_{kind}_{base}", learner(learner=make()), settings)
        for kind, learner, settings in (
            ("t", BaseTRegressor, {}),
            ("x", BaseXRegressor, {}),
            ("dr", BaseDRRegressor, {"seed": seed}),
        )
        for base, make in (("ridge", ridge), ("trees", trees))
    ]


def _logistic() -> Any:
    return make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))


def _tree_classes() -> Any:
    return lightgbm.LGBMClassifier(**TREE_SETTINGS)
