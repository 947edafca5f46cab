"""Speed of scoring and of fine-tuning beside what people use today, and scoring's peak memory.

    python -m bench.prediction_speed --shop demo-shop

Both sides of a figure are measured in one run on the same two threads in float32, and on the same
batch of real histories. Rounds alternate, and their medians are compared. Figures are of the clock;
those that end in `_cpu` are of processor time, which other work on the machine disturbs less.

- `score_vs_generate`: customers a second of `LoraPredictor.logits` by those of `generate` of
  transformers over the same prompts, one after the other, asked for as many tokens as both lines
  with their answers have (10). That is more than it must write, for the prompts already hold both
  lines: an asker who ends the prompt behind 'Value tier:' needs about half. The peer reads the
  whole base model, as people do; scoring reads the layers that the adapter was made for.
  `score_vs_generate_of_same_layers` gives `generate` the adapter's own merged weights, so it shows
  what is left of the gain without that. Beside them stand `score_vs_chat`: the same histories put
  as a question in the model's chat form, until the model ends its answer of itself, which is how
  most people ask; `score_vs_chat_with_reason`: asked for a reason in one sentence, too, which
  scoring does not give; `generate` of all prompts at once; and the shortest that `generate` by the
  whole model could do: read the prompt and write one token.
- `score_gemm_share`: floating point operations a second of `LoraPredictor.logits` by those of a
  product of two large square matrices, by MKL or by oneDNN, whichever is faster. Only those are
  counted that the unpadded tokens need: linear layers, attention to what stands before, the labels'
  logits; in the last layer all tokens' keys and values, and the rest at the two slots.
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
from finetune.fused_layers import laid_out, product
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
_MOST_CHAT_TOKENS = 128
_ASK = (
    "What is this customer's value tier over the next 90 days: low, middle or high? Will they "
    "leave: yes or no? Answer in two lines, 'Value tier:' and 'Leaving:'."
)
_ASK_WHY = f"{_ASK[:-1]}, and give the reason in one sentence."

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
        f"{scoring['generated_per_s']:.2f} ({scoring['generate_tokens']:.1f} tokens each)",
        "scoring is faster than generate of the same layers "
        f"{scoring['score_vs_generate_of_same_layers']:.1f} times, than a chat's answer "
        f"({scoring['chat_tokens']:.1f} tokens) "
        f"{scoring['score_vs_chat']:.1f}, than one with its reason "
        f"({scoring['chat_with_reason_tokens']:.1f} tokens) "
        f"{scoring['score_vs_chat_with_reason']:.1f}, than generate of all at once "
        f"{scoring['score_vs_together']:.1f}, than generate of one token "
        f"{scoring['score_vs_one_token']:.1f}",
        f"scoring {scoring['score_gflops']:.1f} GFLOP/s, square products "
        f"{scoring['gemm_gflops']:.1f} (by MKL {scoring['mkl_gflops']:.1f}), MKL's of the model's "
        f"own shapes {scoring['own_shapes_gflops']:.1f}",
        f"fine-tuning {training['ours_per_s']:.2f} examples/s, plain peft "
        f"{training['peft_per_s']:.2f}; {training['epochs']} epochs are "
        f"{training['time_vs_peft']:.1f} times as fast as its {training['peft_epochs']}; label "
        f"loss on {training['held_out']} held-out customers {training['ours_loss']:.4f} and "
        f"{training['peft_loss']:.4f}, difference "
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
    plain.generate_adapted(prompts[:1])
    texts = [history.text for history in histories]
    timed: dict[str, list[tuple[float, float]]] = {}

    def take(what: str, run: Callable[[], object]) -> None:
        started, started_cpu = time.perf_counter(), time.process_time()
        run()
        timed.setdefault(what, []).append(
            (time.perf_counter() - started, time.process_time() - started_cpu)
        )

    square = torch.randn(_SQUARE, _SQUARE)
    laid = laid_out(square)
    products = _own_products(plain.adapted)
    written = dict.fromkeys(("generate", "same_layers", "chat", "chat_with_reason"), 0)
    for number in range(_ROUNDS):
        progress("Timing scoring", number, _ROUNDS)
        for _ in range(3):
            take("mkl", lambda: square @ square)
            take("onednn", lambda: product(square, laid))
            take("own", lambda: [left @ right for left, right in products])
        chosen = slice(number, None, _ROUNDS)
        take("score", lambda: predictor.logits(histories))
        take("generate", lambda chosen=chosen: plain.generate(prompts[chosen]))
        written["generate"] += plain.written
        take("same_layers", lambda chosen=chosen: plain.generate_adapted(prompts[chosen]))
        written["same_layers"] += plain.written
        take("one", lambda chosen=chosen: plain.generate(prompts[chosen], tokens=1))
        take("score", lambda: predictor.logits(histories))
        take("chat", lambda chosen=chosen: plain.chat(texts[chosen], _ASK))
        written["chat"] += plain.written
        take("chat_with_reason", lambda chosen=chosen: plain.chat(texts[chosen], _ASK_WHY))
        written["chat_with_reason"] += plain.written
        take("together", lambda: plain.generate_together(prompts))
        take("score", lambda: predictor.logits(histories))
    progress("Timing scoring", _ROUNDS, _ROUNDS)
    count = len(prompts)
    operations = sum(needed_operations(plain.adapted, slots, len(prompt)) for prompt in prompts)
    own = sum(2 * left.shape[0] * right.numel() for left, right in products)
    found: dict[str, float] = {}
    for column, suffix in enumerate(("", "_cpu")):
        seconds = {what: [pair[column] for pair in pairs] for what, pairs in timed.items()}
        score = median(seconds["score"]) / count
        rate = operations / count / score / 1e9
        gemm = max(2 * _SQUARE**3 / median(seconds[one]) / 1e9 for one in ("mkl", "onednn"))
        own_shapes = own / median(seconds["own"]) / 1e9
        # These write for a part of the customers each round, so their rounds add up.
        peers = {what: sum(seconds[what]) / count for what in (*written, "one")}
        peers["together"] = median(seconds["together"]) / count
        figures = {
            "score_vs_generate": round(peers["generate"] / score, 2),
            "score_vs_generate_of_same_layers": round(peers["same_layers"] / score, 2),
            "score_vs_chat": round(peers["chat"] / score, 2),
            "score_vs_chat_with_reason": round(peers["chat_with_reason"] / score, 2),
            "score_vs_together": round(peers["together"] / score, 2),
            "score_vs_one_token": round(peers["one"] / score, 2),
            "score_gemm_share": round(rate / gemm, 3),
            "score_share_of_own_shapes": round(rate / own_shapes, 3),
            "scored_per_s": round(1 / score, 3),
            "generated_per_s": round(1 / peers["generate"], 3),
            "score_gflops": round(rate, 1),
            "gemm_gflops": round(gemm, 1),
            "mkl_gflops": round(2 * _SQUARE**3 / median(seconds["mkl"]) / 1e9, 1),
            "own_shapes_gflops": round(own_shapes, 1),
        }
        found |= {f"{name}{suffix}": value for name, value in figures.items()}
    found |= {f"{what}_tokens": round(tokens / count, 1) for what, tokens in written.items()}
    found["tokens_per_prompt"] = round(float(np.mean([len(prompt) for prompt in prompts])), 1)
    return found


def draw_histories(shop: Shop, files: BaseModelFiles, seed: int) -> list[History]:
    """Histories, as of now, of customers drawn by chance."""
    pasts = list(read_pasts(shop.log, present(shop)))
    drawn = np.random.default_rng(seed).permutation(len(pasts))[:_CUSTOMERS]
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
    read = length - len(slots.head)
    layers = model.get_decoder().layers
    linears = sum(_weights(layer) for layer in layers)
    attention = layers[-1].self_attn
    # The last layer's other linears see the slots only.
    rest = _weights(layers[-1]) - _weights(attention.k_proj) - _weights(attention.v_proj)
    seen = sum(range(len(slots.head) + 1, length + 1))
    seen_by_slots = sum(length + offset + 1 for offset in slots.offsets)
    # Scores and the weighted sum, in every layer and head.
    products = 2 * attention.q_proj.out_features * ((len(layers) - 1) * seen + seen_by_slots)
    labels = len(slots.label_ids) * model.config.hidden_size
    return 2 * (read * (linears - rest) + len(slots.offsets) * rest + products + labels)


def _weights(part: torch.nn.Module) -> int:
    return sum(
        module.weight.numel() for module in part.modules() if isinstance(module, torch.nn.Linear)
    )


class _Plain:
    """The base model under `generate` of transformers, and the weights that scoring reads."""

    def __init__(
        self,
        files: BaseModelFiles,
        adapter: Path,
        slots: Slots,
        prompts: Sequence[Sequence[int]],
    ) -> None:
        wrapped = load_lora(load_base_model(files), adapter, read_manifest(adapter).lora)
        self.adapted: Any = wrapped.merge_and_unload()
        self._whole: Any = load_base_model(files)
        self._tokenizer = AutoTokenizer.from_pretrained(files.folder, padding_side="left")
        # Both lines of the question, each with one token of an answer.
        self._tokens = len(slots.tail) + 2
        self._texts = {tuple(prompt): self._tokenizer.decode(prompt) for prompt in prompts}
        self.written = 0

    @torch.inference_mode()
    def generate(
        self, prompts: Sequence[Sequence[int]], tokens: int | None = None, model: Any = None
    ) -> None:
        """One prompt after the other; counts what was written."""
        self.written = 0
        for prompt in prompts:
            encoded = self._tokenizer(self._texts[tuple(prompt)], return_tensors="pt")
            self._write(encoded, tokens or self._tokens, model or self._whole)

    def generate_adapted(self, prompts: Sequence[Sequence[int]]) -> None:
        """The same by the layers that scoring reads, adapter merged."""
        self.generate(prompts, model=self.adapted)

    @torch.inference_mode()
    def chat(self, texts: Sequence[str], question: str) -> None:
        """One question after the other, each answered until the model ends."""
        self.written = 0
        for text in texts:
            encoded = self._tokenizer.apply_chat_template(
                [{"role": "user", "content": f"{text}\n\n{question}"}],
                add_generation_prompt=True,
                return_tensors="pt",
                return_dict=True,
            )
            self._write(encoded, _MOST_CHAT_TOKENS, self._whole)

    @torch.inference_mode()
    def generate_together(self, prompts: Sequence[Sequence[int]]) -> None:
        """All prompts in one batch, padded on the left."""
        texts = [self._texts[tuple(prompt)] for prompt in prompts]
        self._write(
            self._tokenizer(texts, return_tensors="pt", padding=True), self._tokens, self._whole
        )

    def _write(self, encoded: Any, tokens: int, model: Any) -> None:
        found = model.generate(
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
