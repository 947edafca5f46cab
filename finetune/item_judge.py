"""The language model's own yes or no to items, given a customer's history.

TALLRec (Bao et al., 2023, "TALLRec: An Effective and Efficient Tuning Framework to Align Large
Language Model with Recommendation") asks of one item a prompt and reads the two answers' logits.
Here all items of a customer share one forward pass: the history stands once, the items behind it,
and the attention mask keeps them from seeing one another.
"""

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from finetune.base_model import BaseModelFiles, load_base_model, token_ids
from finetune.calibration import Floats
from finetune.slots import CHURN_LABELS
from prompts.library import load_prompt
from retrieval.errors import ShopError
from retrieval.history import quoted

PROMPT = "judge"

# Attention's cost grows with the square of a pass's length; beyond this many titles, reading the
# history once more is cheaper.
_TITLES_PER_PASS = 64

# No title holds it: `quoted` drops control characters.
_TITLE_PLACE = "\0"


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """One customer's question as token ids; item `i` is asked by `prefix + parts[i]`.

    Attributes:
        prefix: the history and the question's words before the title.
        parts: each item's title and the words after it.
    """

    prefix: tuple[int, ...]
    parts: tuple[tuple[int, ...], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class PackedPrompt:
    """A question's prefix and parts in one sequence.

    Attributes:
        ids: token ids `[length]`.
        positions: position ids `[length]`; each part goes on where the prefix ends.
        mask: `[length, length]`, added to attention's scores: 0 where a row sees a column.
        ends: where each part's last token stands `[items]`.
    """

    ids: Tensor
    positions: Tensor
    mask: Tensor
    ends: Tensor


class ItemJudge:
    """Judges items for customers; safe to call from several threads (one model, one lock).

    Args:
        model: a causal language model on the CPU, in evaluation mode.
        files: the base model that it comes from, for its tokens.

    Raises:
        ShopError: yes or no is not one token of this model.
    """

    def __init__(self, model: Any, files: BaseModelFiles) -> None:
        self._decoder = model.get_decoder()
        self._files = files
        self._answers = model.get_output_embeddings().weight[list(answer_ids(files))].detach()
        self._lock = threading.Lock()

    @classmethod
    def load(cls, files: BaseModelFiles) -> "ItemJudge":
        """Load a base model as it is.

        Raises:
            ShopError: yes or no is not one token of this model.
        """
        return cls(load_base_model(files), files)

    def judge(self, history_text: str, titles: Sequence[str]) -> Floats:
        """How much rather the model says yes than no to each item.

        Args:
            history_text: a history as `render_history` writes it; may be empty.
            titles: the items' titles; data, whatever they hold.

        Returns:
            logit(yes) - logit(no) of each title `[titles]`, whatever the other titles are.
        """
        question = encode_question(self._files, history_text, titles)
        logits = np.zeros(len(titles))
        for start in range(0, len(titles), _TITLES_PER_PASS):
            chosen = slice(start, start + _TITLES_PER_PASS)
            part = Question(prefix=question.prefix, parts=question.parts[chosen])
            logits[chosen] = self._pass(pack(part))
        return logits

    @torch.inference_mode()
    def _pass(self, prompt: PackedPrompt) -> Floats:
        with self._lock:
            hidden = self._decoder(
                input_ids=prompt.ids[None],
                position_ids=prompt.positions[None],
                # transformers takes a mask of four dimensions as it is.
                attention_mask=prompt.mask[None, None],
                use_cache=False,
            ).last_hidden_state
        no, yes = (hidden[0, prompt.ends] @ self._answers.T).double().numpy().T
        difference: Floats = yes - no
        return difference


def encode_question(files: BaseModelFiles, history_text: str, titles: Sequence[str]) -> Question:
    """Token ids of one customer's question about items.

    The prefix is encoded apart from the items' parts, so that it is the same for every item.
    """
    prompt = load_prompt(PROMPT).render(history=history_text, title=_TITLE_PLACE)
    # A tokenizer of words takes the space before a word as part of it.
    before, _, after = prompt.rpartition(f" {_TITLE_PLACE}")
    return Question(
        prefix=tuple(token_ids(files, before)),
        parts=tuple(tuple(token_ids(files, f" {quoted(title)}{after}")) for title in titles),
    )


def pack(question: Question) -> PackedPrompt:
    """Put a question's parts behind its prefix, unseen by one another."""
    shared = len(question.prefix)
    lengths = torch.tensor([shared, *(len(part) for part in question.parts)])
    ends = lengths.cumsum(0)
    block = torch.arange(len(lengths)).repeat_interleave(lengths)
    place = torch.arange(len(block)) - (ends - lengths)[block]
    in_prefix = block == 0
    seen = ((block[:, None] == block) | in_prefix).tril()
    return PackedPrompt(
        ids=torch.tensor([*question.prefix, *(token for part in question.parts for token in part)]),
        positions=place + torch.where(in_prefix, 0, shared),
        mask=torch.zeros(seen.shape).masked_fill(~seen, torch.finfo(torch.float32).min),
        ends=ends[1:] - 1,
    )


def answer_ids(files: BaseModelFiles) -> tuple[int, ...]:
    """Token ids of no and yes.

    Raises:
        ShopError: one of them is not one token of this model.
    """
    encoded = [token_ids(files, f" {label}") for label in CHURN_LABELS]
    if any(len(ids) != 1 for ids in encoded):
        raise ShopError(
            "The base model has no single token for ' no' or for ' yes'.",
            hint="Choose another models.base in shop.toml.",
        )
    return tuple(ids[0] for ids in encoded)
