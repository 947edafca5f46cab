"""The page: what the desk and a shopper see, and what happens when they act."""

import functools
import logging
import os
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"

import gradio as gr
from fastapi import FastAPI
from starlette.requests import Request

from agent.agent import Agent
from agent.answers import CustomerCard
from agent.errors import AccessError
from agent.ledger import Turn
from agent.offer_choice import NoOffer, OfferDecision
from agent.stream import Finished, Offered, Recommended, Said, StreamEvent, Understood
from agent.viewer import Role, Viewer
from prompts.errors import PatronError
from retrieval.errors import UnknownCustomerError
from retrieval.money import format_money, minor_digits, to_minor
from retrieval.ranking import Recommendation
from ui import page_cards as cards
from ui.gate import HOME, BrowserOwners, Sessions
from ui.page_text import escape_message, plain_text
from ui.theme import ACCENT, ACCENT_DARK, FONTS, GROUND, ICON, INK, LINE, PAGE_CSS, QUIET, SURFACE
from ui.token_bucket import TokenBuckets

_log = logging.getLogger(__name__)

_SLOTS = 5
_MOST_CUSTOMERS = 50
_MOST_TURNS = 50
_LONGEST_QUESTION = 1000
_SECONDS_BETWEEN_YIELDS = 0.15
_WAITING_LIMIT = 64
_MOST_VIEWERS = 1000
_GENERIC_PROBLEM = "Something went wrong on our side. Please try again in a moment."
_LIKED, _LIKE = "Liked ✓", "Like"
_DISLIKED, _DISLIKE = "Not shown again ✓", "Not for me"
_LIGHT_ONLY = "() => { document.body.classList.remove('dark'); }"
_FILES_LIMIT = "1kb"

Updates = dict[Any, Any]
Steps = Iterator[Updates]


class TooManyTurnsError(PatronError):
    """A login asks faster than the page answers."""

    code = "too_many_turns"


@dataclass(frozen=True, slots=True, kw_only=True)
class _ShownItems:
    """The recommendations on the page, kept by the server."""

    customer_id: str
    item_ids: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _ShownOffer:
    """The offer on the page, kept by the server.

    Attributes:
        key: idempotency key of accepting it; however often it is accepted, it is one claim.
    """

    customer_id: str
    decision: OfferDecision
    key: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Slot:
    """The components of one recommended item."""

    group: Any
    text: Any
    like: Any
    dislike: Any


def mount_page(
    app: FastAPI,
    agent: Agent,
    role: Role,
    *,
    sessions: Sessions,
    owners: BrowserOwners,
    turns: TokenBuckets,
) -> None:
    """Mount a role's page at its home.

    Args:
        app: the application, which lets nobody through without a login.
        agent: of the shop.
        role: whose look.
        sessions: says who a request comes from.
        owners: whose browser sessions are whose.
        turns: limit on each login's questions.
    """

    def login_of(request: Request) -> str | None:
        viewer = sessions.viewer(request)
        return None if viewer is None else viewer.login

    def viewer_of(request: Any) -> Viewer:
        viewer = sessions.viewer_named(request.username)
        if viewer is None or not owners.owns(viewer.login, request.session_hash or ""):
            raise AccessError("You are not logged in.", hint="Log in again.")
        return viewer

    gr.mount_gradio_app(
        app,
        build_page(agent, role, viewer_of=viewer_of, turns=turns),
        path=HOME[role],
        auth_dependency=login_of,
        footer_links=[],
        run_history=False,
        show_error=False,
        enable_monitoring=False,
        ssr_mode=False,
        mcp_server=False,
        pwa=False,
        max_file_size=_FILES_LIMIT,
        allowed_paths=[],
        theme=_theme(),
        css=PAGE_CSS,
        js=_LIGHT_ONLY,
        head=f'<link rel="icon" href="{ICON}">',
    )


def build_page(
    agent: Agent, role: Role, *, viewer_of: Callable[[Any], Viewer], turns: TokenBuckets
) -> gr.Blocks:
    """The page of a role.

    Args:
        agent: of the shop.
        role: the desk's look or a shopper's.
        viewer_of: who sends a request of Gradio's; the one source of identity.
        turns: limit on each login's questions.
    """
    return _Page(agent, role, viewer_of, turns).blocks


class _Page:
    """One role's components, and the handlers that fill them."""

    def __init__(
        self,
        agent: Agent,
        role: Role,
        viewer_of: Callable[[Any], Viewer],
        turns: TokenBuckets,
    ) -> None:
        # An agent remembers what a turn refers back to, so each viewer keeps theirs.
        self._agent_of = functools.lru_cache(maxsize=_MOST_VIEWERS)(agent.for_viewer)
        self._settings = agent.shop.settings
        self._viewer_of = viewer_of
        self._turns = turns
        self._for_desk = role is Role.DESK
        with gr.Blocks(
            title=f"{self._settings.name} - Patron", analytics_enabled=False, fill_width=True
        ) as self.blocks:
            self._customer = gr.State(None)
            self._shown_items = gr.State(None)
            self._shown_offer = gr.State(None)
            self._header = gr.HTML()
            with gr.Row(elem_classes="columns"):
                self._lay_out_customer()
                self._lay_out_talk()
                self._lay_out_picks()
            self._wire()
        self.blocks.queue(max_size=_WAITING_LIMIT, default_concurrency_limit=8)

    # --- layout --------------------------------------------------------------------------------

    def _lay_out_customer(self) -> None:
        with gr.Column(scale=4, min_width=320, elem_classes="column"):
            self._picker = gr.Dropdown(
                label="Customer",
                info="Choose one, or type an id and press Enter",
                choices=[],
                allow_custom_value=True,
                filterable=True,
                visible=self._for_desk,
                elem_id="customer-picker",
            )
            self._page_notice = gr.HTML(elem_id="page-notice", elem_classes="filled", visible=False)
            self._headline = gr.HTML(elem_id="headline", elem_classes="filled", visible=False)
            self._details = gr.HTML(
                elem_id="details", elem_classes=["filled", "later"], visible=False
            )

    def _lay_out_talk(self) -> None:
        with (
            gr.Column(scale=6, min_width=320, elem_classes="column"),
            gr.Column(elem_classes="talk"),
        ):
            self._chat = gr.Chatbot(
                label="Conversation",
                show_label=False,
                height="max(300px, calc(100vh - 424px))",
                sanitize_html=True,
                render_markdown=False,
                allow_tags=False,
                allow_file_downloads=False,
                feedback_options=None,
                buttons=[],
                layout="bubble",
                placeholder=self._placeholder(),
                elem_id="chat",
            )
            with gr.Row(elem_classes="examples"):
                self._examples = [
                    (gr.Button(text, variant="secondary", size="sm"), text)
                    for text in self._example_questions()
                ]
                self._compare = gr.Button(
                    "Compare with …", variant="secondary", size="sm", visible=self._for_desk
                )
            self._chat_notice = gr.HTML(elem_id="chat-notice", elem_classes="filled", visible=False)
            with gr.Row(elem_classes="composer"):
                self._question = gr.Textbox(
                    label="Your question",
                    show_label=False,
                    placeholder="Ask a question",
                    lines=1,
                    max_lines=4,
                    max_length=_LONGEST_QUESTION,
                    scale=5,
                    min_width=160,
                    container=False,
                    elem_id="question",
                )
                self._send = gr.Button(
                    "Send", variant="primary", scale=0, min_width=88, elem_id="send"
                )
            self._writing = gr.HTML(elem_id="writing", elem_classes="filled", visible=False)

    def _lay_out_picks(self) -> None:
        with (
            gr.Column(scale=4, min_width=320, elem_classes="column"),
            gr.Column(elem_classes="side"),
        ):
            self._offer = gr.HTML(elem_id="offer", elem_classes="filled", visible=False)
            self._offer_notice = gr.HTML(
                elem_id="offer-notice", elem_classes="filled", visible=False
            )
            self._accept = gr.Button(
                "Accept for this customer" if self._for_desk else "Accept this offer",
                variant="primary",
                visible=False,
                elem_id="accept",
            )
            self._items_heading = gr.HTML(
                elem_id="items-heading", elem_classes="filled", visible=False
            )
            self._slots = [self._lay_out_slot(number) for number in range(_SLOTS)]

    def _lay_out_slot(self, number: int) -> _Slot:
        with gr.Column(visible=False, elem_classes="pick", elem_id=f"item-{number}") as group:
            text = gr.HTML()
            with gr.Row(elem_classes="judge"):
                like = gr.Button(_LIKE, size="sm", elem_id=f"like-{number}")
                dislike = gr.Button(_DISLIKE, size="sm", elem_id=f"dislike-{number}")
        return _Slot(group=group, text=text, like=like, dislike=dislike)

    def _placeholder(self) -> str:
        if self._for_desk:
            return "Ask about this customer. Every answer is checked against the records."
        return "Ask about your orders, recommendations or offers."

    def _example_questions(self) -> list[str]:
        currency = self._settings.currency
        # Currencies without minor units count in hundreds what others count in ones.
        five = to_minor(Decimal(5 if minor_digits(currency) else 500), currency)
        little = format_money(five, currency).removesuffix(".00")
        if not self._for_desk:
            return [
                "What did I buy lately?",
                "What do you recommend?",
                f"Something under {little}",
                "Is there an offer for me?",
            ]
        return [
            "Who is this customer?",
            "Are they leaving, and why?",
            "What are they worth?",
            f"Recommend something under {little}",
            "What can we offer?",
        ]

    # --- events --------------------------------------------------------------------------------

    def _wire(self) -> None:
        picks = [self._items_heading, self._shown_items, *self._slot_components()]
        offer = [self._offer, self._accept, self._shown_offer, self._offer_notice]
        customer = [self._customer, self._headline, self._details, self._chat]
        notices = [self._page_notice, self._chat_notice]
        whole = [*customer, *offer, *picks, *notices, self._writing]
        asked = [*offer, *picks, self._chat, self._question, self._chat_notice, self._writing]

        loaded = self._on(
            self.blocks.load,
            self._load,
            inputs=[],
            outputs=[self._header, self._picker, *whole],
            notice=self._page_notice,
        )
        picked = self._on(
            self._picker.input,
            self._pick,
            inputs=[self._picker],
            outputs=whole,
            notice=self._page_notice,
        )
        # Drivers come after the picks, for they take longest; another pick does not wait for them,
        # and what they say of the customer before does not overwrite the next one's card.
        explaining = [
            self._on(
                shown.then,
                self._explain,
                inputs=[self._customer],
                outputs=[self._headline, self._page_notice],
                notice=self._page_notice,
            )
            for shown in (loaded, picked)
        ]
        self._picker.input(None, cancels=explaining, api_visibility="private")
        self._on(
            self._picker.key_up,
            self._find,
            inputs=[],
            outputs=[self._picker, self._page_notice],
            notice=self._page_notice,
            trigger_mode="always_last",
        )
        for trigger in (self._question.submit, self._send.click):
            self._on(
                trigger,
                self._ask,
                inputs=[self._question, self._customer],
                outputs=asked,
                notice=self._chat_notice,
            )
        for button, text in self._examples:
            self._on(
                button.click,
                self._asker(text),
                inputs=[self._customer],
                outputs=asked,
                notice=self._chat_notice,
            )
        self._on(
            self._compare.click,
            self._begin_comparison,
            inputs=[],
            outputs=[self._question, self._chat_notice],
            notice=self._chat_notice,
        )
        self._on(
            self._accept.click,
            self._take_offer,
            inputs=[self._shown_offer],
            outputs=offer,
            notice=self._offer_notice,
        )
        for number, slot in enumerate(self._slots):
            for button, liked in ((slot.like, True), (slot.dislike, False)):
                self._on(
                    button.click,
                    self._judge(number, liked=liked),
                    inputs=[self._shown_items],
                    outputs=[slot.like, slot.dislike, self._page_notice],
                    notice=self._page_notice,
                )

    def _on(
        self,
        trigger: Callable[..., Any],
        steps: Callable[..., Steps],
        *,
        inputs: list[Any],
        outputs: list[Any],
        notice: Any,
        trigger_mode: str = "once",
    ) -> Any:
        return trigger(
            _guarded(steps, notice),
            inputs,
            outputs,
            api_visibility="private",
            show_progress="hidden",
            trigger_mode=trigger_mode,
        )

    # --- handlers; each asks anew who sends the request ------------------------------------------

    def _load(self, request: gr.Request) -> Steps:
        viewer = self._viewer_of(request)
        yield {self._header: cards.header_html(self._settings.name, viewer)}
        if not viewer.is_desk:
            yield from self._show_customer(viewer, viewer.customer_id)
            return
        known = self._agent_of(viewer).customers(limit=_MOST_CUSTOMERS)
        first = known[0] if known else None
        yield {self._picker: gr.update(choices=known, value=first)}
        yield from self._show_customer(viewer, first)

    def _pick(self, picked: str | None, request: gr.Request) -> Steps:
        viewer = self._viewer_of(request)
        yield from self._show_customer(viewer, _customer_of(viewer, picked))

    def _explain(self, customer_id: str | None, request: gr.Request) -> Steps:
        viewer = self._viewer_of(request)
        if not viewer.is_desk or customer_id is None:
            # A handler that yields nothing would empty what stands there.
            yield {self._headline: gr.skip()}
            return
        card = self._agent_of(viewer).card(customer_id, explained=True)
        yield {self._headline: _filled(cards.headline_html(card, viewer))}

    def _find(self, request: gr.Request, typed: gr.KeyUpData) -> Steps:
        agent = self._agent_of(self._viewer_of(request))
        found = agent.customers(str(typed.input_value or "").strip(), limit=_MOST_CUSTOMERS)
        yield {self._picker: gr.update(choices=found)}

    def _asker(self, text: str) -> Callable[..., Steps]:
        def ask_example(customer_id: str | None, request: gr.Request) -> Steps:
            yield from self._ask(text, customer_id, request)

        return ask_example

    def _begin_comparison(self, request: gr.Request) -> Steps:
        self._viewer_of(request)
        yield {self._question: "Compare with customer "}

    def _ask(self, question: str, shown_customer: str | None, request: gr.Request) -> Steps:
        viewer = self._viewer_of(request)
        question = plain_text(question or "").strip()[:_LONGEST_QUESTION]
        if not question:
            return
        if not self._turns.take(viewer.login):
            raise TooManyTurnsError(
                "That was a lot of questions in one minute.", hint="Wait a little, then ask again."
            )
        agent = self._agent_of(viewer)
        customer_id = _customer_of(viewer, shown_customer)
        conversation_id = _conversation(viewer, customer_id)
        before = _messages(agent.turns(conversation_id, limit=_MOST_TURNS))
        asked = [*before, _message("user", question)]
        yield {self._chat: asked, self._question: "", self._chat_notice: _filled("")}
        events = agent.chat(question, customer_id=customer_id, conversation_id=conversation_id)
        yield from _paced(self._answer(events, viewer, customer_id, asked))
        yield {self._writing: self._writing_line(viewer, agent)}

    def _answer(
        self,
        events: Iterator[StreamEvent],
        viewer: Viewer,
        customer_id: str | None,
        asked: list[dict[str, str]],
    ) -> Steps:
        about, said = customer_id, ""
        for event in events:
            match event:
                case Understood():
                    about = _customer_of(viewer, event.customer_id or about)
                case Recommended() if about is not None:
                    yield self._show_items(viewer, about, event.items)
                case Offered() if about is not None:
                    yield self._show_offer(viewer, about, event.offer)
                case Said():
                    said = f"{said} {event.sentence}".strip()
                    yield {self._chat: [*asked, _message("assistant", said)]}
                case Finished():
                    yield {self._chat: [*asked, _message("assistant", event.answer.text)]}
                case _:
                    # A prediction alone changes nothing that the page does not show already.
                    pass

    def _take_offer(self, shown: _ShownOffer | None, request: gr.Request) -> Steps:
        viewer = self._viewer_of(request)
        if shown is None:
            return
        viewer.check_may_see(shown.customer_id)
        offer = shown.decision.offer
        claim = self._agent_of(viewer).accept_offer(
            shown.customer_id, offer.offer_id, idempotency_key=shown.key
        )
        # The shown offer stays: a second click repeats this claim instead of making another.
        yield {
            self._offer: _filled(cards.claim_html(claim, offer, self._settings.currency, viewer)),
            self._accept: gr.update(visible=False),
            self._offer_notice: _filled(""),
        }

    def _judge(self, number: int, *, liked: bool) -> Callable[..., Steps]:
        slot = self._slots[number]

        def judge(shown: _ShownItems | None, request: gr.Request) -> Steps:
            viewer = self._viewer_of(request)
            if shown is None or number >= len(shown.item_ids):
                return
            viewer.check_may_see(shown.customer_id)
            self._agent_of(viewer).feedback(shown.customer_id, shown.item_ids[number], liked=liked)
            yield {
                slot.like: _judged(_LIKED if liked else _LIKE, chosen=liked),
                slot.dislike: _judged(_DISLIKE if liked else _DISLIKED, chosen=not liked),
                self._page_notice: _filled(""),
            }

        return judge

    # --- what handlers show ----------------------------------------------------------------------

    def _show_customer(self, viewer: Viewer, customer_id: str | None) -> Steps:
        if customer_id is None:
            return
        agent = self._agent_of(viewer)
        try:
            shown = self._show_card(viewer, agent.card(customer_id))
        except UnknownCustomerError:
            if viewer.is_desk:
                raise
            shown = self._show_welcome(viewer, customer_id)
        turns = agent.turns(_conversation(viewer, customer_id), limit=_MOST_TURNS)
        yield {
            **shown,
            **self._show_nothing_picked(),
            self._chat: _messages(turns),
            self._page_notice: _filled(""),
            self._chat_notice: _filled(""),
            self._writing: self._writing_line(viewer, agent),
        }
        picks = agent.recommend(
            customer_id, count=_SLOTS, conversation_id=_conversation(viewer, customer_id)
        )
        yield {
            **self._show_items(viewer, customer_id, picks.items),
            **({} if picks.offer is None else self._show_offer(viewer, customer_id, picks.offer)),
        }

    def _show_card(self, viewer: Viewer, card: CustomerCard) -> Updates:
        return {
            self._customer: card.customer_id,
            self._headline: _filled(cards.headline_html(card, viewer)),
            self._details: _filled(cards.details_html(card, viewer)),
        }

    def _show_welcome(self, viewer: Viewer, customer_id: str) -> Updates:
        """A shopper who has not ordered yet has no card."""
        return {
            self._customer: customer_id,
            self._headline: _filled(cards.welcome_html(viewer)),
            self._details: _filled(""),
        }

    def _show_nothing_picked(self) -> Updates:
        """The last customer's offer and items must not stand beside the next one's card."""
        return {
            self._offer: _filled(""),
            self._offer_notice: _filled(""),
            self._accept: gr.update(visible=False),
            self._shown_offer: None,
            self._items_heading: _filled(""),
            self._shown_items: None,
            **{slot.group: gr.update(visible=False) for slot in self._slots},
        }

    def _show_items(
        self, viewer: Viewer, customer_id: str, items: tuple[Recommendation, ...]
    ) -> Updates:
        items = items[:_SLOTS]
        updates: Updates = {
            self._items_heading: _filled(cards.items_heading_html(customer_id, len(items), viewer)),
            self._shown_items: _ShownItems(
                customer_id=customer_id, item_ids=tuple(item.item_id for item in items)
            ),
        }
        for number, slot in enumerate(self._slots):
            updates[slot.group] = gr.update(visible=number < len(items))
            if number < len(items):
                updates[slot.text] = cards.recommendation_html(
                    items[number], self._settings.currency, viewer
                )
                updates[slot.like] = _judged(_LIKE, chosen=False)
                updates[slot.dislike] = _judged(_DISLIKE, chosen=False)
        return updates

    def _show_offer(
        self, viewer: Viewer, customer_id: str, decision: OfferDecision | NoOffer
    ) -> Updates:
        shown = (
            None
            if isinstance(decision, NoOffer)
            else _ShownOffer(customer_id=customer_id, decision=decision, key=uuid.uuid4().hex)
        )
        return {
            self._offer: _filled(cards.offer_html(decision, self._settings.currency, viewer)),
            self._accept: gr.update(visible=shown is not None),
            self._shown_offer: shown,
            self._offer_notice: _filled(""),
        }

    def _writing_line(self, viewer: Viewer, agent: Agent) -> Any:
        return _filled(cards.writing_html(*agent.writing_counts()) if viewer.is_desk else "")

    def _slot_components(self) -> list[Any]:
        return [
            part
            for slot in self._slots
            for part in (slot.group, slot.text, slot.like, slot.dislike)
        ]


def _guarded(steps: Callable[..., Steps], notice: Any) -> Callable[..., Steps]:
    """A handler whose errors end as one sentence on the page, never as a traceback."""

    @functools.wraps(steps)
    def run(*values: Any) -> Steps:
        try:
            yield from steps(*values)
        except PatronError as error:
            yield {notice: _filled(cards.notice_html(f"{error.message} {error.hint}"))}
        except Exception:
            _log.exception("The page could not answer.")
            yield {notice: _filled(cards.notice_html(_GENERIC_PROBLEM))}

    return run


def _paced(steps: Steps) -> Steps:
    """The same updates, merged so that browsers get a few a second and miss none."""
    waiting: Updates = {}
    last = 0.0
    for updates in steps:
        waiting |= updates
        now = time.monotonic()
        if now - last >= _SECONDS_BETWEEN_YIELDS:
            yield waiting
            waiting, last = {}, now
    if waiting:
        yield waiting


def _customer_of(viewer: Viewer, picked: str | None) -> str | None:
    """Whom a request is about: a shopper's own id, whatever their browser sends."""
    if not viewer.is_desk:
        return viewer.customer_id
    return (picked or "").strip() or None


def _conversation(viewer: Viewer, customer_id: str | None) -> str:
    return f"page/{viewer.login}/{customer_id or ''}"


def _messages(turns: list[Turn]) -> list[dict[str, str]]:
    return [_message(turn.role, turn.text) for turn in turns]


def _message(role: str, text: str) -> dict[str, str]:
    # Without Markdown the chat still reads HTML.
    return {"role": role, "content": escape_message(text)}


def _filled(html: str) -> Any:
    """HTML to show; an empty component would still take its place in the column."""
    return gr.update(value=html, visible=bool(html))


def _judged(text: str, *, chosen: bool) -> Any:
    return gr.update(value=text, variant="primary" if chosen else "secondary")


def _theme() -> gr.themes.Base:
    theme = gr.themes.Base(
        primary_hue=gr.themes.colors.teal,
        neutral_hue=gr.themes.colors.slate,
        radius_size=gr.themes.sizes.radius_md,
        font=FONTS,
        font_mono=("ui-monospace", "monospace"),
    ).set(
        body_background_fill=GROUND,
        body_text_color=INK,
        body_text_color_subdued=QUIET,
        block_label_text_color=QUIET,
        block_info_text_color=QUIET,
        button_primary_background_fill=ACCENT,
        button_primary_background_fill_hover=ACCENT_DARK,
        button_primary_text_color=SURFACE,
        button_secondary_background_fill=SURFACE,
        button_secondary_background_fill_hover=GROUND,
        button_secondary_border_color=LINE,
        button_secondary_text_color=INK,
        input_background_fill=SURFACE,
        input_border_color="#8b95a3",
        input_border_width="1px",
        input_border_color_focus=ACCENT,
        input_placeholder_color=QUIET,
        color_accent=ACCENT,
    )
    # The page is light whatever the browser prefers: the cards have no dark colours.
    for name in [name for name in vars(theme) if name.endswith("_dark")]:
        setattr(theme, name, getattr(theme, name.removesuffix("_dark")))
    return theme
