"""What the study of campaigns reads of a customer: habit, money, and the contacts had before."""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

import numpy as np

from finetune.calibration import Floats
from finetune.contacts import Contact
from finetune.customer_features import FEATURES, customer_features
from retrieval.history import usual_spend
from retrieval.orders import CustomerPast

_DAY = timedelta(days=1)
_NEVER_DAYS = 365.0
# These need lines; orders alone, which can be cut at any moment, do not give them.
_NEED_LINES = ("returned_share", "repeat_share")
_HABIT = [column for column, name in enumerate(FEATURES) if name not in _NEED_LINES]
_MONEY = ("spend_quarter", "spend_half", "spend_window", "spend_two_windows", "spend_usual")
_CONTACTS = (
    "contacts_of_kind",
    "contacts_of_others",
    "contact_running",
    "since_contact",
    "redemptions",
    "redeemed_before",
)
EFFECT_FEATURES = (*(FEATURES[column] for column in _HABIT), *_MONEY, *_CONTACTS)
"""Columns of `effect_features`."""
RELATIVE_COLUMNS = [column for column, name in enumerate(EFFECT_FEATURES) if name not in _MONEY]
"""Those that are not in money: what they mean is the same a year later and in another shop."""


def effect_features(
    pasts: Sequence[CustomerPast],
    contacts: Sequence[Iterable[Contact]],
    kind: str,
    window_days: int,
) -> Floats:
    """Features `[n, 32]`, in the order of `EFFECT_FEATURES`.

    The habit of `customer_features` over one window; spend of the last quarter, half, whole and
    two windows and of a usual window, in minor units; how many campaigns of this kind and of others
    began before, whether one runs now, how long ago the last began, and what was redeemed in those
    that are over. What a running campaign has brought so far is not read, as nobody knows when.

    Args:
        pasts: what each customer did.
        contacts: each customer's contacts, in the order of `pasts`; later ones are not read.
        kind: of the campaign that the features are for.
        window_days: over which outcomes are counted.
    """
    if not pasts:
        return np.zeros((0, len(EFFECT_FEATURES)))
    habit = customer_features(pasts, window_days)[:, _HABIT]
    money = np.array([_money(past, window_days) for past in pasts])
    had = np.array(
        [_had(of_one, kind, past.as_of) for past, of_one in zip(pasts, contacts, strict=True)]
    )
    return np.column_stack([habit, money, had])


def _money(past: CustomerPast, window_days: int) -> list[float]:
    def spend_within(days: float) -> float:
        start = past.as_of - timedelta(days=days)
        return float(sum(order.amount for order in past.orders if order.timestamp >= start))

    return [
        *(spend_within(window_days * share) for share in (0.25, 0.5, 1, 2)),
        usual_spend(past, window_days),
    ]


def _had(contacts: Iterable[Contact], kind: str, as_of: datetime) -> list[float]:
    begun = [each for each in contacts if each.treated and each.starts < as_of]
    last = max((each.starts for each in begun), default=None)
    redeemed = sum(each.redemptions for each in begun if each.ends <= as_of)
    return [
        float(sum(each.kind == kind for each in begun)),
        float(sum(each.kind != kind for each in begun)),
        float(any(each.ends > as_of for each in begun)),
        float(np.log1p(_NEVER_DAYS if last is None else (as_of - last) / _DAY)),
        float(np.log1p(redeemed)),
        float(redeemed > 0),
    ]
