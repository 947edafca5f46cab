"""What every candidate source promises, whatever it learns."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import sparse

from finetune.indexing import SOURCES
from retrieval.baskets import Baskets, baskets_of
from retrieval.catalogue import Catalogue, Item
from retrieval.embedder import HashEmbedder
from retrieval.item_neighbours import ItemNeighbours
from retrieval.item_sales import item_sales
from retrieval.item_table import item_table
from retrieval.lines import Floats, Lines
from retrieval.source_kinds import SourceInput
from retrieval.source_names import SourceName
from retrieval.sources import CandidateSource
from retrieval.text_similarity import Similar
from tests.retrieval.small_lines import lines_of
from tests.retrieval.small_log import moment

_FOR_EVERYBODY = {SourceName.POPULAR, SourceName.TRENDING}
_AS_OF = moment("2024-03-01")
_TITLES = (
    "Green tea", "Black tea", "Teapot", "Tea cup", "Dog food", "Cat food", "Dog biscuits", "Lead",
)  # fmt: skip
_TABLE = item_table(
    Catalogue(
        Item(item_id=f"i{row}", title=title, category="", price=100)
        for row, title in enumerate(_TITLES)
    )
)
_EMPTY_ROW = 12


def _lines() -> Lines:
    """Six who drink tea, six with pets, and one known by name alone; the lead never sold."""
    orders: dict[tuple[str, str, str], tuple[int, ...]] = {("z", "2024-01-01", "o"): ()}
    for number in range(6):
        first, second = number % 4, (number + 1) % 4
        orders["a" + str(number), f"2024-01-{number + 1:02}", "o1"] = (first, second)
        orders["a" + str(number), f"2024-02-{number + 9:02}", "o2"] = (second, (number + 2) % 4)
        orders["b" + str(number), f"2024-01-{number + 5:02}", "o1"] = (4, 5)
        orders["b" + str(number), f"2024-02-{number + 3:02}", "o2"] = (4 + number % 3,)
    return lines_of(orders)


def _fit(name: SourceName, lines: Lines) -> CandidateSource:
    """No two items share a text, so text codes are rows."""
    return SOURCES[name].fit(
        SourceInput(
            lines=lines,
            table=_TABLE,
            sales=item_sales(lines, len(_TABLE), _AS_OF),
            vectors=HashEmbedder(32).embed(_TITLES),
            as_of=_AS_OF,
        )
    )


def _baskets(lines: Lines) -> Baskets:
    return baskets_of(lines, _AS_OF, len(_TABLE), np.arange(len(lines.customer_ids)))


def _dense(scores: Any) -> Floats:
    return scores.toarray() if sparse.issparse(scores) else np.asarray(scores)


@pytest.fixture(scope="module", params=list(SOURCES), ids=lambda name: name.name.lower())
def name(request: pytest.FixtureRequest) -> SourceName:
    found: SourceName = request.param
    return found


@pytest.fixture(scope="module")
def source(name: SourceName) -> CandidateSource:
    return _fit(name, _lines())


def test_every_name_has_a_source() -> None:
    assert set(SOURCES) == set(SourceName)


def test_a_source_knows_its_name(source: CandidateSource, name: SourceName) -> None:
    assert source.name is name


def test_scores_are_customers_by_items(source: CandidateSource) -> None:
    scores = _dense(source.scores(_baskets(_lines())))
    assert scores.shape == (13, len(_TABLE))
    assert scores.dtype == np.float32
    assert np.isfinite(scores).all()
    assert (scores > 0).any()


def test_the_same_lines_give_the_same_scores(source: CandidateSource, name: SourceName) -> None:
    baskets = _baskets(_lines())
    first = _dense(source.scores(baskets))
    np.testing.assert_array_equal(_dense(source.scores(baskets)), first)
    np.testing.assert_array_equal(_dense(_fit(name, _lines()).scores(baskets)), first)


def test_a_batch_scores_as_each_customer_alone(source: CandidateSource) -> None:
    baskets = _baskets(_lines())
    alone = [_dense(source.scores(baskets.rows(row, row + 1))) for row in range(len(baskets))]
    together = _dense(source.scores(baskets))
    np.testing.assert_allclose(np.concatenate(alone), together, rtol=1e-4, atol=1e-6)


def test_saved_and_loaded_it_scores_the_same(
    source: CandidateSource, name: SourceName, tmp_path: Path
) -> None:
    folder = tmp_path / "source"
    folder.mkdir()
    source.save(folder)
    loaded = SOURCES[name].load(folder)
    assert loaded.name is name
    baskets = _baskets(_lines())
    np.testing.assert_array_equal(_dense(loaded.scores(baskets)), _dense(source.scores(baskets)))
    if isinstance(source, ItemNeighbours | Similar):
        assert isinstance(loaded, ItemNeighbours | Similar)
        pairs = np.repeat(np.arange(13), 8), np.tile(np.arange(8), 13)
        np.testing.assert_array_equal(
            loaded.scores_at(baskets, *pairs), source.scores_at(baskets, *pairs)
        )


def test_an_empty_basket_is_scored(source: CandidateSource, name: SourceName) -> None:
    scores = _dense(source.scores(_baskets(_lines()).rows(_EMPTY_ROW, _EMPTY_ROW + 1)))
    assert scores.shape == (1, len(_TABLE))
    assert bool((scores > 0).any()) is (name in _FOR_EVERYBODY)


def test_nobody_has_no_scores(source: CandidateSource) -> None:
    assert source.scores(_baskets(_lines()).rows(0, 0)).shape == (0, len(_TABLE))


@pytest.mark.parametrize(
    "lines", [lines_of({}), lines_of({(who, "2024-01-01", "o"): () for who in "xyz"})]
)
def test_from_an_empty_log_it_learns_and_scores(
    name: SourceName, lines: Lines, tmp_path: Path
) -> None:
    source = _fit(name, lines)
    scores = _dense(source.scores(_baskets(_lines())))
    assert scores.shape == (13, len(_TABLE))
    assert np.isfinite(scores).all()
    source.save(tmp_path)
    np.testing.assert_array_equal(
        _dense(SOURCES[name].load(tmp_path).scores(_baskets(_lines()))), scores
    )


def test_from_a_single_line_it_learns_and_scores(name: SourceName) -> None:
    scores = _dense(
        _fit(name, lines_of({("a", "2024-02-20", "o"): (2,)})).scores(_baskets(_lines()))
    )
    assert np.isfinite(scores).all()


def test_what_was_just_bought_changes_a_personal_score(
    source: CandidateSource, name: SourceName
) -> None:
    bought = lines_of({("a", "2024-01-01", "o1"): (0, 1)})
    more = lines_of({("a", "2024-01-01", "o1"): (0, 1), ("a", "2024-02-29", "o2"): (4,)})
    before, after = (_dense(source.scores(_baskets(lines))) for lines in (bought, more))
    assert np.array_equal(before, after) is (name in _FOR_EVERYBODY)


@pytest.mark.parametrize("name", [SourceName.TOGETHER, SourceName.EASE, SourceName.SIMILAR])
def test_scores_of_pairs_are_those_of_all(name: SourceName) -> None:
    """The similar source knows pairs that it does not name, so the named ones are compared."""
    source = _fit(name, _lines())
    assert isinstance(source, ItemNeighbours | Similar)
    baskets = _baskets(_lines())
    scores = _dense(source.scores(baskets))
    named = np.ones(scores.shape, bool) if isinstance(source, ItemNeighbours) else scores != 0
    customer, item = np.nonzero(named)
    customer, item = customer[::-1], item[::-1]
    np.testing.assert_allclose(
        source.scores_at(baskets, customer, item), scores[customer, item], rtol=1e-5, atol=1e-7
    )
    nothing = np.zeros(0, dtype=np.int64)
    assert source.scores_at(baskets, nothing, nothing).shape == (0,)
