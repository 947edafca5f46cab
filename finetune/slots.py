"""The predictor's question as token ids, and the two answers read from one forward pass.

A prompt is a fixed head (may be empty), a history and a fixed tail whose lines end in ':'. The
hidden state at each of those ':' predicts the answer; only the label tokens' logits are computed,
never the vocabulary.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from finetune.base_model import BaseModelFiles, token_ids
from prompts.library import load_prompt
from retrieval.errors import ShopError

PROMPT = "predict"
CHURN_LABELS = ("no", "yes")

# Where the history goes; no text of ours holds it.
_PLACE = "\0"


@dataclass(frozen=True, slots=True, kw_only=True)
class Slots:
    """Where the answers stand and which tokens they may be.

    Attributes:
        tail: token ids after the history.
        tier_offset: index in `tail` of the ':' that predicts the tier; negative, from the end.
        churn_offset: the same for churn.
        tier_ids: label token ids, lowest tier first.
        churn_ids: label token ids of no and yes.
        head: token ids before the history.
    """

    tail: tuple[int, ...]
    tier_offset: int
    churn_offset: int
    tier_ids: tuple[int, ...]
    churn_ids: tuple[int, ...]
    head: tuple[int, ...] = ()

    @property
    def label_ids(self) -> tuple[int, ...]:
        """All label ids: the tiers', then no and yes."""
        return self.tier_ids + self.churn_ids

    @property
    def offsets(self) -> tuple[int, int]:
        """Where the tier is predicted, then where churn is, from the end."""
        return self.tier_offset, self.churn_offset


def build_slots(files: BaseModelFiles, tiers: Sequence[str]) -> Slots:
    """Work out head, tail and label ids for a base model.

    Raises:
        ShopError: a tier name is not one token of this model.
    """
    # Apart from the history, so that they are the same tokens for every customer.
    before, _, after = load_prompt(PROMPT).render(history=_PLACE).rstrip("\n").partition(_PLACE)
    tail = token_ids(files, after)
    colons = [index - len(tail) for index, token in enumerate(tail) if token == tail[-1]]
    if len(colons) != 2:
        raise ShopError(
            f"The prompt '{PROMPT}' must end two lines in ':' under this base model.",
            hint="Restore prompts/predict.txt, or choose another models.base in shop.toml.",
        )
    return Slots(
        tail=tuple(tail),
        tier_offset=colons[0],
        churn_offset=colons[1],
        tier_ids=tuple(_label_id(files, tier) for tier in tiers),
        churn_ids=tuple(_label_id(files, label) for label in CHURN_LABELS),
        head=tuple(token_ids(files, before)),
    )


def encode_prompt(files: BaseModelFiles, slots: Slots, history_text: str) -> list[int]:
    """Token ids of a whole prompt: head, history, tail."""
    return [*slots.head, *token_ids(files, history_text), *slots.tail]


def pad_right(sequences: Sequence[Sequence[int]], pad: int = 0) -> Tensor:
    """Stack sequences, padded on the right: `[batch, longest]`.

    Under causal attention nothing before the padding can see it, so no mask is needed.
    """
    longest = max(len(sequence) for sequence in sequences)
    return torch.tensor([[*sequence, *[pad] * (longest - len(sequence))] for sequence in sequences])


def logits_at_slots(hidden: Tensor, slots: Slots, label_weights: Tensor) -> tuple[Tensor, Tensor]:
    """Label logits of hidden states taken at `slots.offsets`.

    Args:
        hidden: final hidden states `[prompts, 2, width]`.
        slots: how many labels are tiers.
        label_weights: output embeddings of `slots.label_ids`: `[labels, width]`.

    Returns:
        Tier logits `[prompts, tiers]` and churn logits `[prompts, 2]`.
    """
    tiers = len(slots.tier_ids)
    return hidden[:, 0] @ label_weights[:tiers].T, hidden[:, 1] @ label_weights[tiers:].T


def label_weights(model: Any, slots: Slots) -> Tensor:
    """Rows of the output embedding for the label tokens: `[labels, width]`."""
    weights: Tensor = model.get_output_embeddings().weight
    return weights[list(slots.label_ids)].detach().clone()


def _label_id(files: BaseModelFiles, label: str) -> int:
    ids = token_ids(files, f" {label}")
    if len(ids) != 1:
        raise ShopError(
            f"The label '{label}' is {len(ids)} tokens of the base model, not one.",
            hint="Name value.tiers in shop.toml by short common words, such as low, middle, high.",
        )
    return ids[0]
