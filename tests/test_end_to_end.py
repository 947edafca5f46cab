"""The real thing: packaged SmolLM2 with the shipped adapter, MiniLM, Chroma, Delta, SQLite."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from agent.agent import Agent
from agent.grounding import ungrounded_numbers
from finetune.adapter import install_adapter, read_manifest, shipped_adapters
from finetune.base_model import PACKAGED, find_base_model
from finetune.indexing import index_shop
from finetune.lora_predictor import LoraPredictor
from retrieval.catalogue import Catalogue, Item
from retrieval.events import Event
from retrieval.ingest import append_event
from retrieval.shop import Shop
from ui.demo import DEMO_SETTINGS

END = datetime(2017, 12, 28, 12, tzinfo=UTC)


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Shop:
    """Two households: one as steady as ever, one that has all but stopped."""
    shop = Shop.create(tmp_path_factory.mktemp("real") / "shop", DEMO_SETTINGS)
    Catalogue(
        [
            Item(item_id="1", title="Fluid milk white only, 1 gal", category="Milk", price=259),
            Item(item_id="2", title="Ground coffee, 12 oz", category="Coffee", price=699),
        ]
    ).write(shop.items_file)
    for week in range(51):
        for customer_id, buys in (("steady", True), ("fading", week > 16 or week % 12 == 0)):
            if buys:
                append_event(
                    shop,
                    Event(
                        customer_id=customer_id,
                        timestamp=END - timedelta(weeks=week),
                        order_id=f"{customer_id}-{week}",
                        item_id="1" if week % 2 else "2",
                        amount=4_500,
                    ),
                )
    index_shop(shop)
    (folder,) = shipped_adapters()
    install_adapter(shop, folder)
    return shop


def test_predictions_of_the_shipped_adapter_make_sense(shop: Shop) -> None:
    agent = Agent.open(shop.directory)
    steady, fading = agent.predict("steady"), agent.predict("fading")
    assert fading.churn_risk > steady.churn_risk
    assert steady.expected_spend > fading.expected_spend
    assert steady.ltv > fading.ltv
    assert steady.adapter_id == read_manifest(shipped_adapters()[0]).adapter_id


def test_the_language_model_writes_and_every_number_holds(shop: Shop) -> None:
    agent = Agent.open(shop.directory)
    answer = agent.ask("Who is this customer?", customer_id="steady")
    assert answer.written_sentences == 4
    assert agent.writing_counts()[0] == 4
    assert "51 orders" in answer.text
    assert ungrounded_numbers(answer.text, [record.text for record in answer.evidence]) == []


def test_the_shipped_adapter_is_complete() -> None:
    (folder,) = shipped_adapters()
    names = {file.name for file in Path(folder).iterdir()}
    assert names == {
        *("adapter.safetensors", "prior.json", "prior_held_out.json"),
        *("manifest.json", "model_card.md", "loss.png"),
    }
    assert LoraPredictor.load(folder, find_base_model(PACKAGED), DEMO_SETTINGS).prior is not None
