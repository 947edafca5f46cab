"""Blended answers: who is asked, and that both ways of asking agree."""

from dataclasses import replace

import numpy as np
import pytest

from finetune.adapter import current_adapter
from finetune.base_model import find_base_model, token_counter
from finetune.blend import Blend
from finetune.lora_predictor import LoraPredictor
from finetune.scoring import blended_answers, model_answers
from retrieval.catalogue import Catalogue
from retrieval.history import render_history
from retrieval.orders import read_pasts
from retrieval.shop import Shop
from retrieval.time_split import present


def _never(*_: object, **__: object) -> None:
    raise AssertionError("the language model was asked")


def test_a_prior_that_answers_alone_asks_no_language_model(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = find_base_model(shop.settings.models.base)
    predictor = LoraPredictor.load(current_adapter(shop), files, shop.settings)
    prior, horizon = predictor.prior, shop.settings.churn.horizon_days
    assert prior is not None
    pasts = list(read_pasts(shop.log, present(shop)))[:4]
    histories = [
        render_history(
            past,
            settings=shop.settings,
            catalogue=Catalogue.read(shop.items_file),
            count_tokens=token_counter(files),
        )
        for past in pasts
    ]
    alone = Blend(churn=1, tier=1, spend=1)
    mixed = alone.mix(model_answers(predictor, pasts, histories, horizon), prior.answers(pasts))
    predictor.manifest = replace(predictor.manifest, blend=alone)
    monkeypatch.setattr(predictor, "logits", _never)
    answers = blended_answers(predictor, prior, pasts, histories, horizon)
    np.testing.assert_allclose(answers.churn, mixed.churn, atol=1e-4)
    np.testing.assert_allclose(answers.tiers, mixed.tiers, atol=1e-3)
    np.testing.assert_allclose(answers.spend, mixed.spend)
