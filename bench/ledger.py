"""Whether the ledger spends twice, breaks a cap or loses a claim, and how fast it is.

    make bench-ledger

Three parts, each on a new file: many processes ask for more claims than one budget, one set of
codes and the customers' caps allow; many ask for one claim with one key; and processes are killed
at every point of a claim. What went wrong is counted by SQL of its own and from what each process
was told. The last line printed is one JSON document: `claims` (asked for, granted or refused),
`overspend` (cents), `cap_breaches`, `double_codes`, `balanced`, `kills`, `lost` (acknowledged
claims that the file does not have), `claims_per_second` (answered, each after its transaction is on
the disk), `commit` and `hardware`. The exit code is 1 unless all that must hold does.
"""

import argparse
import json
import sys
import tempfile
from pathlib import Path

from bench.ledger_counts import Counts, count_breaches
from bench.ledger_kills import Kills, run_kills
from bench.ledger_load import Load, ask_with_one_key, make_offer, run_load, terms_of
from bench.report import Report
from retrieval.progress import Progress
from ui.terminal import progress_bars

_REPEATS = 100
_REPEATING_PROCESSES = 20


def main() -> None:
    """Measure, print, and exit with 1 where something that must hold does not."""
    arguments = _arguments()
    report = Report(seed=arguments.seed)
    with (
        tempfile.TemporaryDirectory(dir=arguments.work) as folder,
        progress_bars() as progress,
    ):
        figures = measure(
            Path(folder),
            report,
            processes=arguments.processes,
            claims=arguments.claims,
            kills=arguments.kills,
            progress=progress,
        )
    origin = report.origin()
    print(json.dumps(figures | {name: origin[name] for name in ("commit", "hardware")}))
    sys.exit(not report.holds())


def measure(
    folder: Path, report: Report, *, processes: int, claims: int, kills: int, progress: Progress
) -> dict[str, object]:
    """All three parts; the figures of the JSON document.

    Args:
        folder: empty; on the disk that is measured.
        report: told what must hold.
        processes: how many claim at once.
        claims: of each process.
        kills: how many.
        progress: told how far it is.
    """
    load = run_load(
        folder / "load.db", processes=processes, claims=claims, seed=report.seed, progress=progress
    )
    breaches = count_breaches(
        folder / "load.db", {x.offer_id: terms_of(x) for x in load.offers}, load.acknowledged
    )
    _judge_load(report, load, breaches)
    _judge_one_key(report, folder / "one-key.db")
    killed = run_kills(folder / "kills.db", kills=kills, seed=report.seed, progress=progress)
    after_kills = count_breaches(
        folder / "kills.db",
        {"tea": terms_of(make_offer("tea", budget=10**10, needs_code=True))},
        killed.acknowledged,
    )
    _judge_kills(report, killed, after_kills)
    return {
        "claims": load.asked,
        "overspend": breaches.overspend + after_kills.overspend,
        "cap_breaches": breaches.cap_breaches + after_kills.cap_breaches,
        "double_codes": breaches.double_codes + after_kills.double_codes,
        "balanced": breaches.balanced and after_kills.balanced,
        "kills": killed.points.total() - killed.survived,
        "lost": breaches.lost + after_kills.lost,
        "claims_per_second": round(load.asked / load.seconds, 1),
    }


def _judge_load(report: Report, load: Load, breaches: Counts) -> None:
    report.table(
        f"{len(load.slowest)} processes, {load.asked:,} claims asked for",
        {
            "ledger": {
                "granted": float(len(load.acknowledged)),
                "refused": float(load.refused),
                "seconds": load.seconds,
                "claims a second": load.asked / load.seconds,
                "slowest answer, s": max(load.slowest),
            }
        },
    )
    report.claim("more was asked for than budget, codes and caps allow", load.refused > 0)
    report.claim("nothing is spent above a budget", breaches.overspend == 0)
    report.claim("no customer has more than the cap", breaches.cap_breaches == 0)
    report.claim("each code is given once, and each claim has one", breaches.double_codes == 0)
    report.claim("the books agree", breaches.balanced)
    report.claim("every granted claim is in the file", breaches.lost == 0)


def _judge_one_key(report: Report, path: Path) -> None:
    claims, first_answers = ask_with_one_key(path, processes=_REPEATING_PROCESSES, times=_REPEATS)
    offer = make_offer("one-budget", budget=10**6)
    breaches = count_breaches(path, {offer.offer_id: terms_of(offer)}, [])
    report.claim(
        f"one key {_REPEATS} times at once is one claim",
        (claims, first_answers) == (1, 1) and breaches.balanced,
    )


def _judge_kills(report: Report, killed: Kills, after: Counts) -> None:
    report.say("Kills by point of a claim:")
    for point, count in killed.points.items():
        report.say(f"  {count:>4}  {point}")
    kills = killed.points.total()
    report.claim("every process died where it should", killed.survived == 0)
    report.claim("each kill left the old state or the new one, whole", killed.half_done == 0)
    report.claim("no acknowledged claim is lost", after.lost == 0)
    report.claim("asked again, each had exactly one effect", killed.repaired == kills)
    report.claim("the books agree after all kills", after.balanced and after.double_codes == 0)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--processes", type=int, default=64, help="that claim at once")
    parser.add_argument("--claims", type=int, default=1_000, help="of each process")
    parser.add_argument("--kills", type=int, default=200, help="over all points of a claim")
    parser.add_argument("--work", type=Path, help="folder on the disk to measure; temporary files'")
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


if __name__ == "__main__":
    main()
