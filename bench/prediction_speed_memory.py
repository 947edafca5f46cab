"""Peak memory of scoring a small and a large shop.

    python -m bench.prediction_speed_memory SHOP

scores one shop in this process and prints its own peak. `measure_memory` makes shops of 2,000 and
20,000 customers and starts one such process for each. Their customers are real ones under new ids,
repeated as often as needed: those of the demonstration shop with the fewest lines, so that the
large log is written in seconds. Their base model has the real tokens and vocabulary but one narrow
layer, for how long the layers take decides the time and not what is kept: what a pass holds depends
on its tokens, which are bounded, whatever the number of customers. Everything else (reading,
rendering, prior, calibration, parts and file) is what `patron score` does.
"""

import argparse
import json
import shutil
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import torch
from transformers import AutoConfig, AutoModelForCausalLM

from finetune.adapter import (
    MANIFEST_FILE,
    PRIOR_FILE,
    WEIGHTS_FILE,
    LoraSettings,
    add_lora,
    current_adapter,
    install_adapter,
    lora_state,
    read_manifest,
    trainable,
    weights_bytes,
)
from finetune.base_model import find_base_model, load_base_model
from finetune.batch_scoring import CHUNK_SIZE, score_shop
from finetune.blend import Blend
from retrieval.events import CUSTOMER_ID, EVENT_ID, ORDER_ID
from retrieval.progress import Progress
from retrieval.shop import Shop, write_atomically

SIZES = (2_000, 20_000)
_SOURCE_CUSTOMERS = 500
_MIB = 1024  # kB, the unit of /proc
# Both sides are asked, whatever the shipped adapter's own shares are.
_BLEND = Blend(churn=0.5, tier=0.5, spend=0.5)


def main() -> None:
    """Score one shop and print the process's peak memory."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("shop", type=Path)
    shop = Shop.open(parser.parse_args().shop)
    first: list[float] = []

    def watch(_: str, done: int, total: int) -> None:
        if done >= min(CHUNK_SIZE, total) and not first:
            first.append(_peak_mib())

    started = time.perf_counter()
    report = score_shop(shop, progress=watch)
    peak = _peak_mib()
    print(
        json.dumps(
            {
                "customers": report.customers,
                "peak_mib": round(peak, 1),
                "grown_mib": round(peak - first[0], 1),
                "seconds": round(time.perf_counter() - started, 1),
            }
        )
    )


def measure_memory(
    shop: Shop, work: Path, *, seed: int, progress: Progress, sizes: tuple[int, ...] = SIZES
) -> dict[str, dict[str, float]]:
    """Peak memory, by number of customers.

    Args:
        shop: with an adapter; its log and catalogue are read.
        work: the shops are made here and removed again.
        seed: of the narrow model's weights.
        sizes: customers of each shop.
        progress: told of every size.
    """
    folder = work / "speed-memory"
    shutil.rmtree(folder, ignore_errors=True)
    base = _narrow_base_model(shop, folder / "base", seed)
    found = {}
    for number, size in enumerate(sizes):
        progress("Measuring memory", number, len(sizes))
        copy = _repeated(shop, folder / str(size), base, size)
        done = subprocess.run(
            [sys.executable, "-m", "bench.prediction_speed_memory", str(copy.directory)],
            capture_output=True,
            text=True,
            check=True,
        )
        found[str(size)] = json.loads(done.stdout.splitlines()[-1])
        assert found[str(size)]["customers"] == size
        shutil.rmtree(copy.directory)
    progress("Measuring memory", len(sizes), len(sizes))
    shutil.rmtree(folder)
    return found


def _narrow_base_model(shop: Shop, folder: Path, seed: int) -> Path:
    """One layer of 64 with the real vocabulary; weights by chance."""
    files = find_base_model(shop.settings.models.base)
    config = AutoConfig.from_pretrained(files.folder)
    config.num_hidden_layers, config.hidden_size, config.intermediate_size = 1, 64, 128
    config.num_attention_heads, config.num_key_value_heads, config.head_dim = 2, 1, 32
    if getattr(config, "layer_types", None):
        config.layer_types = config.layer_types[:1]
    torch.manual_seed(seed)
    AutoModelForCausalLM.from_config(config).save_pretrained(folder)
    shutil.copy(files.folder / "tokenizer.json", folder)
    return folder


def _repeated(shop: Shop, directory: Path, base: Path, size: int) -> Shop:
    """A shop of `size` customers, with an adapter for the narrow base model."""
    document = shop.settings.model_dump(mode="json", exclude_none=True)
    document["models"]["base"] = str(base.resolve())
    copy = Shop.create(directory, type(shop.settings).model_validate(document))
    shutil.copy(shop.items_file, copy.items_file)
    lines = shop.log.query(
        f"SELECT * FROM events WHERE {CUSTOMER_ID} IN ("
        f"SELECT {CUSTOMER_ID} FROM events GROUP BY {CUSTOMER_ID} "
        f"HAVING count(*) FILTER (kind = 'purchase') > 0 "
        f"ORDER BY count(*), {CUSTOMER_ID} LIMIT {_SOURCE_CUSTOMERS})",
        {},
    )
    rank = {
        customer: number
        for number, customer in enumerate(sorted(set(lines[CUSTOMER_ID].to_pylist())))
    }
    ranks = np.array([rank[customer] for customer in lines[CUSTOMER_ID].to_pylist()])
    for number, start in enumerate(range(0, size, len(rank))):
        chosen = lines.filter(pa.array(ranks < size - start))
        for column in (CUSTOMER_ID, ORDER_ID, EVENT_ID):
            renamed = [f"{number}-{value}" for value in chosen[column].to_pylist()]
            field = chosen.schema.get_field_index(column)
            chosen = chosen.set_column(field, chosen.schema.field(column), pa.array(renamed))
        copy.log.append(chosen, source=f"repeat {number}")
    _install_narrow_adapter(shop, copy, directory / "narrow")
    return copy


def _install_narrow_adapter(shop: Shop, copy: Shop, folder: Path) -> None:
    """The shop's manifest and prior, with fresh weights for the copy's base model."""
    source = current_adapter(shop)
    files = find_base_model(copy.settings.models.base)
    lora = LoraSettings(rank=4, layers=1)
    state = lora_state(trainable(add_lora(load_base_model(files), lora)))
    manifest = replace(
        read_manifest(source),
        base_model=files.name,
        base_sha256=files.sha256,
        lora=lora,
        blend=_BLEND,
    )
    write_atomically(folder / WEIGHTS_FILE, weights_bytes(state))
    write_atomically(folder / MANIFEST_FILE, manifest.to_json().encode())
    write_atomically(folder / PRIOR_FILE, (source / PRIOR_FILE).read_bytes())
    install_adapter(copy, folder)


def _peak_mib() -> float:
    """Of this process since it began; `ru_maxrss` would be that of the one that started it."""
    (line,) = (
        line
        for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines()
        if line.startswith("VmHWM:")
    )
    return int(line.split()[1]) / _MIB


if __name__ == "__main__":
    main()
