"""`patron chat`: talk in the terminal, sentence by sentence."""

import uuid

from rich.text import Text

from agent.agent import Agent
from agent.stream import Offered, Recommended, Said
from prompts.errors import PatronError
from ui.terminal import OUT, show_error, show_items, show_offer


def talk(agent: Agent, customer_id: str | None) -> None:
    """Read questions and stream answers until an empty line or the end of input."""
    conversation = f"terminal-{uuid.uuid4().hex}"
    OUT.print(Text(f"{agent.shop.settings.name}. Ask about a customer; an empty line ends."))
    while True:
        try:
            text = input("> ").strip()
        except EOFError:
            return
        if not text:
            return
        try:
            answer_turn(agent, text, customer_id, conversation)
        except PatronError as error:
            show_error(error.message, error.hint)
        # From here on the conversation itself knows of whom it speaks.
        customer_id = None


def answer_turn(agent: Agent, text: str, customer_id: str | None, conversation: str) -> None:
    """Stream one answer to the terminal."""
    currency = agent.shop.settings.currency
    for event in agent.chat(text, customer_id=customer_id, conversation_id=conversation):
        match event:
            case Said(sentence=sentence):
                OUT.print(Text(sentence))
            case Recommended(items=items):
                show_items(items, currency)
            case Offered(offer=offer):
                show_offer(offer, currency)
            case _:
                pass
