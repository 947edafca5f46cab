from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy

from finetune.gru4rec import Gru4Rec, Gru4RecNetwork, sampled_loss
from finetune.neural_source import seeded
from retrieval.baskets import Baskets, baskets_of
from retrieval.lines import Floats, Lines
from retrieval.source_names import SourceName
from tests.retrieval.small_lines import lines_of
from tests.retrieval.small_log import moment

_ITEMS = 5  # 1 -> 3 -> 2 -> 1 is bought in turn, 0 and 4 never
_CYCLE = (1, 3, 2)
_AS_OF = moment("2024-03-01")


def _bought_in_turn(customers: int = 12, orders: int = 8) -> Lines:
    """One item an order; each customer begins elsewhere in the cycle. One has no line at all."""
    bought = {
        (f"c{customer:03}", f"2024-01-{day + 1:02}", f"o{day}"): (_CYCLE[(customer + day) % 3],)
        for customer in range(customers)
        for day in range(orders + customer % 3)
    }
    return lines_of({**bought, ("new", "2024-01-01", "o"): ()})


def _fit(lines: Lines, items: int = _ITEMS, seed: int = 7, negatives: int = 256) -> Gru4Rec:
    return Gru4Rec.fit(
        lines,
        items,
        dimension=12,
        epochs=40,
        batch_size=6,
        negatives=negatives,
        learning_rate=2e-2,
        seed=seed,
    )


def _baskets(lines: Lines, items: int = _ITEMS) -> Baskets:
    return baskets_of(lines, _AS_OF, items, np.arange(len(lines.customer_ids)))


def _best(source: Gru4Rec, *orders: tuple[int, ...]) -> int:
    """The first item for a customer of these orders, one a day."""
    lines = lines_of(
        {("a", f"2024-01-{day:02}", f"o{day}"): items for day, items in enumerate(orders, 1)}
    )
    return int(np.asarray(source.scores(_baskets(lines))).argmax())


@pytest.fixture(scope="module")
def source() -> Gru4Rec:
    return _fit(_bought_in_turn())


@pytest.fixture(scope="module")
def scores(source: Gru4Rec) -> Floats:
    return np.asarray(source.scores(_baskets(_bought_in_turn())))


@pytest.mark.parametrize(
    ("bought", "following"), [((1, 3), 2), ((3, 2), 1), ((2, 1), 3), ((2, 1, 3, 2, 1, 3), 2)]
)
def test_what_follows_in_the_cycle_comes_first(
    source: Gru4Rec, bought: tuple[int, ...], following: int
) -> None:
    assert _best(source, *((item,) for item in bought)) == following


def test_drawn_negatives_teach_the_cycle_too() -> None:
    drawn = _fit(_bought_in_turn(), negatives=2)
    assert [_best(drawn, (1,), (3,)), _best(drawn, (3,), (2,)), _best(drawn, (2,), (1,))] == [
        2,
        1,
        3,
    ]


def test_what_follows_an_order_of_several_items_is_of_the_next_order() -> None:
    """Orders {0, 4} and {1, 2, 3} in turn: after one comes the other, not its own items."""
    pair, trio = (0, 4), (1, 2, 3)
    source = _fit(
        lines_of(
            {
                (f"c{customer}", f"2024-01-{day + 1:02}", f"o{day}"): (pair, trio)[
                    (customer + day) % 2
                ]
                for customer in range(8)
                for day in range(6)
            }
        )
    )
    assert _best(source, pair, trio) in pair
    assert _best(source, trio, pair) in trio


def test_scores_are_probabilities_of_the_sold_items(scores: Floats) -> None:
    assert Gru4Rec.name is SourceName.GRU4REC
    assert (scores.shape, scores.dtype) == ((13, _ITEMS), np.float32)
    np.testing.assert_allclose(scores[:12].sum(axis=1), 1.0, rtol=1e-5)
    assert (scores[:12, 1:4] > 0).all()
    assert not scores[:, [0, 4]].any()


def test_a_customer_who_bought_nothing_that_takes_part_has_no_scores(
    source: Gru4Rec, scores: Floats
) -> None:
    assert not scores[12].any()
    other = lines_of({("a", "2024-01-01", "o"): (0, 4)})
    assert not np.asarray(source.scores(_baskets(other))).any()


def test_items_that_take_no_part_are_passed_over(source: Gru4Rec) -> None:
    assert _best(source, (1,), (0,), (3,), (0, 4)) == 2


def test_lines_before_the_latest_hundred_are_not_read(source: Gru4Rec) -> None:
    latest = {
        ("a", f"2024-02-01T{minute // 60:02}:{minute % 60:02}", f"o{minute}"): (_CYCLE[minute % 3],)
        for minute in range(100)
    }
    longer = {("a", "2024-01-01", "early"): (1,), ("a", "2024-01-02", "early2"): (2,), **latest}
    np.testing.assert_array_equal(
        source.scores(_baskets(lines_of(longer))), source.scores(_baskets(lines_of(latest)))
    )


def test_only_the_best_selling_items_take_part() -> None:
    lines = lines_of(
        {
            ("a", "2024-01-01", "o"): (1, 2),
            ("a", "2024-01-02", "p"): (2, 3),
            ("b", "2024-01-01", "o"): (2, 3),
        }
    )
    few = Gru4Rec.fit(lines, _ITEMS, most_items=2, dimension=4, epochs=1)
    scores = np.asarray(few.scores(_baskets(lines)))
    np.testing.assert_array_equal(np.flatnonzero(scores.any(axis=0)), [2, 3])


def test_a_batch_scores_as_each_customer_alone(source: Gru4Rec, scores: Floats) -> None:
    baskets = _baskets(_bought_in_turn())
    alone = [np.asarray(source.scores(baskets.rows(row, row + 1))) for row in range(len(baskets))]
    np.testing.assert_allclose(np.concatenate(alone), scores, rtol=1e-5)


def test_more_customers_than_one_chunk_score_the_same(source: Gru4Rec, scores: Floats) -> None:
    many = np.asarray(source.scores(_baskets(_bought_in_turn(customers=300))))
    np.testing.assert_allclose(many[:12], scores[:12], rtol=1e-5)
    np.testing.assert_allclose(many[297:300], scores[:3], rtol=1e-5)


def test_saved_and_loaded_it_scores_the_same(
    source: Gru4Rec, scores: Floats, tmp_path: Path
) -> None:
    source.save(tmp_path / "gru4rec")
    loaded = Gru4Rec.load(tmp_path / "gru4rec")
    np.testing.assert_array_equal(loaded.scores(_baskets(_bought_in_turn())), scores)
    assert {file.suffix for file in (tmp_path / "gru4rec").iterdir()} == {".npy"}


def test_the_seed_alone_decides(scores: Floats) -> None:
    lines = _bought_in_turn()
    torch.manual_seed(123)
    before = torch.random.get_rng_state()
    np.testing.assert_array_equal(_fit(lines).scores(_baskets(lines)), scores)
    assert torch.equal(torch.random.get_rng_state(), before)
    assert not np.array_equal(_fit(lines, seed=8).scores(_baskets(lines)), scores)


@pytest.mark.parametrize("items", [0, 3])
def test_an_empty_log_scores_nothing(items: int, tmp_path: Path) -> None:
    lines = lines_of({("new", "2024-01-01", "o"): ()})
    _fit(lines, items).save(tmp_path)
    scores = Gru4Rec.load(tmp_path).scores(_baskets(lines, items))
    np.testing.assert_array_equal(scores, np.zeros((1, items)))


@pytest.mark.parametrize("days", [1, 2])
def test_a_log_of_one_item_gives_it_to_its_buyer(days: int) -> None:
    lines = lines_of({("a", f"2024-01-0{day}", f"o{day}"): (1,) for day in range(1, days + 1)})
    np.testing.assert_array_equal(_fit(lines, 3).scores(_baskets(lines, 3)), [[0.0, 1.0, 0.0]])


def test_progress_is_told_after_every_epoch() -> None:
    told: list[tuple[str, int, int]] = []
    Gru4Rec.fit(
        _bought_in_turn(),
        _ITEMS,
        dimension=4,
        epochs=2,
        progress=lambda step, done, total: told.append((step, done, total)),
    )
    assert told == [("Training gru4rec", done, 2) for done in (1, 2)]


def _sigmoid(value: Floats) -> Floats:
    return 1.0 / (1.0 + np.exp(-value))


def test_the_steps_are_the_papers_equations_1_to_4() -> None:
    network = Gru4RecNetwork(6, 4)
    torch.nn.init.normal_(network.input_bias)
    item, into, bias, gates, candidate = (
        weight.detach().numpy()
        for weight in (
            network.item,
            network.input,
            network.input_bias,
            network.gates,
            network.candidate,
        )
    )
    state = np.zeros(4, dtype=np.float32)
    expected = []
    for column in (5, 2, 2):
        x = item[column]
        z = _sigmoid(x @ into[:, :4] + bias[:4] + state @ gates[:, :4])
        r = _sigmoid(x @ into[:, 4:8] + bias[4:8] + state @ gates[:, 4:])
        proposed = np.tanh(x @ into[:, 8:] + bias[8:] + (r * state) @ candidate)
        state = (1 - z) * state + z * proposed
        expected.append(state)
    found = network.states(torch.tensor([[5, 2, 2]]))[0].detach()
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def test_with_every_item_drawn_once_the_sampled_loss_is_the_cross_entropy() -> None:
    network = Gru4RecNetwork(7, 4)
    torch.nn.init.normal_(network.item_bias)
    states, following = torch.randn(3, 4), torch.tensor([0, 6, 6])
    sampled = sampled_loss(network, states, following, torch.arange(7), torch.full((7,), 1 / 7))
    whole = cross_entropy(network.logits(states), following)
    assert sampled.item() == pytest.approx(whole.item(), rel=1e-5)


def test_popular_items_are_drawn_more_and_count_less() -> None:
    share = torch.tensor([0.5, 0.2, 0.1, 0.1, 0.1])
    with seeded(7):
        network = Gru4RecNetwork(5, 4)
        states, following = torch.randn(2, 4), torch.tensor([1, 3])
        drawn = share.multinomial(200_000, replacement=True)
    sampled = sampled_loss(network, states, following, drawn, share)
    whole = cross_entropy(network.logits(states), following)
    assert sampled.item() == pytest.approx(whole.item(), rel=0.02)


def test_where_only_the_right_item_is_drawn_there_is_nothing_to_learn() -> None:
    network = Gru4RecNetwork(3, 4)
    right = torch.tensor([1, 1])
    loss = sampled_loss(network, torch.ones(2, 4), right, right, torch.full((3,), 1 / 3))
    loss.backward()  # type: ignore[no-untyped-call]
    assert loss.item() == 0.0
    assert network.item.grad is not None
    assert not network.item.grad.any()
