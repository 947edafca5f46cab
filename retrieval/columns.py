"""Which source column is what: told by `--map`, or guessed from common names."""

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from retrieval.errors import IngestError
from retrieval.events import AMOUNT, CUSTOMER_ID, ITEM_ID, KIND, ORDER_ID, QUANTITY, TIMESTAMP

UNIT_PRICE = "unit_price"
TITLE = "title"
CATEGORY = "category"
PRICE = "price"
COST = "cost"
STOCK = "stock"

_ITEM_CODES = (
    "itemid productid stockcode sku articleid articleno articlenumber productcode itemcode "
    "itemno itemnumber productkey"
)
_ITEM_NAMES = "upc ean gtin asin isbn article item product"
_LOG_NAMES: Mapping[str, str] = {
    CUSTOMER_ID: (
        "customerid customer custid customernumber customerno customerkey customercode clientid "
        "client householdid householdkey household memberid membernumber userid user buyerid "
        "shopperid accountid loyaltyid cardid cardnumber visitorid"
    ),
    TIMESTAMP: (
        "timestamp datetime transactiontimestamp transactiondatetime invoicedate invoicedatetime "
        "orderdate orderdatetime ordertimestamp orderpurchasetimestamp purchasedate purchasetime "
        "transactiondate transdate eventtime eventtimestamp eventdate createdat orderedat "
        "purchasedat soldat saledate salesdate receiptdate date"
    ),
    ORDER_ID: (
        "orderid orderno ordernumber invoiceno invoiceid invoicenumber invoice basketid "
        "transactionid transactionno receiptid receiptno receiptnumber receipt cartid ticketid "
        "billno billid saleid basket order transaction"
    ),
    ITEM_ID: f"{_ITEM_CODES} {_ITEM_NAMES}",
    QUANTITY: (
        "quantity qty quantitysold orderquantity units unitssold numberofitems numberofunits "
        "numberofcds itemcount pieces"
    ),
    AMOUNT: (
        "amount lineamount linetotal salesvalue salesamount totalamount totalprice totalsales "
        "netamount grossamount extendedprice subtotal paymentvalue dollarvalue revenue spend "
        "sales total value"
    ),
    UNIT_PRICE: "unitprice priceperunit itemprice priceeach sellingprice saleprice price",
    KIND: "kind eventkind eventtype transactiontype",
    TITLE: (
        "title description productname itemname productdescription itemdescription producttitle "
        "itemtitle articlename name"
    ),
    CATEGORY: (
        "category categoryname productcategory itemcategory department productgroup commodity "
        "producttype"
    ),
}
# No "quantity" among the names of stock: in a log of orders it is what was sold.
_CATALOGUE_NAMES: Mapping[str, str] = {
    ITEM_ID: f"{_ITEM_CODES} productno productnumber partnumber variantsku plu id {_ITEM_NAMES}",
    TITLE: (
        "title productname itemname producttitle itemtitle articlename name productdescription "
        "itemdescription description product item article"
    ),
    CATEGORY: (
        "category categoryname productcategory itemcategory department departmentname "
        "productgroup commodity producttype"
    ),
    PRICE: (
        "price unitprice itemprice sellingprice retailprice regularprice listprice variantprice "
        "priceperunit priceeach saleprice rrp msrp"
    ),
    COST: (
        "cost unitcost costprice itemcost productcost costperitem costperunit purchaseprice "
        "buyingprice wholesaleprice"
    ),
    STOCK: (
        "stock inventory onhand quantityinstock stockquantity stockqty qtyinstock stocklevel "
        "stockonhand quantityonhand qtyonhand inventoryquantity inventoryqty inventorylevel "
        "variantinventoryqty unitsinstock piecesinstock"
    ),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Targets:
    """What columns of a kind of file may mean.

    Attributes:
        names: target to its common names, as `_plain` leaves them; the first that a file has is
            taken, and a column once taken is not guessed again.
        needed: of each group, a file must have one target.
    """

    names: Mapping[str, str]
    needed: tuple[tuple[str, ...], ...]


LOG = Targets(names=_LOG_NAMES, needed=((CUSTOMER_ID,), (TIMESTAMP,), (AMOUNT, UNIT_PRICE)))
CATALOGUE = Targets(
    names=_CATALOGUE_NAMES, needed=((ITEM_ID,), (TITLE, CATEGORY, PRICE, COST, STOCK))
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ColumnMapping:
    """Source columns by what they mean.

    Attributes:
        sources: target name (`customer_id`, ...) to the source's column name.
        guessed: the targets that no option named.
    """

    sources: Mapping[str, str]
    guessed: tuple[str, ...]


def map_columns(
    names: Sequence[str],
    explicit: Mapping[str, str] | None = None,
    *,
    file: str,
    targets: Targets = LOG,
) -> ColumnMapping:
    """Decide which column is what; what `explicit` (target to source) says, wins.

    Args:
        names: the source's column names.
        explicit: as `--map target=source` gave it.
        file: the source's name, for messages.
        targets: those of a log or of a catalogue.

    Raises:
        IngestError: an option names an unknown target or an absent column, or a column that no
            such file can do without is not found.
    """
    sources = dict(explicit or {})
    for target, source in sources.items():
        _check_option(names, target, source, file, tuple(targets.names))
    guessed = _guesses(names, sources, targets)
    sources |= guessed
    for needed in targets.needed:
        if not any(target in sources for target in needed):
            raise _missing(needed, names, file, separated=bool(sources))
    return ColumnMapping(
        sources={target: sources[target] for target in targets.names if target in sources},
        guessed=tuple(target for target in targets.names if target in guessed),
    )


def _guesses(names: Sequence[str], explicit: Mapping[str, str], targets: Targets) -> dict[str, str]:
    taken = set(explicit.values())
    guesses: dict[str, str] = {}
    for target, common in targets.names.items():
        by_plain = {_plain(name): name for name in reversed(names) if name not in taken}
        found = next((by_plain[one] for one in common.split() if one in by_plain), None)
        if target not in explicit and found is not None:
            guesses[target] = found
            taken.add(found)
    return guesses


def _plain(name: str) -> str:
    return "".join(character for character in name.casefold() if character.isalnum())


def _check_option(
    names: Sequence[str], target: str, source: str, file: str, targets: tuple[str, ...]
) -> None:
    option = f"--map {target}={source}"
    if target not in targets:
        raise IngestError(
            f"{option}: there is no '{target}' to map to.{_nearest(target, targets)}",
            hint=f"Map to one of: {', '.join(targets)}.",
        )
    if source not in names:
        raise IngestError(
            f"{option}: {file} has no column '{source}'.{_nearest(source, names)}",
            hint=f"Its columns are: {listed(names)}.",
        )


def _nearest(word: str, words: Sequence[str]) -> str:
    by_plain = {_plain(name): name for name in words}
    near = difflib.get_close_matches(_plain(word), by_plain, n=1)
    return f" Did you mean '{by_plain[near[0]]}'?" if near else ""


def _missing(
    needed: tuple[str, ...], names: Sequence[str], file: str, *, separated: bool
) -> IngestError:
    if len(names) == 1 and not separated:
        return IngestError(
            f"{file} has a single column, '{names[0][:80]}'; its separator was not recognised.",
            hint="Separate the columns by comma, semicolon, tab, pipe or spaces.",
        )
    headerless = any(name.replace(".", "").isdigit() for name in names)
    header = " Its first line looks like data: put a line of column names first." * headerless
    return IngestError(
        f"{file} has no column for {' or '.join(needed)}; its columns are: {listed(names)}.",
        hint=f"Name it with --map {needed[0]}=COLUMN.{header}",
    )


def listed(names: Sequence[str]) -> str:
    """Column names for a message, shortened where they are many or long."""
    shown = ", ".join(name[:80] for name in names[:40])
    return f"{shown} and {len(names) - 40} more" if len(names) > 40 else shown
