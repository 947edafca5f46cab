"""The agent: predict, recommend, offer, talk, observe and learn what was liked.

Rules decide; the model only words facts. Whom the viewer may see is checked by code in every
method, from the identity bound when the agent was opened.
"""

import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Self

from agent import facts
from agent.answers import (
    Answer,
    CustomerCard,
    Intent,
    Prediction,
    RecentOrder,
    Recommendations,
)
from agent.facts import Fact
from agent.ledger import Claim, Turn
from agent.offer_choice import NoOffer, OfferDecision
from agent.offer_customers import offer_customer
from agent.offer_file import shop_offers
from agent.offer_rules import RuleLine
from agent.offering import Offering
from agent.offers import OfferCustomer
from agent.resources import KnownCustomer, Resources, Snapshot
from agent.stream import Finished, Offered, Predicted, Recommended, Said, StreamEvent, Understood
from agent.understanding import Turn as Request
from agent.understanding import matching_categories, understand
from agent.viewer import Viewer
from agent.writer import REPLACED, WRITTEN, write_sentences
from finetune.day_one_predictor import DayOnePredictor
from finetune.drivers import can_explain
from finetune.predictors import adapter_id_of, average_risk, basis_of
from finetune.scoring import Score, score_all
from retrieval.arranging import Judge
from retrieval.errors import UnknownCustomerError
from retrieval.events import Event
from retrieval.evidence import Evidence
from retrieval.filters import Filters
from retrieval.ingest import append_event
from retrieval.progress import Progress, no_progress
from retrieval.purchases import Purchase, purchases_of
from retrieval.ranking import Recommendation, RecommendContext, Selection, recommend
from retrieval.shop import ChurnDefinition, Shop
from retrieval.time_split import present
from retrieval.words import mentions

_RECENT_ORDERS = 8
_EVIDENCE_ORDERS = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class _Talk:
    """What a turn refers back to: who was spoken of, and what they were shown."""

    customer_id: str | None = None
    items: tuple[Recommendation, ...] = ()

    def shown_to(self, customer_id: str) -> tuple[Recommendation, ...]:
        """Items shown for this customer; those of another are not meant."""
        return self.items if customer_id == self.customer_id else ()


class Agent:
    """Patron for one viewer of one shop.

    Open it with `Agent.open(directory)`. Agents of other viewers, made by `for_viewer`, share its
    models and index. Safe to use from several threads.
    """

    def __init__(self, resources: Resources, viewer: Viewer) -> None:
        self.viewer = viewer
        self._resources = resources
        self._offering = Offering(resources)
        self._talks: dict[str, _Talk] = {}

    @classmethod
    def open(
        cls,
        directory: str | Path,
        *,
        viewer: Viewer | None = None,
        progress: Progress = no_progress,
    ) -> Self:
        """Open a shop for a viewer; for the desk where none is given.

        Raises:
            ShopError: there is no shop in the directory.
        """
        return cls(Resources(Shop.open(directory), progress), viewer or Viewer.desk())

    def for_viewer(self, viewer: Viewer) -> "Agent":
        """An agent of another viewer, on the same shop and models."""
        return Agent(self._resources, viewer)

    @property
    def shop(self) -> Shop:
        """The shop."""
        return self._resources.shop

    def warm_up(self) -> None:
        """Load index, adapter and models now rather than with the first answer."""
        self._resources.snapshot()
        predictor = self._resources.predictor()
        if isinstance(predictor, DayOnePredictor):
            predictor.fit(present(self.shop))
        self._resources.embedder.embed(["ready"])
        if self._resources.chat_model is not None:
            self._resources.chat_model.write("Ready.")

    def customers(self, contains: str = "", limit: int = 50) -> list[str]:
        """Ids of customers with an order, best customers first.

        Args:
            contains: only ids that hold this text.
            limit: how many at most.

        Raises:
            AccessError: the viewer is a shopper.
        """
        self.viewer.check_desk("The list of customers")
        rows = self.shop.log.query(
            "SELECT customer_id FROM events WHERE kind = 'purchase' "
            "AND contains(customer_id, $part) GROUP BY customer_id "
            "ORDER BY sum(amount) DESC, customer_id LIMIT $limit",
            {"part": contains, "limit": limit},
        )
        return [row["customer_id"] for row in rows.to_pylist()]

    def categories(self) -> tuple[str, ...]:
        """The catalogue's categories, sorted."""
        return self._resources.snapshot().catalogue.categories

    def predict(
        self, customer_id: str, *, as_of: datetime | None = None, explained: bool = False
    ) -> Prediction:
        """Value tier, churn risk, expected spend, LTV and stage of one customer.

        Args:
            customer_id: whom.
            as_of: only what happened before it is read; the log's end where None.
            explained: whether to compute what moved it, which takes about as many passes as the
                history has lines.

        Raises:
            AccessError: the viewer may not see it.
            UnknownCustomerError: the customer has no order.
            AdapterError: the shop's adapter is damaged or does not fit.
            TrainingError: the shop has no adapter, and nobody has been a customer for a day.
        """
        self.viewer.check_may_see(customer_id)
        self.viewer.check_desk("A prediction")
        snapshot = self._resources.snapshot()
        known = self._resources.customer(snapshot, customer_id, as_of)
        prediction = self._predict(snapshot, known)
        return self._explained(known, prediction) if explained else prediction

    def recommend(
        self,
        customer_id: str | None,
        *,
        count: int = 5,
        filters: Filters | None = None,
        conversation_id: str | None = None,
        with_offer: bool = True,
    ) -> Recommendations:
        """Items for a customer, each with its reason and evidence, and the offer that fits.

        Args:
            customer_id: for whom; None for somebody new whom the log does not know.
            count: how many items at most.
            filters: what every item must respect; where nothing fits they are loosened, and
                `notes` says how.
            conversation_id: where the items are shown, so that "why the second?" means them.
            with_offer: whether to choose an offer too, which takes a prediction.

        Raises:
            AccessError: the viewer may not see the customer.
            UnknownCustomerError: the desk names a customer who is not in the log.
        """
        if customer_id is None:
            self.viewer.check_desk("A recommendation for somebody new")
        else:
            self.viewer.check_may_see(customer_id)
        snapshot = self._resources.snapshot()
        purchases = self._bought(customer_id)
        found = self._recommend(snapshot, customer_id, purchases, count, filters or Filters())
        if conversation_id is not None and customer_id is not None:
            self._talks[conversation_id] = _Talk(customer_id=customer_id, items=found.items)
        offer: OfferDecision | NoOffer | None = None
        if with_offer and customer_id is None:
            offer = NoOffer(
                reason="An offer needs a customer to give it to.", rule=None, considered={}
            )
        elif with_offer and customer_id is not None:
            offer = self._make_offer(snapshot, customer_id)
        return Recommendations(
            customer_id=customer_id,
            items=found.items,
            offer=offer,
            currency=self.shop.settings.currency,
            notes=found.notes,
        )

    def offer(self, customer_id: str) -> OfferDecision | NoOffer:
        """The offer that the rules choose for a customer, or why there is none.

        The choice is logged as made. Somebody without an order may have an offer for a first one.

        Raises:
            AccessError: the viewer may not see the customer.
            UnknownCustomerError: the desk names a customer who is not in the log.
        """
        self.viewer.check_may_see(customer_id)
        return self._make_offer(self._resources.snapshot(), customer_id)

    def check_offers(self, customer_id: str) -> Mapping[str, tuple[RuleLine, ...]]:
        """Every rule of every offer for a customer, by offer id; nothing is made or logged.

        Raises:
            AccessError: the viewer is a shopper.
        """
        self.viewer.check_desk("Checking offers")
        purchases = purchases_of(self.shop.log, customer_id, present(self.shop))
        return self._decide_offer(self._resources.snapshot(), customer_id, purchases).considered

    def accept_offer(
        self, customer_id: str, offer_id: str, *, idempotency_key: str | None = None
    ) -> Claim:
        """Take an offer for a customer: the rules are asked again, then the ledger is written.

        Args:
            customer_id: who takes it.
            offer_id: which; it must pass every rule now.
            idempotency_key: names the request, so that repeating it has one effect.

        Raises:
            AccessError: the viewer may not act for the customer, or a rule forbids the offer.
            LedgerError: a cap or budget forbids it, or the key was used for another request.
            UnknownCustomerError: the desk names a customer who is not in the log.
        """
        self.viewer.check_may_see(customer_id)
        snapshot = self._resources.snapshot()
        return self._offering.accept(
            snapshot,
            self._decide_offer(snapshot, customer_id, self._bought(customer_id)),
            customer_id,
            offer_id,
            idempotency_key=idempotency_key or uuid.uuid4().hex,
            viewer=self.viewer,
        )

    def claims(self, customer_id: str) -> tuple[Claim, ...]:
        """Offers that a customer took, oldest first, and what became of each.

        Raises:
            AccessError: the viewer may not see the customer.
        """
        self.viewer.check_may_see(customer_id)
        return self._resources.ledger.claims(customer_id)

    def redeem_offer(
        self,
        claim_id: str,
        *,
        order_id: str,
        order_total: int,
        covered_total: int,
        idempotency_key: str | None = None,
    ) -> Claim:
        """Book what a taken offer takes off an order, by its own terms.

        Args:
            claim_id: of the taken offer.
            order_id: the order.
            order_total: the whole order before the discount, minor units.
            covered_total: the part of it that the offer covers, minor units.
            idempotency_key: names the request, so that repeating it has one effect.

        Raises:
            AccessError: the viewer is a shopper.
            OfferError: the offer takes nothing off this order.
            LedgerError: there is no such claim, or it is not open.
        """
        self.viewer.check_desk("Redeeming an offer")
        return self._offering.redeem(
            shop_offers(self.shop),
            claim_id,
            order_id=order_id,
            order_total=order_total,
            covered_total=covered_total,
            idempotency_key=idempotency_key or uuid.uuid4().hex,
            viewer=self.viewer,
        )

    def reverse_offer(
        self, claim_id: str, *, reason: str, idempotency_key: str | None = None
    ) -> Claim:
        """Take a taken or redeemed offer back, as when the order is returned.

        Raises:
            AccessError: the viewer is a shopper.
            LedgerError: there is no such claim, or it was given back already.
        """
        self.viewer.check_desk("Taking an offer back")
        return self._offering.reverse(
            claim_id,
            reason=reason,
            idempotency_key=idempotency_key or uuid.uuid4().hex,
            viewer=self.viewer,
        )

    def ask(
        self, text: str, *, customer_id: str | None = None, conversation_id: str | None = None
    ) -> Answer:
        """Answer one turn.

        Args:
            text: the question.
            customer_id: about whom; the desk may name the customer in the text instead. A
                shopper's is always their own.
            conversation_id: turns of one conversation refer to one another; a new one where None.
        """
        conversation = conversation_id or f"ask-{uuid.uuid4().hex}"
        for event in self.chat(text, customer_id=customer_id, conversation_id=conversation):
            if isinstance(event, Finished):
                return event.answer
        raise AssertionError("chat ends with Finished")

    def chat(
        self, text: str, *, customer_id: str | None = None, conversation_id: str
    ) -> Iterator[StreamEvent]:
        """Answer one turn as a stream of typed events; the last is `Finished`.

        Args:
            text: the question; data, never an instruction about access or money.
            customer_id: about whom.
            conversation_id: turns of one conversation refer to one another.

        Raises:
            AccessError: the conversation is somebody else's.
            UnknownCustomerError: nobody is named, or nobody by that name.
        """
        self.turns(conversation_id, limit=1)  # refuses another login's conversation
        request = understand(text, self.shop.settings.currency)
        talk = self._talks.get(conversation_id, _Talk())
        subject = self._subject(request, customer_id, talk)
        if self._asks_about_others(request):
            yield from self._refuse(text, subject, conversation_id)
            return
        yield Understood(intent=request.intent, customer_id=subject)
        collected = _Collected()
        said: list[Said] = []
        for fact_or_event in self._act(request, subject, talk, collected):
            if isinstance(fact_or_event, Fact):
                collected.evidence.extend(fact_or_event.evidence)
                for sentence in write_sentences(
                    [fact_or_event], self._resources.chat_model, self._resources.ledger
                ):
                    said.append(sentence)
                    yield sentence
            else:
                yield fact_or_event
        answer = self._answer(request.intent, subject, said, collected)
        self._remember(conversation_id, text, answer, collected)
        yield Finished(answer=answer)

    def observe(self, event: Event) -> bool:
        """Take a new event: it is in the log, the history and the next answer at once.

        Returns:
            Whether it was new; the same event again changes nothing.

        Raises:
            AccessError: the viewer is a shopper.
            IngestError: a field of the event is wrong.
        """
        self.viewer.check_desk("Recording events")
        return append_event(self.shop, event)

    def feedback(self, customer_id: str, item_id: str, *, liked: bool) -> None:
        """Remember whether a customer liked an item; disliked items are not shown again.

        Raises:
            AccessError: the viewer may not speak for the customer.
        """
        self.viewer.check_may_see(customer_id)
        self._resources.ledger.add_feedback(customer_id, item_id, liked=liked, at=datetime.now(UTC))

    def card(self, customer_id: str, *, explained: bool = False) -> CustomerCard:
        """Who a customer is, at a glance; without the shop's scores for a shopper.

        Args:
            customer_id: whom.
            explained: whether to compute, for the desk, what moved the prediction.

        Raises:
            AccessError: the viewer may not see the customer.
            UnknownCustomerError: the customer has no order.
        """
        self.viewer.check_may_see(customer_id)
        snapshot = self._resources.snapshot()
        known = self._resources.customer(snapshot, customer_id)
        past = known.past
        desk = self.viewer.is_desk
        prediction = self._predict(snapshot, known) if desk else None
        if prediction is not None and explained:
            prediction = self._explained(known, prediction)
        return CustomerCard(
            customer_id=customer_id,
            as_of=past.as_of,
            currency=self.shop.settings.currency,
            first_order=past.first.date(),
            last_order=past.last.date(),
            orders=len(past.orders),
            spend=past.spend,
            recent_orders=tuple(
                RecentOrder(
                    order_id=order.order_id,
                    day=order.timestamp.date(),
                    amount=order.amount,
                    item_count=order.item_count,
                    titles=tuple(snapshot.catalogue.title(i) for i in order.top_items),
                )
                for order in reversed(past.orders[-_RECENT_ORDERS:])
            ),
            monthly_spend=_monthly_spend(known),
            history=known.history.text if desk else "",
            prediction=prediction,
            similar_left=self._resources.similar_left(snapshot, known) if desk else None,
        )

    def turns(self, conversation_id: str, limit: int = 50) -> list[Turn]:
        """What was said in a conversation of this login, oldest first."""
        return self._resources.ledger.turns(conversation_id, limit, login=self.viewer.login)

    def writing_counts(self) -> tuple[int, int]:
        """Sentences the model has written in this shop, and how many of them were replaced."""
        counts = self._resources.ledger.counts()
        return counts.get(WRITTEN, 0), counts.get(REPLACED, 0)

    def _subject(self, request: Request, customer_id: str | None, talk: _Talk) -> str | None:
        """About whom the turn is; for a shopper always themselves."""
        if not self.viewer.is_desk:
            return self.viewer.customer_id
        named = self._named(request)
        if request.intent is Intent.COMPARE and len(named) < 2:
            return customer_id or talk.customer_id or next(iter(named), None)
        return next(iter(named), None) or customer_id or talk.customer_id

    def _named(self, request: Request) -> list[str]:
        """Customers the desk's turn names: every id with a digit, other words if they are ids."""
        words = [name for name in request.possible_ids if name not in request.customer_ids]
        return [*request.customer_ids, *(n for n in words if self.shop.log.has_customer(n))]

    def _asks_about_others(self, request: Request) -> bool:
        if self.viewer.is_desk:
            return False
        others = [name for name in request.customer_ids if name != self.viewer.customer_id]
        return bool(others) or request.intent is Intent.COMPARE

    def _refuse(
        self, text: str, subject: str | None, conversation_id: str
    ) -> Iterator[StreamEvent]:
        yield Understood(intent=Intent.REFUSED, customer_id=subject)
        said = Said(
            sentence="I can only speak with you about your own account, not about anybody else.",
            written=False,
            replaced=False,
        )
        yield said
        collected = _Collected()
        answer = self._answer(Intent.REFUSED, subject, [said], collected)
        self._remember(conversation_id, text, answer, collected)
        yield Finished(answer=answer)

    def _act(
        self, request: Request, subject: str | None, talk: _Talk, collected: "_Collected"
    ) -> Iterator[Fact | StreamEvent]:
        """Do what is asked with the tools, giving facts to say and events to show."""
        if request.intent in (Intent.THANKS, Intent.HELP):
            yield (
                facts.thanks()
                if request.intent is Intent.THANKS
                else facts.help_text(to_customer=not self.viewer.is_desk)
            )
            return
        if subject is None:
            raise UnknownCustomerError(
                "Which customer do you mean?",
                hint="Pick a customer, or name one in the question: who is customer 1?",
            )
        snapshot = self._resources.snapshot()
        match request.intent:
            case Intent.RECOMMEND:
                yield from self._say_recommendations(request, snapshot, subject, collected)
                return
            case Intent.LIKE | Intent.DISLIKE:
                yield from self._take_feedback(request, subject, talk)
                return
            case Intent.WHY_ITEM:
                yield from self._say_why(request, snapshot, subject, talk, collected)
                return
            case Intent.OFFER:
                yield from self._say_offer(snapshot, subject, collected)
                return
        if not self.viewer.is_desk and not self._bought(subject):
            yield facts.set_phrase("You have no orders here yet; ask me for a recommendation.")
            return
        known = self._resources.customer(snapshot, subject)
        match request.intent:
            case Intent.CHURN | Intent.VALUE:
                yield from self._say_prediction(request.intent, snapshot, known, collected)
            case Intent.COMPARE:
                yield from self._say_comparison(request, snapshot, known, collected)
            case _:
                yield from self._say_who(snapshot, known, collected)

    def _say_who(
        self, snapshot: Snapshot, known: KnownCustomer, collected: "_Collected"
    ) -> Iterator[Fact | StreamEvent]:
        currency, shopper = self.shop.settings.currency, not self.viewer.is_desk
        yield from facts.who_facts(known.past, currency, to_customer=shopper)
        yield from facts.favourite_fact(known.past, snapshot.catalogue, to_customer=shopper)
        if not shopper:
            prediction = self._predict(snapshot, known)
            yield from collected.predicted(prediction)
            yield facts.stage_fact(prediction)
            yield from facts.basis_facts(prediction)

    def _say_prediction(
        self, intent: Intent, snapshot: Snapshot, known: KnownCustomer, collected: "_Collected"
    ) -> Iterator[Fact | StreamEvent]:
        if not self.viewer.is_desk:
            yield from self._say_who(snapshot, known, collected)
            return
        prediction = self._predict(snapshot, known)
        yield from collected.predicted(prediction)
        if intent is Intent.CHURN:
            yield from facts.churn_facts(
                known.past,
                prediction,
                average_risk(self._resources.predictor(), known.past.as_of),
                self._resources.similar_left(snapshot, known),
            )
            yield from facts.basis_facts(prediction)
            # Last, for it takes longest: what is said before it need not wait.
            explained = self._explained(known, prediction)
            yield from collected.predicted(explained)
            yield from facts.driver_facts(explained)
        else:
            value = self.shop.settings.value
            yield from facts.value_facts(prediction, value.ltv_days, value.discount_rate)
            yield from facts.basis_facts(prediction)

    def _say_comparison(
        self,
        request: Request,
        snapshot: Snapshot,
        known: KnownCustomer,
        collected: "_Collected",
    ) -> Iterator[Fact | StreamEvent]:
        others = [name for name in self._named(request) if name != known.past.customer_id]
        if not others:
            yield facts.set_phrase("Name the two customers to compare, such as: compare 1 and 2.")
            return
        first = self._predict(snapshot, known)
        second = self._predict(snapshot, self._resources.customer(snapshot, others[0]))
        yield from collected.predicted(first)
        yield from facts.compare_facts(first, second)
        yield from facts.basis_facts(first)

    def _say_offer(
        self, snapshot: Snapshot, customer_id: str, collected: "_Collected"
    ) -> Iterator[Fact | StreamEvent]:
        offer = self._make_offer(snapshot, customer_id)
        yield from collected.offered(offer)
        yield from facts.offer_facts(
            offer, self.shop.settings.currency, to_customer=not self.viewer.is_desk
        )
        if self.viewer.is_desk and self._bought(customer_id):
            basis = basis_of(self._resources.predictor(), present(self.shop))
            yield from facts.offer_basis_facts(basis)

    def _say_recommendations(
        self,
        request: Request,
        snapshot: Snapshot,
        customer_id: str,
        collected: "_Collected",
    ) -> Iterator[Fact | StreamEvent]:
        filters, note = self._filters(request, snapshot)
        purchases = self._bought(customer_id)
        found = self._recommend(snapshot, customer_id, purchases, 5, filters)
        if note:
            yield note
        for given_up in found.notes:
            yield facts.given_up_fact(given_up)
        yield from collected.recommended(found.items)
        yield from facts.recommendation_facts(
            found.items, to_customer=not self.viewer.is_desk, customer_id=customer_id
        )
        offer = self._make_offer(snapshot, customer_id)
        if purchases or isinstance(offer, OfferDecision):
            yield from collected.offered(offer)

    def _say_why(
        self,
        request: Request,
        snapshot: Snapshot,
        customer_id: str,
        talk: _Talk,
        collected: "_Collected",
    ) -> Iterator[Fact | StreamEvent]:
        items = talk.shown_to(customer_id)
        if not items:
            purchases = self._bought(customer_id)
            items = self._recommend(snapshot, customer_id, purchases, 5, Filters()).items
            collected.shown = items
        if not items:
            yield from facts.recommendation_facts(
                items, to_customer=not self.viewer.is_desk, customer_id=customer_id
            )
            return
        item = _meant(items, request.position)
        if item is None:
            yield facts.out_of_range(len(items))
            return
        collected.about((item,))
        yield Recommended(items=(item,))
        yield facts.why_fact(item)

    def _take_feedback(
        self, request: Request, subject: str, talk: _Talk
    ) -> Iterator[Fact | StreamEvent]:
        items = talk.shown_to(subject)
        if not items:
            yield facts.set_phrase("I have not shown an item yet; ask me for a recommendation.")
            return
        item = _meant(items, request.position)
        if item is None:
            yield facts.out_of_range(len(items))
            return
        liked = request.intent is Intent.LIKE
        self.feedback(subject, item.item_id, liked=liked)
        yield facts.feedback_fact(item, liked=liked)

    def _filters(self, request: Request, snapshot: Snapshot) -> tuple[Filters, Fact | None]:
        """What the turn asks for as filters, and what has to be said about them."""
        catalogue, wanted = snapshot.catalogue, request.wanted
        categories = matching_categories(wanted, catalogue.categories)
        words: tuple[str, ...] = ()
        note = None
        if wanted and not categories:
            if any(
                all(mentions(item.text, word) for word in wanted)
                for item in catalogue.items.values()
            ):
                words = wanted
            else:
                categories = self._nearest_categories(snapshot, " ".join(wanted))
                note = facts.nearest_categories_fact(sorted(categories))
        return (
            Filters(
                categories=categories,
                min_price=request.min_price,
                max_price=request.max_price,
                words=words,
                exclude_words=request.excluded,
                new_only=request.new_only,
            ),
            note,
        )

    def _nearest_categories(self, snapshot: Snapshot, wanted: str) -> frozenset[str]:
        vector = self._resources.embedder.embed([wanted])[0]
        texts = snapshot.generation.vectors.nearest_items(vector, 8)
        known = snapshot.catalogue.items
        found = [
            known[item_id].category
            for text in texts
            for item_id in snapshot.assortment.with_text(text.id)[:1]
            if item_id in known
        ]
        return frozenset(category for category in found[:3] if category)

    def _predict(self, snapshot: Snapshot, known: KnownCustomer) -> Prediction:
        predictor = self._resources.predictor()
        settings = self.shop.settings
        score = score_all(predictor, [known.past], [known.history], settings)[0]
        return _prediction(
            score,
            known,
            shop=self.shop,
            tiers=settings.value.tiers,
            adapter_id=adapter_id_of(predictor),
            orders=facts.order_records(
                self._purchases(known), snapshot.catalogue, _EVIDENCE_ORDERS
            ),
        )

    def _explained(self, known: KnownCustomer, prediction: Prediction) -> Prediction:
        """The prediction with what moved it, where its adapter can tell."""
        predictor = self._resources.predictor()
        if adapter_id_of(predictor) != prediction.adapter_id or not can_explain(predictor):
            return prediction
        return replace(prediction, drivers=self._resources.drivers(predictor, known))

    def _recommend(
        self,
        snapshot: Snapshot,
        customer_id: str | None,
        purchases: list[Purchase],
        count: int,
        filters: Filters,
    ) -> Selection:
        opinions = {} if customer_id is None else self._resources.ledger.feedback(customer_id)
        context = RecommendContext(
            recommender=snapshot.generation.recommender,
            assortment=snapshot.assortment,
            catalogue=snapshot.catalogue,
            purchases=purchases,
            as_of=present(self.shop),
            currency=self.shop.settings.currency,
        )
        return recommend(
            context,
            count=count,
            filters=filters,
            disliked=frozenset(item for item, liked in opinions.items() if not liked),
            judge=self._judge(snapshot, customer_id, purchases),
        )

    def _judge(
        self, snapshot: Snapshot, customer_id: str | None, purchases: list[Purchase]
    ) -> Judge | None:
        """The language model's judgement by the customer's history, where the shop wants it."""
        if not self.shop.settings.recommend.language_model or customer_id is None or not purchases:
            return None
        history = self._resources.customer(snapshot, customer_id).history.text
        return lambda titles: self._resources.item_judge.judge(history, titles)

    def _bought(self, customer_id: str | None) -> list[Purchase]:
        """What somebody bought; nothing for somebody new.

        Raises:
            UnknownCustomerError: the desk names a customer who is not in the log.
        """
        if customer_id is None:
            return []
        purchases = purchases_of(self.shop.log, customer_id, present(self.shop))
        if not purchases and self.viewer.is_desk and not self.shop.log.has_customer(customer_id):
            raise UnknownCustomerError(
                f"There is no customer '{customer_id}' in the log.",
                hint="Check the id; for somebody new use: patron recommend --new-customer",
            )
        return purchases

    def _make_offer(self, snapshot: Snapshot, customer_id: str) -> OfferDecision | NoOffer:
        decision = self._decide_offer(snapshot, customer_id, self._bought(customer_id))
        self._offering.made(customer_id, decision, self.viewer)
        return decision

    def _decide_offer(
        self, snapshot: Snapshot, customer_id: str, purchases: list[Purchase]
    ) -> OfferDecision | NoOffer:
        if not purchases:
            return self._offering.decide(snapshot, OfferCustomer(customer_id=customer_id), None)
        known = self._resources.customer(snapshot, customer_id)
        prediction = self._predict(snapshot, known)
        customer = offer_customer(
            customer_id,
            ((purchase.order_id, purchase.item_id) for purchase in purchases),
            snapshot.catalogue,
            value_tier=prediction.value_tier,
            churn_risk=prediction.churn_risk,
            stage=prediction.stage.value,
            expected_spend=prediction.expected_spend,
        )
        return self._offering.decide(snapshot, customer, known.past)

    def _purchases(self, known: KnownCustomer) -> list[Purchase]:
        return purchases_of(self.shop.log, known.past.customer_id, known.past.as_of)

    def _answer(
        self, intent: Intent, subject: str | None, said: list[Said], collected: "_Collected"
    ) -> Answer:
        return Answer(
            text=" ".join(sentence.sentence for sentence in said),
            intent=intent,
            customer_id=subject,
            items=collected.items,
            offer=collected.offer,
            prediction=collected.prediction,
            evidence=tuple(dict.fromkeys(collected.evidence)),
            replaced_sentences=sum(sentence.replaced for sentence in said),
            written_sentences=sum(sentence.written for sentence in said),
            currency=self.shop.settings.currency,
        )

    def _remember(
        self, conversation_id: str, text: str, answer: Answer, collected: "_Collected"
    ) -> None:
        before = self._talks.get(conversation_id, _Talk())
        kept = before.shown_to(answer.customer_id) if answer.customer_id else ()
        self._talks[conversation_id] = _Talk(
            customer_id=answer.customer_id or before.customer_id,
            items=collected.shown or kept,
        )
        now = datetime.now(UTC)
        for role, words in (("user", text), ("assistant", answer.text)):
            self._resources.ledger.add_turn(
                Turn(
                    conversation_id=conversation_id,
                    login=self.viewer.login,
                    customer_id=answer.customer_id or "",
                    role="user" if role == "user" else "assistant",
                    text=words[:4_000],
                    at=now,
                )
            )


class _Collected:
    """What an answer gathers on the way."""

    def __init__(self) -> None:
        self.items: tuple[Recommendation, ...] = ()
        self.shown: tuple[Recommendation, ...] = ()
        self.offer: OfferDecision | NoOffer | None = None
        self.prediction: Prediction | None = None
        self.evidence: list[Evidence] = []

    def predicted(self, prediction: Prediction) -> Iterator[StreamEvent]:
        self.prediction = prediction
        self.evidence.extend(facts.prediction_evidence(prediction))
        yield Predicted(prediction=prediction)

    def recommended(self, items: tuple[Recommendation, ...]) -> Iterator[StreamEvent]:
        self.about(items)
        self.shown = items
        yield Recommended(items=items)

    def about(self, items: tuple[Recommendation, ...]) -> None:
        """Take items into the answer, with their evidence."""
        self.items = items
        self.evidence.extend(record for item in items for record in item.evidence)

    def offered(self, offer: OfferDecision | NoOffer) -> Iterator[StreamEvent]:
        self.offer = offer
        yield Offered(offer=offer)


def _meant(items: tuple[Recommendation, ...], position: int | None) -> Recommendation | None:
    """The item a turn means: the first where it names none, None where there are fewer."""
    index = position if position is not None else 0
    return items[index] if -len(items) <= index < len(items) else None


def _monthly_spend(known: KnownCustomer) -> tuple[tuple[date, int], ...]:
    """Spend by calendar month from the first order to now, empty months included."""
    spend: dict[tuple[int, int], int] = {}
    for order in known.past.orders:
        key = (order.timestamp.year, order.timestamp.month)
        spend[key] = spend.get(key, 0) + order.amount
    year, month = known.past.first.year, known.past.first.month
    months = []
    while (year, month) <= (known.past.as_of.year, known.past.as_of.month):
        months.append((date(year, month, 1), spend.get((year, month), 0)))
        year, month = (year + 1, 1) if month == 12 else (year, month + 1)
    return tuple(months)


def _prediction(
    score: Score,
    known: KnownCustomer,
    *,
    shop: Shop,
    tiers: tuple[str, ...],
    adapter_id: str,
    orders: tuple[Evidence, ...],
) -> Prediction:
    horizon = shop.settings.churn.horizon_days
    history = Evidence(
        id=f"history:{score.customer_id}", text=known.history.text.replace("\n", " ")
    )
    return Prediction(
        customer_id=score.customer_id,
        as_of=known.past.as_of,
        value_tier=tiers[score.tier],
        tier_probabilities={
            tier: round(p, 4) for tier, p in zip(tiers, score.tier_probabilities, strict=True)
        },
        churn_risk=round(score.churn_risk, 4),
        churn_definition=churn_in_words(shop.settings.churn.definition, horizon),
        horizon_days=horizon,
        expected_spend=score.expected_spend,
        expected_spend_low=score.expected_spend_low,
        expected_spend_high=score.expected_spend_high,
        expected_spend_coverage=score.expected_spend_coverage,
        season=score.season,
        basis=score.basis,
        ltv=score.ltv,
        currency=shop.settings.currency,
        stage=score.stage,
        adapter_id=adapter_id,
        evidence=(history, *orders),
    )


def churn_in_words(definition: ChurnDefinition, horizon_days: int) -> str:
    """What churn means in this shop."""
    if definition is ChurnDefinition.INACTIVE:
        return f"no purchase in the next {horizon_days} days"
    return f"spend under half of the usual in the next {horizon_days} days"
