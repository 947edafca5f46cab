"""Facts to sentences: the model words each, the check decides whether its wording is shown."""

from collections.abc import Iterable, Iterator

from agent.chat_model import ChatModel
from agent.facts import Fact
from agent.grounding import is_grounded, states_drivers_truly
from agent.ledger import Ledger
from agent.stream import Said

WRITTEN = "sentences_written"
REPLACED = "sentences_replaced"
REFUSED = "sentences_refused"


def write_sentences(
    facts: Iterable[Fact], chat_model: ChatModel | None, ledger: Ledger
) -> Iterator[Said]:
    """Say each fact in one sentence.

    A sentence of the model that fails the check is replaced by the fact's own plain text, and
    both are counted in the ledger. A fact that names a driver and does not move the risk as it
    says is not said at all, and counted too.

    Args:
        facts: what there is to say, in order.
        chat_model: words them; None says them plainly.
        ledger: keeps the counts.
    """
    for fact in facts:
        if not _moves_as_said(fact.text, fact):
            ledger.count(REFUSED)
            continue
        if chat_model is None or not fact.written:
            yield Said(sentence=fact.text, written=False, replaced=False)
            continue
        sentence = chat_model.write(fact.text)
        replaced = not (is_grounded(sentence, fact.text) and _moves_as_said(sentence, fact))
        ledger.count(WRITTEN)
        if replaced:
            ledger.count(REPLACED)
        yield Said(sentence=fact.text if replaced else sentence, written=True, replaced=replaced)


def _moves_as_said(sentence: str, fact: Fact) -> bool:
    return not fact.drivers or states_drivers_truly(sentence, fact.drivers)
