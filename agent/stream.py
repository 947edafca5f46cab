"""Typed events of a streamed answer, in the order in which they come."""

from dataclasses import dataclass

from agent.answers import Answer, Intent, Prediction
from agent.offer_choice import NoOffer, OfferDecision
from retrieval.ranking import Recommendation


@dataclass(frozen=True, slots=True, kw_only=True)
class Understood:
    """What the turn asks for, and about whom."""

    intent: Intent
    customer_id: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Predicted:
    """A prediction was made for the answer; it comes again once what moved it is computed."""

    prediction: Prediction


@dataclass(frozen=True, slots=True, kw_only=True)
class Recommended:
    """Items were chosen for the answer."""

    items: tuple[Recommendation, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Offered:
    """The rules were asked for an offer."""

    offer: OfferDecision | NoOffer


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """One checked sentence. It may be shown at once and is never taken back.

    Attributes:
        written: whether the model was asked to word it.
        replaced: whether the model's own sentence failed its check and these are the plain facts.
    """

    sentence: str
    written: bool
    replaced: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """The whole answer; always the last event."""

    answer: Answer


StreamEvent = Understood | Predicted | Recommended | Offered | Said | Finished
