"""The ranker: gradient-boosted trees that say how likely a candidate is bought.

The chance is that of a customer who buys something within the next four weeks: it is learnt from
such customers, since the others say nothing of which item is liked better.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightgbm
import numpy as np
from numpy.typing import NDArray

from retrieval.shop import write_atomically

_ROUNDS = 120
_KEPT_NEGATIVES = 0.3
_SETTINGS = {
    "objective": "binary",
    "learning_rate": 0.05,
    "num_leaves": 31,
    "min_data_in_leaf": 100,
    "feature_fraction": 0.6,
    "bagging_fraction": 0.7,
    "bagging_freq": 1,
    "deterministic": True,
    "force_col_wise": True,
    "verbose": -1,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Examples:
    """Pairs of customer and candidate with what became of them.

    Attributes:
        features: `[pairs, features]`.
        bought: `[pairs]` whether the customer bought the item in the four weeks after.
        own: `[pairs]` whether they had bought it before.
    """

    features: NDArray[np.float32]
    bought: NDArray[np.bool_]
    own: NDArray[np.bool_]


class Ranker:
    """Chance of an item for who buys within four weeks; one model for baskets, one for discovery.

    Args:
        basket: judges all candidates.
        discovery: judges those never bought before, learnt from such alone.
    """

    def __init__(self, basket: Any, discovery: Any) -> None:
        self._basket = basket
        self._discovery = discovery

    @classmethod
    def fit(cls, examples: Examples, names: tuple[str, ...], *, seed: int = 7) -> "Ranker":
        """Learn from examples (LightGBM; Ke et al., 2017)."""
        basket = _fit(examples.features, examples.bought, names, seed)
        new = ~examples.own
        if not new.any():
            # A shop may name own repeats alone; then nothing tells of discovery.
            return cls(basket, basket)
        return cls(basket, _fit(examples.features[new], examples.bought[new], names, seed))

    def chances(self, features: NDArray[np.float32], *, new_only: bool) -> NDArray[np.float64]:
        """Chance that each candidate is among what is bought within four weeks: `[pairs]`.

        Args:
            features: `[pairs, features]`.
            new_only: whether the list holds only items never bought before.
        """
        if len(features) == 0:
            return np.zeros(0)
        model = self._discovery if new_only else self._basket
        return np.asarray(model.predict(features, num_threads=1))

    def save(self, folder: Path) -> None:
        """Write both models as text."""
        for name, model in (("basket", self._basket), ("discovery", self._discovery)):
            write_atomically(folder / f"{name}.txt", model.model_to_string().encode())

    @classmethod
    def load(cls, folder: Path) -> "Ranker":
        """Read both models."""
        return cls(
            *(
                lightgbm.Booster(model_str=(folder / f"{name}.txt").read_text(encoding="utf-8"))
                for name in ("basket", "discovery")
            )
        )


def _fit(
    features: NDArray[np.float32], bought: NDArray[np.bool_], names: tuple[str, ...], seed: int
) -> Any:
    # LightGBM takes no commas or blanks in names.
    columns = [name.replace(", ", "_").replace(" ", "_") for name in names]
    # Of what was not bought a part says enough; it weighs as much as the whole.
    kept = bought | (np.random.default_rng(seed).random(len(bought)) < _KEPT_NEGATIVES)
    weight = np.where(bought, 1.0, 1.0 / _KEPT_NEGATIVES)[kept]
    data = lightgbm.Dataset(
        features[kept], bought[kept].astype(np.int8), weight=weight, feature_name=columns
    )
    return lightgbm.train({**_SETTINGS, "seed": seed}, data, _ROUNDS)
