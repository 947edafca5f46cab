"""Where past ends and future begins."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from retrieval.errors import ShopError
from retrieval.shop import Shop


@dataclass(frozen=True, slots=True, kw_only=True)
class TimeSplit:
    """Cut-offs of a shop: learn at `train_cutoff`, report at `test_cutoff`.

    The training holdout ends before the test cut-off, so nothing learnt has seen what is tested.
    """

    first_event: datetime
    train_cutoff: datetime
    test_cutoff: datetime
    horizon: timedelta


def split_by_time(shop: Shop) -> TimeSplit:
    """Cut-offs from `shop.toml`, or from the log's end where none are named.

    Raises:
        ShopError: the log is empty, too short for two horizons, or the cut-offs overlap.
    """
    span = shop.log.span()
    if span is None:
        raise ShopError(
            f"{shop.directory} has no purchases yet.",
            hint=f"Read a log first: patron ingest FILE --shop {shop.directory}",
        )
    first, last = span
    horizon = timedelta(days=shop.settings.churn.horizon_days)
    windows = shop.settings.windows
    test = _aware(windows.test_cutoff) or last + timedelta(microseconds=1) - horizon
    train = _aware(windows.train_cutoff) or test - horizon
    if train + horizon > test:
        raise ShopError(
            f"The training window ({train:%Y-%m-%d} + {horizon.days} days) runs past the test "
            f"cut-off {test:%Y-%m-%d}.",
            hint="Move windows.train_cutoff back, or shorten churn.horizon_days, in shop.toml.",
        )
    if train <= first:
        raise ShopError(
            f"The log begins {first:%Y-%m-%d}, too late for a training cut-off at "
            f"{train:%Y-%m-%d}.",
            hint="Ingest older events, or shorten churn.horizon_days in shop.toml.",
        )
    return TimeSplit(first_event=first, train_cutoff=train, test_cutoff=test, horizon=horizon)


def learning_cutoffs(
    train_cutoff: datetime, horizon: timedelta, first_event: datetime, *, count: int = 3
) -> list[datetime]:
    """Cut-offs to learn from, the newest first: the training cut-off and `count - 1` earlier ones.

    They lie a third of a horizon apart, so that all outcomes end by the training cut-off's own. One
    with less than 0.6 horizons of log before it, too little to tell a habit by, is left out.
    """
    earlier = [train_cutoff - step * horizon / 3 for step in range(1, count)]
    return [train_cutoff, *(c for c in earlier if c - first_event >= 0.6 * horizon)]


def present(shop: Shop) -> datetime:
    """The moment a shop's answers speak of: just after its newest purchase.

    Raises:
        ShopError: the log is empty.
    """
    span = shop.log.span()
    if span is None:
        raise ShopError(
            f"{shop.directory} has no purchases yet.",
            hint=f"Read a log first: patron ingest FILE --shop {shop.directory}",
        )
    return span[1] + timedelta(microseconds=1)


def _aware(moment: datetime | None) -> datetime | None:
    if moment is None:
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
