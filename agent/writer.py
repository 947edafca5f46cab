"""Facts to sentences: the model words each, the check decides whether its wording is shown."""

from collections.abc import Iterable, Iterator

from agent.chat_model import ChatModel
from agent.facts import Fact
from agent.grounding import is_grounded
from agent.ledger import Ledger
from agent.stream import Said

WRITTEN = "sentences_written"
REPLACED = "sentences_replaced"


def write_sentences(
    facts: Iterable[Fact], chat_model: ChatModel | None, ledger: Ledger
) -> Iterator[Said]:
    """Say each fact in one sentence.

    A sentence of the model that fails the check is replaced by the fact's own plain text, and
    both are counted in the ledger.

    Args:
        facts: what there is to say, in order.
        chat_model: words them; None says them plainly.
        ledger: keeps the counts.
    """
    for fact in facts:
        if chat_model is None or not fact.written:
            yield Said(sentence=fact.text, written=False, replaced=False)
            continue
        sentence = chat_model.write(fact.text)
        replaced = not is_grounded(sentence, fact.text)
        ledger.count(WRITTEN)
        if replaced:
            ledger.count(REPLACED)
        yield Said(sentence=fact.text if replaced else sentence, written=True, replaced=replaced)
