import json
import os
import resource
import shutil
import signal
import sys
import threading
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from deltalake import DeltaTable

import retrieval.index
from retrieval.catalogue import Catalogue, Item
from retrieval.embedder import HashEmbedder, Vectors
from retrieval.errors import IndexMissingError, ShopError, StorageError
from retrieval.events import Kind
from retrieval.history import render_history
from retrieval.index import build_index, current_generation, is_current, open_generation
from retrieval.orders import read_pasts
from retrieval.progress import no_progress
from retrieval.shop import Shop, ShopSettings
from retrieval.source_names import DEFAULT_SOURCES, SourceName
from retrieval.time_split import present
from retrieval.vector_store import CollectionName
from tests.retrieval.small_index import (
    ITEMS,
    CountingEmbedder,
    build,
    contents,
    small_shop,
)
from tests.retrieval.small_log import append, bought, count_words, run_child, start_child

_EMBEDDER = HashEmbedder(32)
_HISTORIES, _OUTCOMES = CollectionName.HISTORIES, CollectionName.OUTCOMES
_MANY_ITEMS = 600  # more than two batches of the embedding cache


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    return small_shop(tmp_path / "shop")


def _new_order(shop: Shop, item_id: str = "tea") -> None:
    append(shop.log, [bought("a", "2024-03-05", "o99", item_id, 500)])


def _texts(shop: Shop) -> set[str]:
    found = contents(shop)
    return {entry[0] for name in CollectionName for entry in found[name].values()}


def test_histories_are_those_of_the_present(shop: Shop) -> None:
    report = build(shop)
    stored = contents(shop)[_HISTORIES]
    pasts = list(read_pasts(shop.log, present(shop)))
    assert [past.customer_id for past in pasts] == sorted(stored) == ["a", "b", "c", "d", "e"]
    for past in pasts:
        text = render_history(
            past,
            settings=shop.settings,
            catalogue=Catalogue(ITEMS),
            count_tokens=count_words,
        ).text
        assert stored[past.customer_id][0] == text
        assert is_current(stored[past.customer_id][1], past)
    assert report.rebuilt
    assert (report.manifest.histories, report.manifest.item_texts) == (5, 6)
    assert report.manifest.log_version == 0


def test_outcomes_tell_what_came_after_the_cut_off(shop: Shop) -> None:
    """The newest purchase is of 28 February, so that the last 20 days begin on the 8th."""
    build(shop)
    outcomes = contents(shop)[_OUTCOMES]
    told = {id_: (m["spend"], m["churned"]) for id_, (_, m, _) in outcomes.items()}
    assert told == {"a": (209, False), "b": (0, True), "c": (209, False)}
    assert {m["cutoff"][:10] for _, m, _ in outcomes.values()} == {"2024-02-08"}
    assert "in 18 days" not in outcomes["a"][0]
    assert outcomes["a"][0].startswith("Last order 17 days ago")


def test_items_that_share_a_text_share_a_vector(shop: Shop) -> None:
    build(shop)
    texts = [text for text, _, _ in contents(shop)[CollectionName.ITEMS].values()]
    assert sorted(texts) == sorted({item.text for item in ITEMS})


def test_a_second_build_does_nothing(shop: Shop) -> None:
    first = build(shop)
    embedder = CountingEmbedder()
    second = build(shop, embedder)
    assert (second.rebuilt, second.embedded) == (False, 0)
    assert (second.generation, second.manifest) == (first.generation, first.manifest)
    assert embedder.texts == []


def test_only_changed_texts_are_embedded(shop: Shop) -> None:
    embedder = CountingEmbedder()
    report = build(shop, embedder)
    before = _texts(shop)
    assert sorted(embedder.texts) == sorted(before)
    assert report.embedded == len(before)
    embedder.texts.clear()
    _new_order(shop)
    report = build(shop, embedder)
    changed = _texts(shop) - before
    assert 0 < len(changed) < len(_texts(shop))
    assert sorted(embedder.texts) == sorted(changed)
    assert report.embedded == len(changed)


def test_an_event_without_a_new_text_renews_what_the_text_was_made_from(shop: Shop) -> None:
    build(shop)
    append(shop.log, [bought("a", "2024-02-21", "", "milk", 0, Kind.VIEW)])
    embedder = CountingEmbedder()
    assert build(shop, embedder).rebuilt
    assert embedder.texts == []
    (past,) = read_pasts(shop.log, present(shop), ["a"])
    assert is_current(contents(shop)[_HISTORIES]["a"][1], past)


def test_building_step_by_step_ends_as_building_at_once(tmp_path: Path) -> None:
    stepwise, at_once = small_shop(tmp_path / "one"), small_shop(tmp_path / "two")
    build(stepwise)
    for shop in (stepwise, at_once):
        _new_order(shop)
        append(shop.log, [bought("new", "2024-03-06", "o100", "cake", 700)])
    build(stepwise)
    build(at_once)
    assert contents(stepwise) == contents(at_once)


def test_deleting_the_index_and_building_again_restores_it(shop: Shop) -> None:
    build(shop)
    reader = open_generation(shop, _EMBEDDER)
    before = contents(shop)
    shutil.rmtree(shop.index)
    assert current_generation(shop) is None
    assert build(shop).generation != reader.name, "a reader would take it for what it has open"
    assert contents(shop) == before
    assert open_generation(shop, _EMBEDDER).vectors.count(_HISTORIES) == 5


def test_a_changed_catalogue_is_picked_up(shop: Shop) -> None:
    build(shop)
    renamed = Item(item_id="milk", title="Oat drink", category="Dairy", price=129)
    Catalogue(ITEMS).merged([renamed]).write(shop.items_file)
    assert build(shop).rebuilt
    found = contents(shop)
    assert "Often buys Oat drink." in found[_HISTORIES]["a"][0]
    texts = {text for text, _, _ in found[CollectionName.ITEMS].values()}
    assert {"Oat drink (Dairy)", "Milk (Dairy)"} <= texts
    Catalogue([item for item in ITEMS if item.item_id != "cake"]).write(shop.items_file)
    build(shop)
    texts = {text for text, _, _ in contents(shop)[CollectionName.ITEMS].values()}
    assert "Cake (Bakery)" not in texts
    assert "Oat drink (Dairy)" not in texts


def test_changed_settings_are_picked_up(shop: Shop) -> None:
    build(shop)
    churn = shop.settings.churn.model_copy(update={"horizon_days": 10})
    other = Shop(shop.directory, shop.settings.model_copy(update={"churn": churn}))
    assert build(other).rebuilt
    assert "Spend last 10 days" in contents(other)[_HISTORIES]["a"][0]


def test_another_embedder_builds_all_anew(shop: Shop) -> None:
    build(shop)
    other = CountingEmbedder(16)
    with pytest.raises(IndexMissingError, match="built with the embedder 'hash-32'"):
        open_generation(shop, other)
    report = build(shop, other)
    assert report.rebuilt
    assert set(other.texts) == {
        entry[0] for name in CollectionName for entry in contents(shop, other)[name].values()
    }
    assert open_generation(shop, other).manifest.embedder == "hash-16"


def test_a_reader_keeps_its_generation_and_the_next_sees_the_new(shop: Shop) -> None:
    build(shop)
    old = open_generation(shop, _EMBEDDER)
    before = old.vectors.get(_HISTORIES, ["a"])["a"].text
    _new_order(shop)
    build(shop)
    new = open_generation(shop, _EMBEDDER)
    assert old.name != new.name == current_generation(shop)
    assert old.vectors.get(_HISTORIES, ["a"])["a"].text == before
    assert [near.id for near in old.vectors.nearest(_HISTORIES, _vector(before), 1)] == ["a"]
    after = new.vectors.get(_HISTORIES, ["a"])["a"].text
    assert "Last order 5: Green tea." in after
    tea = new.recommender.table.row["tea"]
    customers = [generation.recommender.sales.customers[tea] for generation in (old, new)]
    assert customers == [2, 3]


def test_only_the_newest_two_generations_stay(shop: Shop) -> None:
    names = []
    for number in range(4):
        append(shop.log, [bought("a", f"2024-03-0{number + 1}", f"n{number}", "tea", 500)])
        names.append(build(shop).generation)
    folders = {path.name for path in shop.index.iterdir() if path.is_dir()}
    assert folders == set(names[-2:])


def test_another_process_builds_while_this_one_reads(shop: Shop) -> None:
    build(shop)
    reader = open_generation(shop, _EMBEDDER)
    before = reader.vectors.get(_HISTORIES, ["a"])["a"].text
    process = start_child(_order_and_build, shop.directory)
    reads = 0
    while process.is_alive():
        assert reader.vectors.get(_HISTORIES, ["a"])["a"].text == before
        name = current_generation(shop)
        assert name is not None
        assert open_generation(shop, _EMBEDDER).vectors.count(_HISTORIES) == 5
        reads += 1
    assert process.exitcode == 0
    assert reads > 0
    assert current_generation(shop) != reader.name
    new = open_generation(shop, _EMBEDDER)
    assert new.manifest.log_version == shop.log.version() == 1
    assert "Last order 5: Green tea." in new.vectors.get(_HISTORIES, ["a"])["a"].text
    assert not build(shop).rebuilt


def _order_and_build(directory: Path) -> None:
    shop = Shop.open(directory)
    _new_order(shop)
    build(shop)


def test_a_removed_customer_leaves_nothing_behind(tmp_path: Path) -> None:
    shop = small_shop(tmp_path / "shop")
    append(shop.log, [bought("zed", "2024-01-03", "z1", "Unmistakable", 77_700)])
    append(shop.log, [bought("zed", "2024-01-23", "z2", "Unmistakable", 77_700)])
    build(shop)
    assert "Unmistakable" in contents(shop)[_HISTORIES]["zed"][0]
    assert b"Unmistakable" in _bytes_of_generation(shop)
    DeltaTable(shop.log.path).delete("customer_id = 'zed'")
    build(shop)
    found = contents(shop)
    assert "zed" not in found[_HISTORIES]
    assert "zed" not in found[_OUTCOMES]
    assert b"Unmistakable" not in _bytes_of_generation(shop)
    assert b"zed" not in _bytes_of_generation(shop)


def _bytes_of_generation(shop: Shop) -> bytes:
    folder = shop.index / str(current_generation(shop))
    return b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())


def test_an_empty_log_is_refused(tmp_path: Path) -> None:
    shop = Shop.create(tmp_path, ShopSettings())
    with pytest.raises(ShopError, match="has no purchases yet"):
        build(shop)
    assert current_generation(shop) is None


def test_what_was_learnt_is_in_the_generation(shop: Shop) -> None:
    report = build(shop)
    generation = open_generation(shop, _EMBEDDER)
    assert report.manifest.ranking_learnt is generation.recommender.learnt is False
    assert tuple(generation.recommender.sources) == DEFAULT_SOURCES
    assert generation.recommender.as_of == present(shop)
    table = generation.recommender.table
    assert table.ids.to_pylist() == sorted(item.item_id for item in ITEMS)
    assert generation.recommender.sales.customers[table.row["milk"]] == 2


def test_other_sources_are_learnt_once_the_shop_names_them(shop: Shop) -> None:
    build(shop)
    names = (SourceName.OWN, SourceName.POPULAR)
    rules = shop.settings.recommend.model_copy(update={"sources": names})
    other = Shop(shop.directory, shop.settings.model_copy(update={"recommend": rules}))
    assert build(other).rebuilt
    assert tuple(open_generation(other, _EMBEDDER).recommender.sources) == names
    assert not build(other).rebuilt


def test_a_source_that_cannot_be_learnt_here_is_named(shop: Shop) -> None:
    build(shop)
    before = current_generation(shop)
    rules = shop.settings.recommend.model_copy(update={"sources": (SourceName.GRU4REC,)})
    other = Shop(shop.directory, shop.settings.model_copy(update={"recommend": rules}))
    with pytest.raises(ShopError, match="'gru4rec', which cannot be learnt here") as caught:
        build(other)
    assert "own repeats" in caught.value.hint
    assert current_generation(shop) == before


def test_rules_that_shape_no_list_of_candidates_need_no_new_index(shop: Shop) -> None:
    build(shop)
    rules = shop.settings.recommend.model_copy(update={"diversity": 0.9, "never_items": ("milk",)})
    other = Shop(shop.directory, shop.settings.model_copy(update={"recommend": rules}))
    assert not build(other).rebuilt


def test_the_index_of_an_older_patron_counts_as_none(shop: Shop) -> None:
    name = build(shop).generation
    manifest = shop.index / name / "generation.json"
    old = json.loads(manifest.read_text())
    del old["ranking_learnt"]
    manifest.write_text(json.dumps(old))
    assert current_generation(shop) is None
    with pytest.raises(IndexMissingError, match="has no index"):
        open_generation(shop, _EMBEDDER)
    assert build(shop).rebuilt
    assert open_generation(shop, _EMBEDDER).vectors.count(_HISTORIES) == 5


def test_no_index_is_named(shop: Shop) -> None:
    with pytest.raises(IndexMissingError, match="has no index") as caught:
        open_generation(shop, _EMBEDDER)
    assert f"patron index --shop {shop.directory}" in caught.value.hint


def test_two_builds_at_once_are_refused(shop: Shop) -> None:
    with shop.lock("index"):
        refused: list[str] = []

        def other() -> None:
            try:
                build(Shop.open(shop.directory))
            except ShopError as error:
                refused.append(error.message)

        thread = threading.Thread(target=other)
        thread.start()
        thread.join()
    assert refused == [f"Another process is running index on {shop.directory}."]


@pytest.mark.parametrize("limit", [150_000, 20_000, 200])
def test_a_full_disk_is_a_storage_error_and_leaves_the_index(shop: Shop, limit: int) -> None:
    build(shop)
    before = contents(shop)
    _new_order(shop)
    assert run_child(_build_on_a_full_disk, shop.directory, limit) == 42
    assert contents(shop) == before
    assert build(shop).rebuilt
    assert "Last order 5: Green tea." in contents(shop)[_HISTORIES]["a"][0]


@pytest.mark.parametrize("limit", [100_000, 200])
def test_a_full_disk_at_the_first_build(shop: Shop, limit: int) -> None:
    assert run_child(_build_on_a_full_disk, shop.directory, limit) == 42
    assert current_generation(shop) is None
    assert build(shop).rebuilt


def _build_on_a_full_disk(directory: Path, limit: int) -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    try:
        build(Shop.open(directory))
    except StorageError as error:
        sys.exit(42 if "Free some space" in error.hint else 1)


# Killed builds


def _vector(text: str) -> Vectors:
    return _EMBEDDER.embed([text])[0]


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


class _MortalEmbedder(HashEmbedder):
    """Dies when asked once too often."""

    def __init__(self, batches: int) -> None:
        super().__init__(32)
        self._left = batches

    def embed(self, texts: Sequence[str]) -> Vectors:
        if self._left == 0:
            _die()
        self._left -= 1
        return super().embed(texts)


def _build_and_die(directory: Path, point: str) -> None:
    """Build, and be killed at a point: `batch N`, `step NAME` or a moment of publishing."""
    shop = Shop.open(directory)
    kind, _, name = point.partition(" ")
    embedder = _MortalEmbedder(int(name)) if kind == "batch" else _EMBEDDER

    def progress(step: str, done: int, total: int) -> None:
        if step == name and done == total:
            _die()

    write = retrieval.index.write_atomically

    def dying_write(file: Path, content: bytes) -> None:
        if file.name == "current":
            if kind == "pointed":
                write(file, content)
            _die()
        write(file, content)

    if kind in ("renamed", "pointed"):
        retrieval.index.write_atomically = dying_write
    if kind == "manifest":
        Path.rename = lambda self, target: _die()  # type: ignore[assignment,method-assign,return-value]
    build_index(shop, embedder, count_words, progress=progress if kind == "step" else no_progress)


_POINTS = [
    "batch 0",
    "batch 1",
    "batch 4",
    "step Embedding histories",
    "step Indexing histories",
    "step Embedding items",
    "step Indexing items",
    "step Learning to recommend",
    "manifest",
    "renamed",
    "pointed",
]


@pytest.fixture(scope="module")
def many_items(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, object]]:
    """A shop indexed once with more events to come, and the content after them."""
    folder = tmp_path_factory.mktemp("killed")
    shop = small_shop(folder / "shop")
    build(shop)
    _new_order(shop)
    more = [
        Item(item_id=f"m{number}", title=f"Thing {number}", category="More", price=number)
        for number in range(_MANY_ITEMS)
    ]
    Catalogue([*ITEMS, *more]).write(shop.items_file)
    shutil.copytree(shop.directory, folder / "whole")
    whole = Shop.open(folder / "whole")
    build(whole)
    return shop.directory, contents(whole)


@pytest.mark.parametrize("point", _POINTS)
def test_a_killed_build_ends_as_an_undisturbed_one(
    tmp_path: Path, many_items: tuple[Path, dict[str, object]], point: str
) -> None:
    directory, undisturbed = many_items
    shutil.copytree(directory, tmp_path / "shop")
    shop = Shop.open(tmp_path / "shop")
    before = current_generation(shop)
    assert run_child(_build_and_die, shop.directory, point) == -signal.SIGKILL
    assert (current_generation(shop) == before) is (point != "pointed")
    opened = open_generation(shop, _EMBEDDER)
    assert opened.vectors.count(_HISTORIES) == 5
    report = build(shop)
    assert report.rebuilt is (point != "pointed")
    assert contents(shop) == undisturbed


def test_a_killed_build_loses_at_most_one_batch(
    tmp_path: Path, many_items: tuple[Path, dict[str, object]]
) -> None:
    directory, _ = many_items
    shutil.copytree(directory, tmp_path / "shop")
    shop = Shop.open(tmp_path / "shop")
    assert run_child(_build_and_die, shop.directory, "batch 4") == -signal.SIGKILL
    embedder = CountingEmbedder()
    build(shop, embedder)
    assert len(embedder.texts) == _MANY_ITEMS - 2 * 256


def test_prices_and_stock_do_not_ask_for_a_new_index(tmp_path: Path) -> None:
    shop = small_shop(tmp_path / "shop")
    build(shop)
    changed = [replace(item, price=1, cost=1, stock=0) for item in ITEMS]
    Catalogue(changed).write(shop.items_file)
    assert not build(shop).rebuilt
    Catalogue([replace(item, title=f"New {item.title}") for item in ITEMS]).write(shop.items_file)
    assert build(shop).rebuilt


def test_the_index_of_an_older_patron_is_built_anew(tmp_path: Path) -> None:
    shop = small_shop(tmp_path / "shop")
    file = shop.index / build(shop).generation / "generation.json"
    document = json.loads(file.read_text())
    del document["ranking_learnt"]
    file.write_text(json.dumps(document))
    assert current_generation(shop) is None
    assert build(shop).rebuilt
    assert current_generation(shop) is not None
