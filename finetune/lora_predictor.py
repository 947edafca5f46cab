"""The predictor: one forward pass of the adapted language model, two answers, calibrated."""

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from finetune.adapter import (
    Manifest,
    check_compatible,
    load_lora,
    load_prior,
    read_manifest,
)
from finetune.base_model import BaseModelFiles, load_base_model
from finetune.calibration import Floats
from finetune.fused_layers import packed_decoder
from finetune.packed_pass import PASS_TOKENS, packed_batches
from finetune.prior import Prior
from finetune.slots import Slots, build_slots, encode_prompt, label_weights, logits_at_slots
from retrieval.history import History
from retrieval.progress import Progress, no_progress
from retrieval.shop import ShopSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class Logits:
    """Raw label logits: `tier [n, tiers]`, `churn [n, 2]` (no, yes)."""

    tier: Floats
    churn: Floats


class LoraPredictor:
    """Scores histories; safe to call from several threads (one model, one lock)."""

    def __init__(
        self,
        model: Any,
        files: BaseModelFiles,
        slots: Slots,
        manifest: Manifest,
        prior: Prior | None,
    ) -> None:
        self.manifest = manifest
        self.prior = prior
        self._files = files
        self._slots = slots
        self._weights = label_weights(model, slots)
        self._decoder = packed_decoder(model, slots.head)
        self._lock = threading.Lock()

    @classmethod
    def load(cls, folder: Path, files: BaseModelFiles, settings: ShopSettings) -> "LoraPredictor":
        """Load an adapter onto its base model.

        Raises:
            AdapterError: it belongs to another model, prompt, label set or shop definition.
        """
        manifest = read_manifest(folder)
        slots = build_slots(files, manifest.tiers)
        check_compatible(manifest, files, slots, settings)
        wrapped = load_lora(load_base_model(files), folder, manifest.lora)
        # Merged, a pass costs what the base model costs.
        merged = wrapped.merge_and_unload()
        return cls(merged, files, slots, manifest, load_prior(folder, manifest))

    def logits(
        self,
        histories: Sequence[History],
        *,
        pass_tokens: int = PASS_TOKENS,
        progress: Progress = no_progress,
    ) -> Logits:
        """Label logits of histories, in their order.

        Args:
            histories: rendered for the same token budget as in training.
            pass_tokens: at most so many tokens a pass; memory does not grow with the histories.
            progress: told after each pass.
        """
        prompts = [encode_prompt(self._files, self._slots, history.text) for history in histories]
        tier = np.zeros((len(prompts), len(self._slots.tier_ids)))
        churn = np.zeros((len(prompts), 2))
        done = 0
        for batch in packed_batches([len(prompt) for prompt in prompts], pass_tokens):
            tier[batch], churn[batch] = self._pass([prompts[index] for index in batch])
            done += len(batch)
            progress("Scoring customers", done, len(prompts))
        return Logits(tier=tier, churn=churn)

    @torch.inference_mode()
    def _pass(self, prompts: list[list[int]]) -> tuple[Floats, Floats]:
        with self._lock:
            packing = self._decoder.pack(prompts)
            hidden = self._decoder.hidden_at(packing, self._slots.offsets)
        tier, churn = logits_at_slots(hidden, self._slots, self._weights)
        return tier.double().numpy(), churn.double().numpy()
