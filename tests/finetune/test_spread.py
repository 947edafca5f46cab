import numpy as np

from finetune.chance_model import fit_chance_model
from finetune.spread import spread_of


def _with_a_constant(count: int) -> np.ndarray:
    """A column that varies, and one that is the same but for its last digits."""
    random = np.random.default_rng(0)
    constant = np.where(random.random(count) < 0.5, np.log(2.0), np.nextafter(np.log(2.0), 1.0))
    return np.column_stack([random.normal(size=count), constant])


def test_what_does_not_vary_is_not_divided_by_its_last_digits() -> None:
    columns = _with_a_constant(500)
    assert 0 < columns[:, 1].std() < 1e-15
    spread = spread_of(columns)
    assert spread[0] == columns[:, 0].std()
    assert spread[1] == 1.0


def test_a_constant_feature_gets_no_slope_to_speak_of() -> None:
    columns = _with_a_constant(500)
    answers = np.random.default_rng(1).random(500) < 1 / (1 + np.exp(-columns[:, 0]))
    model = fit_chance_model(columns, answers, np.ones(500))
    assert abs(model.weights[1]) < 1e-9
