"""The base model itself as the writer of sentences, on this machine."""

import copy
import threading
from typing import Any

import torch
from transformers import AutoTokenizer, DynamicCache

from agent.chat_model import first_line, note_prompt
from finetune.base_model import BaseModelFiles, load_base_model

_MOST_TOKENS = 90


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

    def write(self, note: str) -> str:
        """One sentence that says the note; unchecked."""
        tokens = self._tokenizer(note_prompt(note))["input_ids"]
        with self._lock:
            written = self._generate(tokens)
        return first_line(self._tokenizer.decode(written, skip_special_tokens=True))

    @torch.inference_mode()
    def _read_prefix(self) -> Any:
        cache = DynamicCache(config=self._model.config)
        self._model(torch.tensor([self._prefix]), past_key_values=cache, use_cache=True)
        return cache

    @torch.inference_mode()
    def _generate(self, tokens: list[int]) -> list[int]:
        # Tokens may merge where the note begins; only a true prefix may be skipped.
        shares = tokens[: len(self._prefix)] == self._prefix
        output = self._model.generate(
            torch.tensor([tokens]),
            attention_mask=torch.ones(1, len(tokens), dtype=torch.long),
            past_key_values=copy.deepcopy(self._prefix_cache) if shares else None,
            max_new_tokens=_MOST_TOKENS,
            do_sample=False,
            stop_strings=["\n"],
            tokenizer=self._tokenizer,
            pad_token_id=self._tokenizer.pad_token_id,
        )
        generated: list[int] = output[0, len(tokens) :].tolist()
        return generated
