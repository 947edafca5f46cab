"""What kinds of offers change: learnt from past campaigns, kept with the shop, asked at any answer.

The file is `offer_effects.json` in the shop directory.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar

from pydantic import ConfigDict, TypeAdapter, ValidationError

from finetune.contacts import Contact
from finetune.effect_features import EFFECT_FEATURES, effect_features
from finetune.effect_slopes import EffectSlopes, SlopesVerdict
from finetune.errors import TrainingError
from finetune.redemption import RedemptionModel, RedemptionQuality
from finetune.studied_effects import Pooled
from retrieval.orders import CustomerPast
from retrieval.shop import Shop, write_atomically

EFFECTS_FILE = "offer_effects.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasuredEffect:
    """An effect with its placebos.

    Attributes:
        effect: None where no campaign could be studied.
        placebos: the same asked one, then two, windows before the campaigns.
    """

    effect: Pooled | None
    placebos: tuple[Pooled | None, ...]

    @property
    def measured(self) -> bool:
        """Whether the interval leaves out 0, and every placebo's holds it.

        An effect that also shows where there was no campaign is not the campaign's.
        """
        seen = [placebo for placebo in self.placebos if placebo is not None]
        passes = bool(seen) and all(placebo.contains_zero for placebo in seen)
        return passes and self.effect is not None and not self.effect.contains_zero


@dataclass(frozen=True, slots=True, kw_only=True)
class KindEffect:
    """What one kind of campaign, or all kinds together, changed per contacted customer.

    Attributes:
        contacts: of all campaigns of the kind, studied or not.
        spend: minor units in the window after the start.
        churn: change of the chance that the window counts as leaving.
        redeemed: share of contacts with at least one redemption.
        discount: what redemptions took off per contact, minor units.
    """

    contacts: int
    spend: MeasuredEffect
    churn: MeasuredEffect
    redeemed: float
    discount: float


@dataclass(frozen=True, slots=True, kw_only=True)
class EffectOrigin:
    """Where the figures come from.

    Attributes:
        log_until: ISO moment just after the log's last purchase.
        earlier_until: campaigns that began before this moment chose the method; later ones judge.
        later_placebos: the chosen method's placebos on spend, of later campaigns of all kinds.
        window_days: over which outcomes are counted.
        assumptions: what must hold, and what cannot be known, in sentences.
    """

    log_until: str
    earlier_until: str
    method: str
    later_placebos: tuple[Pooled | None, ...]
    window_days: int
    campaigns: int
    studied: int
    assumptions: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class EffectEstimate:
    """What an offer of a kind is expected to change for one customer.

    Attributes:
        spend_effect: once, within `window_days` of the offer, minor units; the estimate to decide
            by, so shrunk, and 0 where nothing was measured.
        spend_low: lower end of the 95% interval of the mean effect, not shrunk.
        spend_high: upper end.
        churn_effect: change of the chance of leaving within the window, to decide by.
        churn_low: lower end of the 95% interval of the mean effect, not shrunk.
        churn_high: upper end.
        redemption_chance: of redeeming at least once.
        measured: whether `spend_effect` rests on a measured effect.
        basis: how it was estimated, in plain words.
    """

    kind: str
    window_days: int
    spend_effect: int
    spend_low: int
    spend_high: int
    churn_effect: float
    churn_low: float
    churn_high: float
    redemption_chance: float
    measured: bool
    basis: str


@dataclass(frozen=True, slots=True, kw_only=True)
class OfferEffects:
    """Everything learnt from a shop's campaigns.

    The rule of decision: a kind's own effect where it was measured; else the effect of all kinds
    together where that was; else 0. An effect that cannot be told from none must not spend money,
    and one that can is shrunk, as what stands out is too large on average (`Pooled.shrunk`).
    Customers differ only where slopes foresaw later campaigns better than constants did.

    Attributes:
        kinds: by name.
        together: all kinds.
        slopes: how a measured effect differs between customers; None where that was not better.
        slopes_verdict: what showed so; None with too few campaigns to tell.
        redemption_quality: of a model of earlier campaigns on later ones; None with too few.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    origin: EffectOrigin
    kinds: dict[str, KindEffect]
    together: KindEffect
    slopes: EffectSlopes | None
    slopes_verdict: SlopesVerdict | None
    redemption: RedemptionModel
    redemption_quality: RedemptionQuality | None

    def estimate(
        self, kind: str, past: CustomerPast, contacts: Iterable[Contact] = ()
    ) -> EffectEstimate:
        """What an offer of this kind would change for a customer.

        Args:
            kind: an offer's `effect_group`; one that was never tried counts as all kinds together.
            past: the customer's, as of now.
            contacts: the customer's earlier contacts.
        """
        features = effect_features([past], [list(contacts)], kind, self.origin.window_days)
        own = self.kinds.get(kind)
        spend, whose = decided(own.spend if own else None, self.together.spend)
        churn, whose_churn = decided(own.churn if own else None, self.together.churn)
        departure = 0.0
        if self.slopes is not None and spend is not None:
            departure = float(self.slopes.departures(features)[0])
        low, high = _interval(own.spend if own else None, self.together.spend, whose)
        churn_low, churn_high = _interval(
            own.churn if own else None, self.together.churn, whose_churn
        )
        return EffectEstimate(
            kind=kind,
            window_days=self.origin.window_days,
            spend_effect=0 if spend is None else round(spend.shrunk + departure),
            spend_low=round(low),
            spend_high=round(high),
            churn_effect=0.0 if churn is None else churn.shrunk,
            churn_low=churn_low,
            churn_high=churn_high,
            redemption_chance=float(self.redemption.chances(features, kind)[0]),
            measured=spend is not None,
            basis=self._basis(kind, whose),
        )

    def _basis(self, kind: str, whose: str) -> str:
        own = self.kinds.get(kind)
        studied = 0 if own is None or own.spend.effect is None else own.spend.effect.campaigns
        counted = f"{studied} {'campaign' if studied == 1 else 'campaigns'} of this kind"
        over = f"over {self.origin.window_days} days, by {self.origin.method}"
        if whose == "own":
            looked = f"kinds looked at: {len(self.kinds)}; nobody was kept out at random"
            return f"effect of {counted} {over}, shrunk; {looked}"
        if whose == "together":
            return f"effect of all kinds together {over}, shrunk; {counted} showed none of its own"
        return f"no effect on spend was measured {over} ({counted}), so none is counted"


def decided(own: MeasuredEffect | None, together: MeasuredEffect) -> tuple[Pooled | None, str]:
    """The effect to decide by, None for none, and whose it is: `own`, `together` or nobody's."""
    if own is not None and own.measured:
        return own.effect, "own"
    return (together.effect, "together") if together.measured else (None, "")


def write_effects(shop: Shop, effects: OfferEffects) -> None:
    """Write the shop's effects, atomically.

    Raises:
        StorageError: the disk refuses.
    """
    write_atomically(shop.directory / EFFECTS_FILE, _FILE.dump_json(effects, indent=1) + b"\n")


def read_effects(shop: Shop) -> OfferEffects | None:
    """The shop's effects; None where none were learnt yet.

    Raises:
        TrainingError: the file is damaged, or of another version; the message names the field.
    """
    file = shop.directory / EFFECTS_FILE
    if not file.exists():
        return None
    try:
        effects = _FILE.validate_json(file.read_bytes())
    except (ValidationError, OSError) as error:
        fault = str(error)
        if isinstance(error, ValidationError):
            first = error.errors()[0]
            fault = f"'{'.'.join(str(part) for part in first['loc'])}': {first['msg']}"
        raise _unreadable(shop, fault) from error
    if not set(effects.redemption.features) <= set(EFFECT_FEATURES):
        raise _unreadable(shop, "it reads other features than this version makes")
    return effects


def _interval(
    own: MeasuredEffect | None, together: MeasuredEffect, whose: str
) -> tuple[float, float]:
    """The interval of the effect that was decided by; of the kind's own where there is none."""
    effect = together.effect if whose == "together" or own is None else own.effect
    shown = effect or together.effect
    return (0.0, 0.0) if shown is None else (shown.low, shown.high)


def _unreadable(shop: Shop, fault: str) -> TrainingError:
    return TrainingError(
        f"{shop.directory / EFFECTS_FILE} cannot be read: {fault}.",
        hint=f"Learn it anew: patron offers learn --shop {shop.directory}",
    )


_FILE = TypeAdapter(OfferEffects)
