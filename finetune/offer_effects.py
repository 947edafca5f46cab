"""What kinds of offers change: learnt from campaigns and own decisions, asked at any answer.

The file is `offer_effects.json` in the shop directory.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import ClassVar

from pydantic import ConfigDict, TypeAdapter, ValidationError

from finetune.campaign_study import FEWEST
from finetune.contacts import Contact
from finetune.decision_effects import DecidedEffect, OwnDecisions
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
    def fair(self) -> bool:
        """Whether there is an effect and every placebo's interval holds 0.

        An effect that also shows where there was no campaign is not the campaign's.
        """
        seen = [placebo for placebo in self.placebos if placebo is not None]
        passes = bool(seen) and all(placebo.contains_zero for placebo in seen)
        return passes and self.effect is not None

    @property
    def measured(self) -> bool:
        """Whether it is fair and its interval leaves out 0."""
        return self.fair and self.effect is not None and not self.effect.contains_zero


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
class Evidence:
    """What the effect of a kind on spend rests on.

    Attributes:
        effect: all that counts, together; None where nothing does.
        campaigns: `own` campaigns of the kind, those of all kinds `together`, or "" where none
            count.
        decisions: the shop's own, drawn by known chances; None where they do not count.
        contradicted: whether campaigns said something else than the decisions, and so do not count.
    """

    effect: Pooled | None
    campaigns: str
    decisions: DecidedEffect | None
    contradicted: bool = False

    @property
    def measured(self) -> bool:
        """Whether the effect can be told from none."""
        return self.effect is not None and not self.effect.contains_zero


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
    """Everything learnt from a shop's campaigns and its own decisions.

    The rule of decision: a kind's own effect where it was measured; else the effect of all kinds
    together where that was; else 0. Where enough of the shop's own decisions came to an offer of
    the kind or to none by known chances, both kinds of evidence count by their precision; but where
    they contradict each other, the decisions stand alone, for only they were drawn. An effect that
    cannot be told from none must not spend money, and one that can is shrunk, as what stands out is
    too large on average (`Pooled.shrunk`). Customers differ only where slopes foresaw later
    campaigns better than constants did, and campaigns count.

    Attributes:
        kinds: by name.
        together: all kinds.
        slopes: how a measured effect differs between customers; None where that was not better.
        slopes_verdict: what showed so; None with too few campaigns to tell.
        redemption_quality: of a model of earlier campaigns on later ones; None with too few.
        decisions: what the shop's own decisions say; None where none were read.
        rests_on: which evidence the effect of each kind rests on, in words.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    origin: EffectOrigin
    kinds: dict[str, KindEffect]
    together: KindEffect
    slopes: EffectSlopes | None
    slopes_verdict: SlopesVerdict | None
    redemption: RedemptionModel
    redemption_quality: RedemptionQuality | None
    decisions: OwnDecisions | None = None
    rests_on: dict[str, str] = field(default_factory=dict)

    def evidence(self, kind: str) -> Evidence:
        """What the effect of a kind on spend rests on; see the rule above."""
        own = self.kinds.get(kind)
        campaigns, whose = decided(own.spend if own else None, self.together.spend)
        decisions = self.decisions.kinds.get(kind) if self.decisions else None
        drawn = decisions.pooled() if decisions else None
        if drawn is None:
            return Evidence(effect=campaigns, campaigns=whose, decisions=None)
        if campaigns is None and own is not None and own.spend.fair:
            # Not to be told from none by itself, but it says how large the effect may be.
            campaigns, whose = own.spend.effect, "own"
        if campaigns is None or drawn.contradicts(campaigns):
            return Evidence(
                effect=drawn,
                campaigns="",
                decisions=decisions,
                contradicted=campaigns is not None,
            )
        return Evidence(effect=campaigns.with_evidence(drawn), campaigns=whose, decisions=decisions)

    def estimate(
        self, kind: str, past: CustomerPast, contacts: Iterable[Contact] = ()
    ) -> EffectEstimate:
        """What an offer of this kind would change for a customer.

        Args:
            kind: an offer's `effect_group`, or its id where it names none; one that was never
                tried counts as all kinds together.
            past: the customer's, as of now.
            contacts: the customer's earlier contacts.
        """
        features = effect_features([past], [list(contacts)], kind, self.origin.window_days)
        own = self.kinds.get(kind)
        evidence = self.evidence(kind)
        spend = evidence.effect if evidence.measured else None
        churn, whose_churn = decided(own.churn if own else None, self.together.churn)
        departure = 0.0
        if self.slopes is not None and spend is not None and evidence.campaigns:
            departure = float(self.slopes.departures(features)[0])
        low, high = (
            _interval(own.spend if own else None, self.together.spend, evidence.campaigns)
            if evidence.effect is None
            else (evidence.effect.low, evidence.effect.high)
        )
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
            basis=self._basis(kind, evidence),
        )

    def _basis(self, kind: str, evidence: Evidence) -> str:
        counted = f"{_count(self._studied(kind), 'campaign')} of this kind"
        over = f"over {self.origin.window_days} days"
        by = f"{over}, by {self.origin.method}"
        if evidence.decisions is not None:
            drawn = f"{_count(evidence.decisions.decisions, 'own decision')} drawn by known chances"
            if not evidence.measured:
                return f"{drawn} show no effect on spend {over}, so none is counted"
            beside = {
                "own": f" and of {counted}",
                "together": " and of the campaigns of all kinds",
                "": "; campaigns say otherwise and do not count" if evidence.contradicted else "",
            }
            return f"effect {over} of {drawn}{beside[evidence.campaigns]}; shrunk"
        if evidence.campaigns == "own":
            looked = f"kinds looked at: {len(self.kinds)}; nobody was kept out at random"
            return f"effect of {counted} {by}, shrunk; {looked}"
        if evidence.campaigns == "together":
            return f"effect of all kinds together {by}, shrunk; {counted} showed none of its own"
        return f"no effect on spend was measured {by} ({counted}), so none is counted"

    def _studied(self, kind: str) -> int:
        """Campaigns of a kind that could be studied."""
        own = self.kinds.get(kind)
        return 0 if own is None or own.spend.effect is None else own.spend.effect.campaigns

    def with_decisions(self, decisions: OwnDecisions | None) -> "OfferEffects":
        """The same with what the shop's own decisions say, and what each kind then rests on."""
        joined = replace(self, decisions=decisions)
        kinds = sorted({*self.kinds, *(decisions.kinds if decisions else ())})
        return replace(joined, rests_on={kind: joined._in_words(kind) for kind in kinds})

    def _in_words(self, kind: str) -> str:
        """Which evidence the effect of a kind rests on."""
        evidence = self.evidence(kind)
        campaigns = {
            "own": f"{_count(self._studied(kind), 'campaign')} (observational)",
            "together": "the campaigns of all kinds (observational)",
            "": "",
        }[evidence.campaigns]
        if evidence.decisions is not None:
            n = f"own explored decisions (randomised, n = {evidence.decisions.decisions:,})"
            if evidence.contradicted:
                return f"{n} alone; campaigns (observational) contradict them and do not count"
            return f"{n} and {campaigns}, by precision" if campaigns else f"{n} alone"
        found = self.decisions.kinds.get(kind) if self.decisions else None
        few = (
            f"; own explored decisions are too few to tell (randomised, {found.offered:,} with it "
            f"and {found.without:,} without; {FEWEST} of each are needed) and change nothing"
            if found is not None
            else ""
        )
        return (campaigns or "nothing, so no effect is counted") + few


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}" if number == 1 else f"{number:,} {what}s"


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
