"""A campaign as a study: who could have had it, what was known of them, and what followed."""

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import numpy as np

from finetune.calibration import Floats
from finetune.campaigns import Campaign
from finetune.contacts import Contact
from finetune.effect_features import effect_features
from finetune.uplift import Flags
from retrieval.history import usual_spend
from retrieval.orders import CustomerPast, read_pasts
from retrieval.outcomes import has_churned
from retrieval.shop import Shop
from retrieval.time_split import present

# The last percent of spends moves every mean, and nobody can plan with it.
_CAP_QUANTILE = 0.99
_WINDOWS = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """Customers known at a moment, and the two windows that followed it.

    Attributes:
        as_of: features end and the first window begins here.
        features: `[n, k]`, in the order of `finetune.effect_features.EFFECT_FEATURES`.
        treated: who was contacted by the campaign `[n]`.
        propensity: chance of having been contacted where it was drawn `[n]`; None where the shop
            chose.
        spend: purchases in each of two windows, minor units, capped at the window's 99th
            percentile `[n, 2]`.
        churned: whether each window, taken as the horizon, would count as leaving by the shop's
            definition, against the usual spend as of `as_of` `[n, 2]`.
        redemptions: coupons of the campaign that each redeemed, in all its time `[n]`.
        discount: what they took off, minor units `[n]`.
    """

    campaign_id: str
    kind: str
    as_of: datetime
    customer_ids: tuple[str, ...]
    features: Floats
    treated: Flags
    propensity: Floats | None
    spend: Floats
    churned: Floats
    redemptions: Floats
    discount: Floats


class Records:
    """A shop's orders and contacts, read once, to be looked at as of any earlier moment.

    Args:
        shop: whose log is read.
        contacts: of the shop.
        window_days: length of the windows in which outcomes are counted.
    """

    def __init__(self, shop: Shop, contacts: list[Contact], window_days: int) -> None:
        self.window = timedelta(days=window_days)
        self.ends = present(shop)
        self._definition = shop.settings.churn.definition
        self._pasts = list(read_pasts(shop.log, self.ends))
        self._numbers = {past.customer_id: number for number, past in enumerate(self._pasts)}
        self.begins = min(past.first for past in self._pasts)
        self._moments = [[order.timestamp for order in past.orders] for past in self._pasts]
        self._contacts: dict[str, list[Contact]] = defaultdict(list)
        for contact in contacts:
            self._contacts[contact.customer_id].append(contact)

    def panel(self, campaign: Campaign, as_of: datetime) -> Panel:
        """The customers with an order before a moment and what they did after it.

        Where the campaign kept customers out at random, only its own contacts are looked at.

        Args:
            campaign: tells who was contacted.
            as_of: when features end; the campaign's start, or earlier.
        """
        only = campaign.contacts if campaign.randomised else None
        numbers = [
            number
            for number, past in enumerate(self._pasts)
            if past.first < as_of and (only is None or past.customer_id in only)
        ]
        before = [self._before(number, as_of) for number in numbers]
        ids = tuple(past.customer_id for past in before)
        parts = [campaign.contacts.get(customer_id) for customer_id in ids]
        spend = self._spend_after(numbers, [as_of] * len(numbers))
        return Panel(
            campaign_id=campaign.campaign_id,
            kind=campaign.kind,
            as_of=as_of,
            customer_ids=ids,
            features=effect_features(
                before, [self._contacts[i] for i in ids], campaign.kind, self.window.days
            ),
            treated=np.array([part is not None and part.treated for part in parts], dtype=bool),
            propensity=_propensity(parts),
            spend=_capped(spend),
            churned=self._churned(before, spend),
            redemptions=np.array([part.redemptions if part else 0 for part in parts], dtype=float),
            discount=np.array([part.discount if part else 0 for part in parts], dtype=float),
        )

    def knows(self, customer_id: str, as_of: datetime) -> bool:
        """Whether a customer had an order before a moment."""
        number = self._numbers.get(customer_id)
        return number is not None and self._pasts[number].first < as_of

    def at_moments(self, cases: Sequence[tuple[str, datetime]], kind: str) -> tuple[Floats, Floats]:
        """Features and the first window's spend of customers, each as of a moment of its own.

        Args:
            cases: customers and moments; each is known then.
            kind: of the offer that the features are for.

        Returns:
            Features `[n, k]` and spend, minor units, capped at its 99th percentile `[n]`.
        """
        numbers = [self._numbers[customer_id] for customer_id, _ in cases]
        moments = [as_of for _, as_of in cases]
        features = effect_features(
            [self._before(*case) for case in zip(numbers, moments, strict=True)],
            [self._contacts[customer_id] for customer_id, _ in cases],
            kind,
            self.window.days,
        )
        return features, _capped(self._spend_after(numbers, moments)[:, 0])

    def _before(self, number: int, as_of: datetime) -> CustomerPast:
        past = self._pasts[number]
        orders = past.orders[: bisect_left(self._moments[number], as_of)]
        # What needs lines is unknown at an earlier moment, and no feature here reads it.
        return replace(past, as_of=as_of, orders=orders, favourites=(), returned=0)

    def _spend_after(self, numbers: list[int], moments: list[datetime]) -> Floats:
        spend = np.zeros((len(numbers), _WINDOWS))
        for row, (number, as_of) in enumerate(zip(numbers, moments, strict=True)):
            for order in self._pasts[number].orders[bisect_left(self._moments[number], as_of) :]:
                window = (order.timestamp - as_of) // self.window
                if window < _WINDOWS:
                    spend[row, window] += order.amount
        return spend

    def _churned(self, before: list[CustomerPast], spend: Floats) -> Floats:
        churned = np.zeros_like(spend)
        for row, past in enumerate(before):
            usual = usual_spend(past, self.window.days)
            for window, amount in enumerate(spend[row]):
                churned[row, window] = has_churned(self._definition, int(amount) or None, usual)
        return churned


def _capped(spend: Floats) -> Floats:
    return np.minimum(spend, np.quantile(spend, _CAP_QUANTILE, axis=0)) if spend.size else spend


def _propensity(parts: list[Contact | None]) -> Floats | None:
    known = [part.propensity for part in parts if part is not None and part.propensity is not None]
    return np.array(known) if len(known) == len(parts) else None
