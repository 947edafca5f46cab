"""Speed of scoring and of fine-tuning beside what people use today, and scoring's peak memory.

    python -m bench.prediction_speed --shop demo-shop

Both sides of a figure are measured in one run on the same two threads in float32, and on the same
batch of real histories. Rounds alternate, and their medians are compared.

- `score_vs_generate`: customers a second of `LoraPredictor.logits` by those of `generate` of
  transformers, asked for as many tokens as the two answers' lines have, one prompt after the other.
  Both read the same merged weights. Beside it stands `generate` of all prompts at once, and the
  shortest that any `generate` could do: read the prompt and write one token.
- `score_gemm_share`: floating point operations a second of `LoraPredictor.logits` by those of a
  product of two large square matrices. Only those are counted that the unpadded tokens need:
  linear layers, attention to what stands before, the labels' logits.
- `finetune_vs_peft`: see `bench.prediction_speed_training`.
- memory: see `bench.prediction_speed_memory`.

The last line printed is one JSON document.
"""

import argparse
import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from transformers import AutoTokenizer

from bench.prediction_speed_memory import measure_memory
from bench.prediction_speed_training import measure_training
from bench.report import hardware
from finetune.adapter import current_adapter, load_lora, read_manifest
from finetune.base_model import BaseModelFiles, find_base_model, load_base_model, token_counter
from finetune.lora_predictor import LoraPredictor
from finetune.packed_pass import PASS_TOKENS
from finetune.slots import Slots, build_slots, encode_prompt
from retrieval.catalogue import Catalogue
from retrieval.history import History, render_history
from retrieval.orders import read_pasts
from retrieval.progress import Progress
from retrieval.shop import Shop
from retrieval.time_split import present
from ui.terminal import progress_bars

THREADS = 2
_CUSTOMERS = 24
_ROUNDS = 3
_SQUARE = 2048

BARS = {"score_vs_generate": 10.0, "score_gemm_share": 0.70, "finetune_vs_peft": 4.0}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--shop", type=Path, default=Path("demo-shop"))
    parser.add_argument("--work", type=Path, default=Path("bench/.work"))
    parser.add_argument("--seed", type=int, default=7)
    arguments = parser.parse_args()
    with progress_bars() as progress:
        speed = measure_speed(
            arguments.shop, arguments.work, seed=arguments.seed, progress=progress
        )
    for line in speed_lines(speed):
        print(line)
    print(json.dumps({"hardware": hardware(), "seed": arguments.seed, "speed": speed}))


def measure_speed(directory: Path, work: Path, *, seed: int, progress: Progress) -> dict[str, Any]:
    """All figures; those in `BARS` at the top, what they were made of under `details`.

    Args:
        directory: a shop with an adapter.
        work: for what is made on the way.
        seed: draws the customers.
        progress: told of every step.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(THREADS)
    try:
        shop = Shop.open(directory)
        scoring = measure_scoring(shop, seed=seed, progress=progress)
        training = measure_training(shop, work, seed=seed, progress=progress)
        memory = measure_memory(shop, work, seed=seed, progress=progress)
    finally:
        torch.set_num_threads(threads)
    return {
        "score_vs_generate": scoring["score_vs_generate"],
        "score_gemm_share": scoring["score_gemm_share"],
        "finetune_vs_peft": training["finetune_vs_peft"],
        "memory": memory,
        "details": {"threads": THREADS, "scoring": scoring, "training": training},
    }


def speed_lines(speed: dict[str, Any]) -> list[str]:
    """What was measured, for people."""
    scoring, training = speed["details"]["scoring"], speed["details"]["training"]
    memory = speed["memory"]
    lines = [
        f"scoring {scoring['scored_per_s']:.2f} customers/s, generate "
        f"{scoring['generated_per_s']:.2f} ({scoring['generated_tokens']:.1f} tokens each), all at "
        f"once {scoring['generated_together_per_s']:.2f}, one token only "
        f"{scoring['one_token_per_s']:.2f}",
        f"scoring {scoring['score_gflops']:.1f} GFLOP/s, square products "
        f"{scoring['gemm_gflops']:.1f}, products of the model's own shapes "
        f"{scoring['own_shapes_gflops']:.1f}",
        f"fine-tuning {training['ours_per_s']:.2f} examples/s, plain peft "
        f"{training['peft_per_s']:.2f}; label loss on {training['held_out']} held-out customers "
        f"{training['ours_loss']:.4f} and {training['peft_loss']:.4f}, difference "
        f"{training['loss_difference']:+.4f} +- {training['loss_difference_error']:.4f}",
        *(
            f"peak memory of scoring {customers} customers: {figures['peak_mib']:.0f} MiB "
            f"(+{figures['grown_mib']:.0f} since the first part), {figures['seconds']:.0f} s"
            for customers, figures in memory.items()
        ),
    ]
    lines += [
        f"{'holds' if speed[name] >= bar else 'FAILS'}: {name} {speed[name]:.2f}, bar {bar:g}"
        for name, bar in BARS.items()
    ]
    return lines


def measure_scoring(shop: Shop, *, seed: int, progress: Progress) -> dict[str, float]:
    """Scoring beside `generate` and beside matrix products."""
    files = find_base_model(shop.settings.models.base)
    adapter = current_adapter(shop)
    predictor = LoraPredictor.load(adapter, files, shop.settings)
    slots = build_slots(files, predictor.manifest.tiers)
    histories = draw_histories(shop, files, seed)
    prompts = [encode_prompt(files, slots, history.text) for history in histories]
    plain = _Plain(files, adapter, slots, prompts)
    predictor.logits(histories[:1])  # the first pass also allocates and reads the head
    plain.generate(prompts[:1])
    timed: dict[str, list[float]] = {}

    def take(what: str, run: Callable[[], object]) -> None:
        started = time.perf_counter()
        run()
        timed.setdefault(what, []).append(time.perf_counter() - started)

    square = torch.randn(_SQUARE, _SQUARE)
    products = _own_products(plain.model)
    tokens = 0
    for number in range(_ROUNDS):
        progress("Timing scoring", number, _ROUNDS)
        for _ in range(3):
            take("gemm", lambda: square @ square)
            take("own", lambda: [left @ right for left, right in products])
        take("score", lambda: predictor.logits(histories))
        part = prompts[number::_ROUNDS]
        take("generate", lambda part=part: plain.generate(part))
        tokens += plain.written
        take("one", lambda part=part: plain.generate(part, tokens=1))
        take("together", lambda: plain.generate_together(prompts))
        take("score", lambda: predictor.logits(histories))
    progress("Timing scoring", _ROUNDS, _ROUNDS)
    score = median(timed["score"]) / len(prompts)
    generate = sum(timed["generate"]) / len(prompts)
    gemm = 2 * _SQUARE**3 / median(timed["gemm"]) / 1e9
    own = sum(2 * left.shape[0] * right.numel() for left, right in products)
    operations = sum(needed_operations(plain.model, slots, len(prompt)) for prompt in prompts)
    rate = operations / len(prompts) / score / 1e9
    return {
        "score_vs_generate": round(generate / score, 2),
        "score_gemm_share": round(rate / gemm, 3),
        "score_share_of_own_shapes": round(rate / (own / median(timed["own"]) / 1e9), 3),
        "scored_per_s": round(1 / score, 3),
        "generated_per_s": round(1 / generate, 3),
        "generated_tokens": round(tokens / len(prompts), 2),
        "generated_together_per_s": round(len(prompts) / median(timed["together"]), 3),
        "one_token_per_s": round(len(prompts) / sum(timed["one"]), 3),
        "score_gflops": round(rate, 1),
        "gemm_gflops": round(gemm, 1),
        "own_shapes_gflops": round(own / median(timed["own"]) / 1e9, 1),
        "tokens_per_prompt": round(float(np.mean([len(prompt) for prompt in prompts])), 1),
    }


def draw_histories(
    shop: Shop, files: BaseModelFiles, seed: int, count: int = _CUSTOMERS
) -> list[History]:
    """Histories, as of now, of customers drawn by chance."""
    pasts = list(read_pasts(shop.log, present(shop)))
    drawn = np.random.default_rng(seed).permutation(len(pasts))[:count]
    catalogue, count_tokens = Catalogue.read(shop.items_file), token_counter(files)
    return [
        render_history(
            pasts[index], settings=shop.settings, catalogue=catalogue, count_tokens=count_tokens
        )
        for index in drawn
    ]


def needed_operations(model: Any, slots: Slots, length: int) -> int:
    """Floating point operations that scoring one prompt cannot do without.

    A multiplication and an addition are two. Embedding, norms and activations are not counted; nor
    is what stands in the head, which is read once.
    """
    config = model.config
    read = length - len(slots.head)
    linears = sum(
        module.weight.numel()
        for module in model.get_decoder().modules()
        if isinstance(module, torch.nn.Linear)
    )
    seen = sum(range(len(slots.head) + 1, length + 1))
    head_dim = getattr(config, "head_dim", None) or (
        config.hidden_size // config.num_attention_heads
    )
    # Scores and the weighted sum, in every layer and head.
    attention = 2 * seen * config.num_hidden_layers * config.num_attention_heads * head_dim
    labels = len(slots.label_ids) * config.hidden_size
    return 2 * (read * linears + attention + labels)


class _Plain:
    """The same weights under `generate` of transformers."""

    def __init__(
        self,
        files: BaseModelFiles,
        adapter: Path,
        slots: Slots,
        prompts: Sequence[Sequence[int]],
    ) -> None:
        wrapped = load_lora(load_base_model(files), adapter, read_manifest(adapter).lora)
        self.model: Any = wrapped.merge_and_unload()
        self._tokenizer = AutoTokenizer.from_pretrained(files.folder, padding_side="left")
        # Both lines of the question, each with one token of an answer.
        self._tokens = len(slots.tail) + 2
        self._texts = {tuple(prompt): self._tokenizer.decode(prompt) for prompt in prompts}
        self.written = 0

    @torch.inference_mode()
    def generate(self, prompts: Sequence[Sequence[int]], tokens: int | None = None) -> None:
        """One prompt after the other; counts what was written."""
        self.written = 0
        for prompt in prompts:
            encoded = self._tokenizer(self._texts[tuple(prompt)], return_tensors="pt")
            self._write(encoded, tokens or self._tokens)

    @torch.inference_mode()
    def generate_together(self, prompts: Sequence[Sequence[int]]) -> None:
        """All prompts in one batch, padded on the left."""
        texts = [self._texts[tuple(prompt)] for prompt in prompts]
        self._write(self._tokenizer(texts, return_tensors="pt", padding=True), self._tokens)

    def _write(self, encoded: Any, tokens: int) -> None:
        found = self.model.generate(
            **encoded,
            max_new_tokens=tokens,
            do_sample=False,
            pad_token_id=self._tokenizer.eos_token_id,
        )
        self.written += found.shape[1] - encoded["input_ids"].shape[1]
        self._tokenizer.batch_decode(found)


def _own_products(model: Any) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """A layer's matrix products at the tokens of one pass."""
    layer = model.get_decoder().layers[0]
    weights = [
        module.weight.detach().T
        for module in layer.modules()
        if isinstance(module, torch.nn.Linear)
    ]
    return [(torch.randn(PASS_TOKENS, weight.shape[0]), weight) for weight in weights]


if __name__ == "__main__":
    main()
