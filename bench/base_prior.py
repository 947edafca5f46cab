"""Learn the cross-shop prior that is shipped, from all shops of the bench.

    python -m bench.base_prior FILE

Windows are those that each shop's own prior learns from; no outcome after a test cut-off is read.
"""

import argparse
from pathlib import Path

import numpy as np

from bench.prediction_day_one import shop_windows
from bench.shops import open_bench_shops
from finetune.cross_shop import fit_cross_shop
from retrieval.shop import write_atomically
from ui.terminal import progress_bars


def main() -> None:
    """Fit and write."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("file", type=Path, help="where the prior is written, as JSON")
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--work", type=Path, default=Path("bench/.work"))
    arguments = parser.parse_args()
    names = ("complete_journey", "online_retail", "cdnow")
    with progress_bars() as progress:
        windows = [
            window
            for bench in open_bench_shops(arguments.work, arguments.data, names, progress)
            for window in shop_windows(bench)
        ]
        prior = fit_cross_shop(windows)
    write_atomically(arguments.file, prior.to_json().encode())
    print(
        f"{arguments.file}: learnt from {len(windows)} windows of {', '.join(prior.shops)}; a new "
        f"shop's total is off by a factor of {np.exp(prior.level_error):.2f} (one deviation)"
    )


if __name__ == "__main__":
    main()
