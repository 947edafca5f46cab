from pathlib import Path

import numpy as np
import pytest
import torch

from finetune.mult_vae import MultVae, MultVaeNetwork, kl_to_prior, multinomial_loss
from retrieval.baskets import Baskets, baskets_of
from retrieval.lines import Floats, Lines
from retrieval.source_names import SourceName
from tests.retrieval.small_lines import lines_of
from tests.retrieval.small_log import moment

_ITEMS = 10  # 0-3 one taste, 4-7 the other, 8 bought once, 9 never sold
_AS_OF = moment("2024-03-01")
_GROUPS = ((0, 1, 2, 3), (4, 5, 6, 7))


def _two_tastes() -> Lines:
    """Everybody lacks one item of their group's four; who is "new" bought nothing that is sold."""
    orders = {
        (f"c{group}{number:02}", "2024-01-01", "o"): tuple(
            item for item in items if item != items[number % 4]
        )
        for group, items in enumerate(_GROUPS)
        for number in range(12)
    }
    return lines_of({**orders, ("new", "2024-01-01", "o"): (), ("odd", "2024-01-01", "o"): (0, 8)})


def _fit(lines: Lines, items: int = _ITEMS, seed: int = 7) -> MultVae:
    return MultVae.fit(
        lines,
        items,
        hidden=16,
        dimension=4,
        epochs=80,
        batch_size=8,
        learning_rate=1e-2,
        seed=seed,
    )


def _baskets(lines: Lines, items: int = _ITEMS) -> Baskets:
    return baskets_of(lines, _AS_OF, items, np.arange(len(lines.customer_ids)))


@pytest.fixture(scope="module")
def source() -> MultVae:
    return _fit(_two_tastes())


@pytest.fixture(scope="module")
def scores(source: MultVae) -> Floats:
    return np.asarray(source.scores(_baskets(_two_tastes())))


def test_the_missing_item_of_the_own_taste_comes_before_the_other_taste(scores: Floats) -> None:
    for row in range(24):
        own, other = _GROUPS[row // 12], _GROUPS[1 - row // 12]
        assert scores[row, own[row % 4]] > 5 * scores[row, list(other)].max()


def test_scores_are_probabilities_of_the_sold_items(scores: Floats) -> None:
    assert MultVae.name is SourceName.MULT_VAE
    assert (scores.shape, scores.dtype) == ((26, _ITEMS), np.float32)
    np.testing.assert_allclose(np.delete(scores, 24, axis=0).sum(axis=1), 1.0, rtol=1e-5)
    assert (scores[:24, :9] > 0).all()
    assert not scores[:, 9].any()


def test_a_customer_who_bought_nothing_has_no_scores(scores: Floats) -> None:
    assert not scores[24].any()


def test_only_the_best_selling_items_take_part() -> None:
    lines = _two_tastes()
    few = MultVae.fit(lines, _ITEMS, most_items=8, hidden=4, dimension=2, epochs=1)
    scores = np.asarray(few.scores(_baskets(lines)))
    np.testing.assert_array_equal(np.flatnonzero(scores.any(axis=0)), np.arange(8))


def test_a_batch_scores_as_each_customer_alone(source: MultVae, scores: Floats) -> None:
    baskets = _baskets(_two_tastes())
    alone = [np.asarray(source.scores(baskets.rows(row, row + 1))) for row in range(len(baskets))]
    np.testing.assert_allclose(np.concatenate(alone), scores, rtol=1e-5)


def test_more_customers_than_one_chunk_score_the_same(source: MultVae, scores: Floats) -> None:
    lines = lines_of({(f"c{row:03}", "2024-01-01", "o"): (1, 2, 3) for row in range(300)})
    many = np.asarray(source.scores(_baskets(lines)))
    np.testing.assert_allclose(many, np.repeat(scores[:1], 300, axis=0), rtol=1e-5)


def test_saved_and_loaded_it_scores_the_same(
    source: MultVae, scores: Floats, tmp_path: Path
) -> None:
    source.save(tmp_path / "mult-vae")
    loaded = MultVae.load(tmp_path / "mult-vae")
    np.testing.assert_array_equal(loaded.scores(_baskets(_two_tastes())), scores)
    assert {file.suffix for file in (tmp_path / "mult-vae").iterdir()} == {".npy"}


def test_the_seed_alone_decides(scores: Floats) -> None:
    lines = _two_tastes()
    torch.manual_seed(123)
    before = torch.random.get_rng_state()
    np.testing.assert_array_equal(_fit(lines).scores(_baskets(lines)), scores)
    assert torch.equal(torch.random.get_rng_state(), before)
    assert not np.array_equal(_fit(lines, seed=8).scores(_baskets(lines)), scores)


@pytest.mark.parametrize("items", [0, 3])
def test_an_empty_log_scores_nothing(items: int, tmp_path: Path) -> None:
    lines = lines_of({("new", "2024-01-01", "o"): ()})
    _fit(lines, items).save(tmp_path)
    scores = MultVae.load(tmp_path).scores(_baskets(lines, items))
    np.testing.assert_array_equal(scores, np.zeros((1, items)))


def test_a_log_of_one_item_gives_it_to_its_buyer() -> None:
    lines = lines_of({("a", "2024-01-01", "o"): (1,)})
    np.testing.assert_array_equal(_fit(lines, 3).scores(_baskets(lines, 3)), [[0.0, 1.0, 0.0]])


def test_progress_is_told_after_every_epoch() -> None:
    told: list[tuple[str, int, int]] = []
    MultVae.fit(
        _two_tastes(),
        _ITEMS,
        hidden=4,
        dimension=2,
        epochs=3,
        progress=lambda step, done, total: told.append((step, done, total)),
    )
    assert told == [("Training mult-vae", done, 3) for done in (1, 2, 3)]


def test_the_encoder_reads_the_normalised_row_of_ones() -> None:
    network = MultVaeNetwork(5, 4, 3)
    bought = np.array([[1, 0, 1, 1, 1], [0, 1, 0, 0, 0]], dtype=np.float32)
    column, starts = torch.tensor([0, 2, 3, 4, 1]), torch.tensor([0, 4, 5])
    mean, log_variance = network.encode(column, starts)
    into_hidden, into_latent = (
        weight.detach().numpy() for weight in (network.into_hidden, network.into_latent)
    )
    unit = bought / np.linalg.norm(bought, axis=1, keepdims=True)
    expected = np.tanh(unit @ into_hidden) @ into_latent
    np.testing.assert_allclose(mean.detach(), expected[:, :3], rtol=1e-5)
    np.testing.assert_allclose(log_variance.detach(), expected[:, 3:], rtol=1e-5)


def test_the_multinomial_loss_is_the_papers_equation_2() -> None:
    logits = np.array([[1.0, 2.0, 0.5], [0.0, -1.0, 3.0]])
    bought = np.array([[1, 0, 1], [0, 1, 0]])
    likely = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    loss = multinomial_loss(
        torch.from_numpy(logits), torch.tensor([0, 2, 1]), torch.tensor([0, 2, 3])
    )
    assert float(loss) == pytest.approx(-(bought * np.log(likely)).sum(axis=1).mean())


def test_the_kl_term_is_the_divergence_of_two_normal_distributions() -> None:
    mean, log_variance = torch.tensor([[0.3, -1.0], [2.0, 0.0]]), torch.tensor([[0.5, -0.2]] * 2)
    posterior = torch.distributions.Normal(mean, torch.exp(0.5 * log_variance))
    prior = torch.distributions.Normal(torch.zeros(2), torch.ones(2))
    expected = torch.distributions.kl_divergence(posterior, prior).sum(dim=1).mean()
    assert float(kl_to_prior(mean, log_variance)) == pytest.approx(float(expected), rel=1e-5)
    assert float(kl_to_prior(torch.zeros(1, 4), torch.zeros(1, 4))) == 0.0
