import numpy as np
import torch

from finetune.neural_source import ItemColumns, batches
from retrieval.baskets import baskets_of
from tests.retrieval.small_lines import lines_of
from tests.retrieval.small_log import moment

_LINES = lines_of(
    {
        ("a", "2024-01-01", "o"): (1, 3, 4),
        ("a", "2024-01-02", "p"): (4,),
        ("b", "2024-01-01", "o"): (3,),
    }
)


def test_customers_count_and_ties_go_by_row() -> None:
    """Item 4 is in as many orders as item 3, but of one customer only."""
    np.testing.assert_array_equal(ItemColumns.best_selling(_LINES, 6, 1).rows, [3])
    columns = ItemColumns.best_selling(_LINES, 6, 2)
    np.testing.assert_array_equal(columns.rows, [1, 3])
    np.testing.assert_array_equal(columns.of(np.array([3, 4, 1, 3])), [1, -1, 0, 1])


def test_an_item_never_sold_takes_no_part() -> None:
    np.testing.assert_array_equal(ItemColumns.best_selling(_LINES, 6, 100).rows, [1, 3, 4])


def test_an_item_that_is_all_but_ruled_out_still_has_a_positive_score() -> None:
    columns = ItemColumns.best_selling(_LINES, 6, 100)
    baskets = baskets_of(_LINES, moment("2024-02-01"), 6, np.arange(2))
    scores = columns.probabilities(
        baskets, lambda _: (np.array([1]), torch.tensor([[0.0, 500.0, 0.0]]))
    )
    assert scores[1, 3] == 1.0
    assert 0 < scores[1, 1] < 1e-30
    assert not scores[0].any()


def test_every_example_comes_once_an_epoch_in_another_order() -> None:
    found = list(batches(10, 4, 2, "Training", lambda *_: None))
    assert [len(batch) for batch in found] == [4, 4, 2] * 2
    first, second = np.concatenate(found[:3]), np.concatenate(found[3:])
    np.testing.assert_array_equal(np.sort(first), np.arange(10))
    np.testing.assert_array_equal(np.sort(second), np.arange(10))
    assert first.tolist() != second.tolist()
