"""Whether offers pay: effects, targeting and offers over time, beside their peers, in one run.

    make bench-offers

Three sections: Hillstrom's randomised e-mails (`bench.offers_hillstrom`), Complete Journey's
campaigns, which nobody randomised (`bench.offers_journey`), and offers over time in a simulator
fitted to the logs (`bench.offers_sequence`). What must hold is claimed: that Patron ranks visits
after the women's e-mail no worse than the best peer, that placebo campaigns show no effect, and
that the learnt policy earns more than targeting by risk and by value. Looking ahead need not win;
its verdict says whether it does. The last line printed is one JSON document; its keys are those of
`bench.offers_report`.
"""

import argparse
import sys
from importlib import import_module
from pathlib import Path

import matplotlib

from bench.offers_report import OfferOptions, OfferReport, Section

SECTIONS = ("hillstrom", "journey", "sequence")


def main() -> None:
    """Measure and print; exits with 1 where a claim does not hold."""
    arguments = _arguments()
    options = OfferOptions(
        seeds=arguments.seeds,
        seed=arguments.seed,
        data=arguments.data,
        work=arguments.work,
        plots=arguments.plots or arguments.work / "plots",
        margin=arguments.margin,
        message_cents=arguments.message_cents,
    )
    report = OfferReport(seed=options.seed)
    for name in SECTIONS:
        if name in arguments.only:
            _section(name)(report, options)
    report.finish()
    sys.exit(not report.holds())


def _section(name: str) -> Section:
    # Imported when its turn comes: each brings libraries that the others do without.
    measure: Section = import_module(f"bench.offers_{name}").measure
    # Importing causalml changes how every later picture looks.
    matplotlib.rcdefaults()
    return measure


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--seeds", type=int, default=8, help="how many random splits")
    parser.add_argument("--seed", type=int, default=0, help="the first of them")
    parser.add_argument("--only", nargs="+", choices=SECTIONS, default=SECTIONS, metavar="SECTION")
    parser.add_argument(
        "--data", type=Path, default=Path("../shared/data"), help="holds hillstrom.csv"
    )
    parser.add_argument(
        "--work", type=Path, default=Path("bench/.work"), help="keeps what is made between runs"
    )
    parser.add_argument("--plots", type=Path, help="for pictures; WORK/plots if left out")
    parser.add_argument(
        "--margin", type=float, default=0.3, help="profit's share of Hillstrom's spend, assumed"
    )
    parser.add_argument(
        "--message-cents", type=int, default=5, help="cost of a Hillstrom e-mail, assumed"
    )
    return parser.parse_args()


if __name__ == "__main__":
    main()
