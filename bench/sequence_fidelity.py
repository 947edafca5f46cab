"""How like the log a simulated shop is, on customers and periods that it was not fitted to."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from bench.offers_report import OfferOptions, OfferReport
from bench.sequence_behaviour import Behaviour, behaviour_of, distances
from bench.sequence_plots import plot_fidelity
from finetune.customer_paths import CustomerPaths
from finetune.customer_states import HORIZON_PERIODS
from finetune.shop_simulator import fit_simulator, repeating, simulate

SET = "complete_journey over time"


def show_fidelity(
    report: OfferReport,
    options: OfferOptions,
    learnt: CustomerPaths,
    others: CustomerPaths,
    *,
    cuts: tuple[float, float],
    first: int,
) -> None:
    """Add, print and draw the held-out table: later periods of other customers.

    Args:
        report: added to.
        options: seed, and where pictures go.
        learnt: customers to whose periods before `first` the simulators are fitted.
        others: customers whose periods from `first` on are simulated.
        cuts: tiers' cuts.
        first: the first simulated period.
    """
    set_ = f"{SET}, fidelity"
    others = others.of(others.known_at(first))
    simulator = fit_simulator(learnt, cuts, until=first)
    ours, naive, peers = "simulator", "independent draws", "real, first half"
    shops = {
        "real": others,
        peers: learnt.of(learnt.known_at(first)),
        ours: simulate(simulator, others, repeating(others), first=first, seed=options.seed),
        naive: drawn_independently(others, learnt, first, options.seed),
    }
    behaviours = {name: behaviour_of(each, first, cuts) for name, each in shops.items()}
    table = side_by_side(behaviours.pop("real"), behaviours)
    report.table(f"{set_}: fitted to periods before {first}, shown after", table)
    for metric, figures in table.items():
        for system, figure in figures.items():
            if figure is not None:
                report.row(set_, system, metric, figure)
    further = [
        name for name, figures in table.items() if _off(figures, ours) > _off(figures, naive)
    ]
    apart = [figures for name, figures in table.items() if name.startswith("KS")]
    worst, usual = (max(figures[name] or 0 for figures in apart) for name in (ours, peers))
    report.verdict(
        set_,
        f"The simulator's largest Kolmogorov-Smirnov distance is {worst:.3f}, where the two halves "
        f"of the real customers differ by up to {usual:.3f}. Of {len(table)} figures it is further "
        f"from the log than independent draws on {len(further)}: {', '.join(further) or 'none'}.",
    )
    plot_fidelity(
        {name: behaviour_of(each, first, cuts) for name, each in shops.items()},
        options.plots / "sequence-fidelity.png",
    )


def _off(figures: dict[str, float | None], system: str) -> float:
    """How far a figure is from the real one; a distance is that already."""
    return abs((figures[system] or 0.0) - (figures["real"] or 0.0))


def drawn_independently(
    paths: CustomerPaths, source: CustomerPaths, first: int, seed: int
) -> CustomerPaths:
    """The naive simulator: each period is one of any known customer, by chance.

    Args:
        paths: customers to simulate.
        source: customers to draw from.
        first: the first simulated period; draws are from before it.
        seed: of the draws.
    """
    generator = np.random.default_rng(seed)
    made = replace(paths, spend=paths.spend.copy(), visited=paths.visited.copy())
    days = source.visited.reshape(len(source.visited), -1, source.period_days)
    known = [source.known_at(period) for period in range(HORIZON_PERIODS, first)]
    drawable = np.argwhere(np.column_stack(known))
    for period in range(first, paths.periods):
        chosen = generator.integers(0, len(drawable), len(paths.customer_ids))
        customer, drawn = drawable[chosen].T
        begin = period * paths.period_days
        made.spend[:, period] = source.spend[customer, HORIZON_PERIODS + drawn]
        made.visited[:, begin : begin + paths.period_days] = days[customer, HORIZON_PERIODS + drawn]
    return made


def side_by_side(
    real: Behaviour, simulated: Mapping[str, Behaviour]
) -> dict[str, dict[str, float | None]]:
    """Figures by name, then by column: the real ones and each simulator's; a distance has none."""
    table: dict[str, dict[str, float | None]] = {}
    for name, figure in real.figures.items():
        table[name] = {"real": figure}
        table[name].update({system: each.figures[name] for system, each in simulated.items()})
    apart = {system: distances(real, each) for system, each in simulated.items()}
    for name in next(iter(apart.values())):
        table[name] = {"real": None}
        table[name].update({system: found[name] for system, found in apart.items()})
    return table
