"""Time the item judge's packed pass against one pass an item, on real histories and titles.

    python bench/judge_speed.py --shop demo-shop        (20 items for each of 20 customers)

Both sides use one model and the same token ids in one process, and take turns customer by customer.
The requirement: packed is at least 5 times as fast and puts every customer's items in the same
order. Exits with 1 where that fails. The last line printed is one JSON document.
"""

import argparse
import json
import random
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from finetune.base_model import BaseModelFiles, find_base_model, load_base_model, token_counter
from finetune.calibration import Floats
from finetune.item_judge import ItemJudge, answer_ids, encode_question
from retrieval.catalogue import Catalogue
from retrieval.history import quoted, render_history
from retrieval.orders import read_pasts
from retrieval.progress import Progress, no_progress
from retrieval.shop import Shop
from retrieval.time_split import present
from ui.terminal import progress_bars

MIN_SPEEDUP = 5.0

Request = tuple[str, list[str]]
Timed = tuple[float, Floats]


def main() -> None:
    """Draw customers and items, judge them both ways, compare."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--shop", type=Path, default=Path("demo-shop"))
    parser.add_argument("--customers", type=int, default=20)
    parser.add_argument("--items", type=int, default=20)
    parser.add_argument("--seed", type=int, default=11)
    arguments = parser.parse_args()
    with progress_bars() as progress:
        result = measure(
            arguments.shop,
            customers=arguments.customers,
            items=arguments.items,
            seed=arguments.seed,
            progress=progress,
        )
    print(f"packed:     {1000 / result['packed_ms']:.2f} customers/s")
    print(f"separately: {1000 / result['separate_ms']:.2f} customers/s")
    print(f"speed-up:   {result['speedup']:.1f} times")
    print(f"largest difference of logits: {result['max_difference']:.2g}")
    print(f"same order: {result['same_order_share']:.0%} of the customers")
    print(json.dumps(result))
    sys.exit(result["speedup"] < MIN_SPEEDUP or result["same_order_share"] < 1)


def measure(
    directory: Path,
    *,
    customers: int = 20,
    items: int = 20,
    seed: int = 11,
    progress: Progress = no_progress,
) -> dict[str, float]:
    """Time both ways on a shop; see `compare`."""
    shop = Shop.open(directory)
    files = find_base_model(shop.settings.models.base)
    model = load_base_model(files)
    judge = ItemJudge(model, files)
    requests = draw_requests(shop, files, random.Random(seed), customers, items)
    judge.judge(*requests[0])  # the first pass also allocates
    packed: list[Timed] = []
    separate: list[Timed] = []
    for history, titles in requests:
        packed.append(timed(judge.judge, history, titles))
        separate.append(timed(judge_separately, model, files, history, titles))
        progress("Judging both ways", len(packed), len(requests))
    return compare(packed, separate)


def draw_requests(
    shop: Shop, files: BaseModelFiles, chance: random.Random, customers: int, items: int
) -> list[Request]:
    """Histories of customers drawn by chance, each with titles drawn by chance."""
    catalogue = Catalogue.read(shop.items_file)
    # Titles that are cut to the same words would be ties, in an order of chance.
    titles = sorted({quoted(item.title) for item in catalogue.items.values()})
    pasts = list(read_pasts(shop.log, present(shop)))
    count_tokens = token_counter(files)
    requests = []
    for past in chance.sample(pasts, min(customers, len(pasts))):
        history = render_history(
            past, settings=shop.settings, catalogue=catalogue, count_tokens=count_tokens
        )
        requests.append((history.text, chance.sample(titles, min(items, len(titles)))))
    return requests


@torch.inference_mode()
def judge_separately(
    model: Any, files: BaseModelFiles, history: str, titles: Sequence[str]
) -> Floats:
    """What `ItemJudge.judge` says, each item's whole prompt in a forward pass of its own.

    As there, only the two answers' logits are computed.

    Returns:
        logit(yes) - logit(no) `[titles]`.
    """
    question = encode_question(files, history, titles)
    answers = model.get_output_embeddings().weight[list(answer_ids(files))]
    decoder = model.get_decoder()
    differences = np.zeros(len(titles))
    for index, part in enumerate(question.parts):
        ids = torch.tensor([[*question.prefix, *part]])
        hidden = decoder(input_ids=ids, use_cache=False).last_hidden_state
        no, yes = (hidden[0, -1] @ answers.T).double().tolist()
        differences[index] = yes - no
    return differences


def timed(function: Callable[..., Floats], *arguments: Any) -> Timed:
    """Seconds a call took, and its value."""
    started = time.perf_counter()
    value = function(*arguments)
    return time.perf_counter() - started, value


def compare(packed: Sequence[Timed], separate: Sequence[Timed]) -> dict[str, float]:
    """Milliseconds a customer on both sides, and how far their answers agree."""
    packed_ms, separate_ms = (
        1000 * sum(seconds for seconds, _ in side) / len(side) for side in (packed, separate)
    )
    pairs = [(ours, theirs) for (_, ours), (_, theirs) in zip(packed, separate, strict=True)]
    same = [np.array_equal(np.argsort(-ours), np.argsort(-theirs)) for ours, theirs in pairs]
    return {
        "packed_ms": round(packed_ms, 1),
        "separate_ms": round(separate_ms, 1),
        "speedup": round(separate_ms / packed_ms, 2),
        "same_order_share": sum(same) / len(same),
        "max_difference": max(float(np.abs(ours - theirs).max()) for ours, theirs in pairs),
    }


if __name__ == "__main__":
    main()
