"""The base model itself as the writer of sentences, on this machine."""

import copy
import threading
from typing import Any

import torch
from transformers import (
    AutoTokenizer,
    DynamicCache,
    StoppingCriteriaList,
)

from agent.chat_model import first_line, note_prompt
from agent.grounding import may_become_grounded
from finetune.base_model import BaseModelFiles, load_base_model
from finetune.one_thread import one_thread

# A wording longer than its note by more than this would fail the check anyway.
_SPARE_TOKENS = 12
# Wordings repeat their notes: guess that many tokens from the note and verify them in one pass.
# The result is that of plain greedy decoding.
_LOOKAHEAD = 10


class LocalChatModel:
    """Greedy decoding with the packaged model; the instructions are read once and kept.

    Every prompt begins with the same lines; their keys and values are computed once and copied
    for each note.
    """

    def __init__(self, files: BaseModelFiles) -> None:
        self._model = load_base_model(files)
        self._tokenizer = AutoTokenizer.from_pretrained(files.folder, local_files_only=True)
        self._lock = threading.Lock()
        self._prefix = self._tokenizer(note_prompt("").rsplit("Note:", 1)[0])["input_ids"]
        self._prefix_cache = self._read_prefix()
        self._line_ends = [
            self._tokenizer.eos_token_id,
            *(i for i in range(len(self._tokenizer)) if "\n" in self._tokenizer.decode([i])),
        ]

    def write(self, note: str) -> str:
        """One sentence that says the note; unchecked."""
        tokens = self._tokenizer(note_prompt(note))["input_ids"]
        most = len(self._tokenizer(note)["input_ids"]) + _SPARE_TOKENS
        # A token at a time is bound by memory, and threads that wait for one another stall when
        # anything else runs.
        with self._lock, one_thread():
            written = self._generate(tokens, most, note)
        return first_line(self._tokenizer.decode(written, skip_special_tokens=True))

    @torch.inference_mode()
    def _read_prefix(self) -> Any:
        cache = DynamicCache(config=self._model.config)
        self._model(torch.tensor([self._prefix]), past_key_values=cache, use_cache=True)
        return cache

    @torch.inference_mode()
    def _generate(self, tokens: list[int], most: int, note: str) -> list[int]:
        # Tokens may merge where the note begins; only a true prefix may be skipped.
        shares = tokens[: len(self._prefix)] == self._prefix
        output = self._model.generate(
            torch.tensor([tokens]),
            attention_mask=torch.ones(1, len(tokens), dtype=torch.long),
            past_key_values=copy.deepcopy(self._prefix_cache) if shares else None,
            max_new_tokens=most,
            do_sample=False,
            prompt_lookup_num_tokens=_LOOKAHEAD,
            eos_token_id=self._line_ends,
            stopping_criteria=StoppingCriteriaList([_Strayed(self._tokenizer, note, len(tokens))]),
            pad_token_id=self._tokenizer.pad_token_id,
        )
        generated: list[int] = output[0, len(tokens) :].tolist()
        return generated


class _Strayed:
    """Ends a wording that can no longer pass the check: it would be replaced anyway."""

    def __init__(self, tokenizer: Any, note: str, start: int) -> None:
        self._tokenizer, self._note, self._start = tokenizer, note, start

    def __call__(self, input_ids: torch.Tensor, scores: Any, **kwargs: Any) -> torch.Tensor:
        written = self._tokenizer.decode(input_ids[0, self._start :])
        return torch.tensor([not may_become_grounded(written, self._note)])
