from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from retrieval.ranker import Examples, Ranker

_NAMES = ("own taste", "text, taste", "noise")


def _examples(seed: int, count: int = 4_000) -> Examples:
    """Own items are bought again by the first column, new ones by the second."""
    random = np.random.default_rng(seed)
    columns = random.normal(size=(count, 3)).astype(np.float32)
    columns[random.random((count, 3)) < 0.1] = np.nan
    own = random.random(count) < 0.5
    told = np.where(own, columns[:, 0], columns[:, 1])
    return Examples(features=columns, bought=told > 0.5, own=own)


def _only(examples: Examples, kept: NDArray[np.bool_]) -> Examples:
    return Examples(
        features=examples.features[kept], bought=examples.bought[kept], own=examples.own[kept]
    )


def _order_quality(chances: NDArray[np.float64], bought: NDArray[np.bool_]) -> float:
    """How often one that was bought comes before one that was not."""
    before = chances[bought][:, None] > chances[~bought][None, :]
    return float(before.mean())


@pytest.fixture(scope="module")
def ranker() -> Ranker:
    return Ranker.fit(_examples(1), _NAMES)


def test_what_will_be_bought_comes_first(ranker: Ranker) -> None:
    seen = _only(_examples(2), ~_examples(2).own)
    assert _order_quality(ranker.chances(seen.features, new_only=True), seen.bought) > 0.95
    mixed = _examples(2)
    assert _order_quality(ranker.chances(mixed.features, new_only=False), mixed.bought) > 0.75


def test_scores_are_chances(ranker: Ranker) -> None:
    """About as many as were bought, though only some of what was not is learnt from."""
    examples = _examples(3)
    chances = ranker.chances(examples.features, new_only=False)
    assert chances.shape == (4_000,)
    assert chances.dtype == np.float64
    assert 0 < chances.min() < chances.max() < 1
    assert chances.mean() == pytest.approx(examples.bought.mean(), abs=0.05)


def test_discovery_learns_from_new_items_alone(ranker: Ranker) -> None:
    """Own items of the opposite outcome change the basket's model only."""
    examples = _examples(1)
    opposite = Examples(
        features=examples.features,
        bought=np.where(examples.own, ~examples.bought, examples.bought),
        own=examples.own,
    )
    other = Ranker.fit(opposite, _NAMES)
    seen = _examples(4).features
    np.testing.assert_array_equal(
        other.chances(seen, new_only=True), ranker.chances(seen, new_only=True)
    )
    assert not np.allclose(
        other.chances(seen, new_only=False), ranker.chances(seen, new_only=False)
    )


def test_without_new_items_discovery_is_judged_as_baskets_are() -> None:
    examples = _examples(1)
    ranker = Ranker.fit(_only(examples, examples.own), _NAMES)
    seen = _examples(4).features
    np.testing.assert_array_equal(
        ranker.chances(seen, new_only=True), ranker.chances(seen, new_only=False)
    )


def test_the_same_seed_learns_the_same(ranker: Ranker) -> None:
    seen = _examples(4).features
    again, other = (Ranker.fit(_examples(1), _NAMES, seed=seed) for seed in (7, 8))
    for new_only in (False, True):
        first = ranker.chances(seen, new_only=new_only)
        np.testing.assert_array_equal(again.chances(seen, new_only=new_only), first)
        assert not np.array_equal(other.chances(seen, new_only=new_only), first)


def test_a_pairs_chance_does_not_depend_on_the_others(ranker: Ranker) -> None:
    seen = _examples(4).features[:20]
    together = ranker.chances(seen, new_only=False)
    alone = [ranker.chances(seen[row : row + 1], new_only=False)[0] for row in range(20)]
    assert together.tolist() == alone
    assert ranker.chances(seen[:0], new_only=False).tolist() == []


def test_saved_and_loaded_the_chances_are_the_same(ranker: Ranker, tmp_path: Path) -> None:
    ranker.save(tmp_path / "ranker")
    loaded = Ranker.load(tmp_path / "ranker")
    seen = _examples(4).features
    for new_only in (False, True):
        np.testing.assert_array_equal(
            loaded.chances(seen, new_only=new_only), ranker.chances(seen, new_only=new_only)
        )
