"""Past contacts of a shop: who was sent which campaign, when, and what came of it.

The file is `contacts.parquet` in the shop directory. Effects of offers are learned from it.
"""

import io
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

import pyarrow as pa
import pyarrow.parquet as pq

from finetune.errors import TrainingError
from retrieval.shop import Shop, write_atomically

CONTACTS_FILE = "contacts.parquet"

_MOMENT = pa.timestamp("us", tz="UTC")
_SCHEMA = pa.schema(
    [
        pa.field("customer_id", pa.string(), nullable=False),
        pa.field("campaign_id", pa.string(), nullable=False),
        pa.field("kind", pa.string(), nullable=False),
        pa.field("starts", _MOMENT, nullable=False),
        pa.field("ends", _MOMENT, nullable=False),
        pa.field("treated", pa.bool_(), nullable=False),
        pa.field("propensity", pa.float64()),
        pa.field("redemptions", pa.int64(), nullable=False),
        pa.field("discount", pa.int64(), nullable=False),
    ]
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Contact:
    """One customer's part in one campaign.

    Attributes:
        kind: group of campaigns that are taken to work alike; an offer names it as `effect_group`.
        starts: first moment of the campaign, aware.
        ends: the moment after its last, aware.
        treated: False for a customer who was kept out at random.
        propensity: chance with which the customer was to be treated; None where nobody knows.
        redemptions: how many of the campaign's offers the customer redeemed.
        discount: what the redemptions took off together, minor units.
    """

    customer_id: str
    campaign_id: str
    kind: str
    starts: datetime
    ends: datetime
    treated: bool = True
    propensity: float | None = None
    redemptions: int = 0
    discount: int = 0


def write_contacts(shop: Shop, contacts: Iterable[Contact]) -> None:
    """Write the shop's contacts, atomically.

    Raises:
        StorageError: the disk refuses.
    """
    ordered = sorted(contacts, key=lambda each: (each.starts, each.campaign_id, each.customer_id))
    columns = {name: [getattr(each, name) for each in ordered] for name in _SCHEMA.names}
    buffer = io.BytesIO()
    pq.write_table(pa.table(columns, schema=_SCHEMA), buffer, compression="zstd")
    write_atomically(shop.directory / CONTACTS_FILE, buffer.getvalue())


def read_contacts(shop: Shop) -> list[Contact]:
    """The shop's contacts, the oldest first; none where it has no such file.

    Raises:
        TrainingError: the file is not of this shape, or a row contradicts itself; the message
            names the row.
    """
    file = shop.directory / CONTACTS_FILE
    if not file.exists():
        return []
    try:
        rows = pq.read_table(file).select(_SCHEMA.names).cast(_SCHEMA).to_pylist()
    except (pa.ArrowException, KeyError, ValueError, OSError) as error:
        raise TrainingError(
            f"{file} cannot be read as contacts: {error}.",
            hint=f"It needs the columns {', '.join(_SCHEMA.names)}.",
        ) from error
    contacts = [Contact(**row) for row in rows]
    for number, contact in enumerate(contacts, start=1):
        fault = _fault(contact)
        if fault:
            raise TrainingError(f"{file}: row {number}: {fault}.", hint="Correct that row.")
    return contacts


def contacts_by_customer(shop: Shop) -> dict[str, list[Contact]]:
    """The shop's contacts by customer, each customer's oldest first.

    Raises:
        TrainingError: as `read_contacts`.
    """
    found: dict[str, list[Contact]] = {}
    for contact in read_contacts(shop):
        found.setdefault(contact.customer_id, []).append(contact)
    return found


def _fault(contact: Contact) -> str | None:
    if contact.ends <= contact.starts:
        return "ends is not after starts"
    if contact.propensity is not None and not 0 < contact.propensity < 1:
        return f"propensity {contact.propensity} is not between 0 and 1"
    if contact.redemptions < 0 or contact.discount < 0:
        return "redemptions and discount cannot be below 0"
    if not contact.treated and contact.redemptions:
        return "a customer who was kept out cannot have redeemed"
    return None
