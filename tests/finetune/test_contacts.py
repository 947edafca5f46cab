from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from finetune.contacts import CONTACTS_FILE, Contact, read_contacts, write_contacts
from finetune.errors import TrainingError
from retrieval.shop import Shop, ShopSettings

SENT = Contact(
    customer_id="7",
    campaign_id="8",
    kind="Type A",
    starts=datetime(2017, 5, 8, 4, tzinfo=UTC),
    ends=datetime(2017, 6, 26, 4, tzinfo=UTC),
    redemptions=2,
    discount=150,
)
KEPT_OUT = Contact(
    customer_id="9",
    campaign_id="8",
    kind="Type A",
    starts=SENT.starts,
    ends=SENT.ends,
    treated=False,
    propensity=0.9,
)


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    return Shop.create(tmp_path, ShopSettings())


def test_what_is_written_is_read(shop: Shop) -> None:
    write_contacts(shop, [KEPT_OUT, SENT])
    assert read_contacts(shop) == [SENT, KEPT_OUT]


def test_no_file_is_no_contacts(shop: Shop) -> None:
    assert read_contacts(shop) == []


@pytest.mark.parametrize(
    ("column", "value", "fault"),
    [
        ("ends", SENT.starts, "ends is not after starts"),
        ("propensity", 1.0, "propensity"),
        ("discount", -1, "below 0"),
        ("treated", False, "kept out"),
    ],
)
def test_a_row_that_contradicts_itself_is_named(
    shop: Shop, column: str, value: object, fault: str
) -> None:
    write_contacts(shop, [SENT])
    file = shop.directory / CONTACTS_FILE
    table = pq.read_table(file)
    position = table.column_names.index(column)
    field = table.schema.field(column)
    pq.write_table(table.set_column(position, field, pa.array([value], type=field.type)), file)
    with pytest.raises(TrainingError, match=f"row 1: .*{fault}"):
        read_contacts(shop)


def test_a_file_of_another_shape_is_refused(shop: Shop) -> None:
    pq.write_table(pa.table({"customer_id": ["7"]}), shop.directory / CONTACTS_FILE)
    with pytest.raises(TrainingError, match="cannot be read as contacts"):
        read_contacts(shop)
