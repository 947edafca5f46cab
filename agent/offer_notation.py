"""Amounts and moments as `offers.toml` writes them."""

from datetime import UTC, date, datetime, time, tzinfo
from decimal import Decimal, InvalidOperation

from retrieval.money import to_major, to_minor

# Sums of many such amounts still fit the ledger's 64-bit integers.
_LARGEST_AMOUNT = 10**12
_YEARS = range(1970, 3000)


def read_amount(raw: object, currency: str) -> int:
    """An amount of the file, in major units, as minor units; nothing is rounded away.

    Raises:
        ValueError: it is none, negative, too large or too fine for the currency.
    """
    if isinstance(raw, bool) or not isinstance(raw, int | str | Decimal):
        raise ValueError("must be an amount such as 1.50")
    try:
        amount = Decimal(raw)
    except InvalidOperation:
        raise ValueError(f"'{raw}' is no amount such as 1.50") from None
    if not amount.is_finite() or not 0 <= amount < _LARGEST_AMOUNT:
        raise ValueError(f"must be from 0 to below {_LARGEST_AMOUNT}")
    minor = to_minor(amount, currency)
    if to_major(minor, currency) != amount:
        raise ValueError(f"{raw} has more decimals than {currency} has")
    return minor


def read_moment(raw: object, zone: tzinfo) -> datetime:
    """A day or a time of the file, on the shop's clock.

    Args:
        raw: a day is its midnight; a time without an offset is the shop's own.
        zone: the shop's time zone.

    Raises:
        ValueError: it is neither, too far away, or the clock shows it twice or never.
    """
    if not isinstance(raw, date):
        raise ValueError("must be a day such as 2018-02-01, or a time such as 2018-02-01T18:00:00")
    if raw.year not in _YEARS:
        raise ValueError(f"must be of the years {_YEARS.start} to {_YEARS.stop - 1}")
    if not isinstance(raw, datetime):
        return _once(datetime.combine(raw, time()), zone)
    return _once(raw, zone) if raw.tzinfo is None else raw.astimezone(zone)


def write_moment(moment: datetime, zone: tzinfo) -> date | datetime:
    """An aware moment as the file holds it; `read_moment` gives back an equal one.

    Returns:
        A day where that begins then, else the time on the shop's clock, or in UTC where the clock
        shows that time twice.
    """
    local = moment.astimezone(zone).replace(tzinfo=None)
    try:
        _once(local, zone)
    except ValueError:
        return moment.astimezone(UTC)
    return local.date() if local.time() == time() else local


def _once(local: datetime, zone: tzinfo) -> datetime:
    """The one moment at which the clock of a zone shows a time."""
    first = local.replace(tzinfo=zone, fold=0)
    # PEP 495: where the clock jumps, the two readings of a time have different offsets; a time
    # that exists comes back from UTC as it was.
    if first.utcoffset() == first.replace(fold=1).utcoffset():
        return first
    comes_back = first.astimezone(UTC).astimezone(zone).replace(tzinfo=None) == local
    raise ValueError(
        f"{local:%Y-%m-%d %H:%M} comes {'twice' if comes_back else 'never'} in {zone}, whose clock "
        f"is changed then; add the offset that you mean, such as "
        f"{first.replace(fold=1).isoformat()}"
    )
