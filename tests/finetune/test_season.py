from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from finetune.labels import build_labels
from finetune.prior import fit_prior
from finetune.season import Backcast, Seasons, read_seasons
from retrieval.event_log import EventLog
from retrieval.shop import ShopSettings
from retrieval.time_split import learning_cutoffs
from tests.finetune.hand_made import DAY_ZERO, day, event_table

HORIZON = 60
CHRISTMAS = 2.0
SETTINGS = ShopSettings.model_validate(
    {"name": "Seasonal", "churn": {"definition": "inactive", "horizon_days": HORIZON}}
)


def backcast(at: float, log_ratio: float) -> Backcast:
    return Backcast(
        cutoff=day(at).isoformat(),
        customers=100,
        expected=1e6,
        actual=float(1e6 * np.exp(log_ratio)),
    )


def seasons_of(ratios: dict[float, float]) -> Seasons:
    return Seasons(
        first_event=DAY_ZERO.isoformat(),
        horizon_days=HORIZON,
        backcasts=tuple(backcast(at, ratio) for at, ratio in sorted(ratios.items())),
    )


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> EventLog:
    """Customers who buy every ten days for three years, twice as much in the last 60 of each."""
    random, rows = np.random.default_rng(0), []
    for number in range(80):
        for when in np.arange(random.uniform(0, 10), 3 * 364, 10.0):
            in_season = when % 364 >= 304
            amount = random.integers(800, 1200) * (CHRISTMAS if in_season else 1)
            rows.append((f"c{number:02d}", float(when), int(amount), "purchase"))
    events = EventLog(tmp_path_factory.mktemp("seasonal") / "log")
    events.append(event_table(rows), source="made by hand")
    return events


def read(log: EventLog, newest: float) -> Seasons:
    horizon = timedelta(days=HORIZON)
    windows = [
        build_labels(log, cutoff, SETTINGS)
        for cutoff in learning_cutoffs(day(newest), horizon, DAY_ZERO)
    ]
    prior = fit_prior(windows, [1_000.0, 7_000.0], HORIZON)
    return read_seasons(log, prior, newest=day(newest), first_event=DAY_ZERO)


def test_the_same_weeks_of_last_year_tell_the_season(log: EventLog) -> None:
    seasons = read(log, 2 * 364 + 180)
    coming = seasons.at(day(2 * 364 + 304))
    assert coming.known
    assert coming.factor == pytest.approx(CHRISTMAS, rel=0.2)
    assert coming.text.startswith("known: in the same weeks of last year")
    usual = seasons.at(day(2 * 364 + 220))
    assert usual.known
    assert usual.factor == pytest.approx(1.0, abs=0.12)


def test_backcasts_end_by_the_newest_horizon_and_see_nothing_later(log: EventLog) -> None:
    newest = 2 * 364 + 180
    seasons = read(log, newest)
    assert max(one.moment for one in seasons.backcasts) == day(newest)
    assert seasons.backcasts == tuple(sorted(seasons.backcasts, key=lambda one: one.moment))
    assert min(one.moment for one in seasons.backcasts) >= day(HORIZON)


@pytest.mark.parametrize(("days", "known"), [(364 + 2 * HORIZON - 1, False), (364 + 120, True)])
def test_a_young_log_knows_no_season_and_says_how_many_days_it_holds(
    days: int, known: bool
) -> None:
    seasons = seasons_of({float(at): 0.1 for at in range(60, 500, 20)})
    season = seasons.at(day(days))
    assert season.known is known
    if not known:
        assert season.factor == 1.0
        assert season.text == (
            f"unknown: the log holds only {days} days before the cut-off (484 are needed)"
        )


def test_a_season_between_two_backcasts_lies_between_theirs() -> None:
    seasons = seasons_of({140.0: 0.0, 160.0: 0.4, 180.0: 0.4})
    assert seasons.at(day(364 + 150)).factor == pytest.approx(np.exp(0.2))


def test_an_adapter_fitted_before_last_years_weeks_knows_no_season() -> None:
    seasons = seasons_of({float(at): 0.1 for at in range(120, 200, 20)})
    season = seasons.at(day(364 + 300))
    assert not season.known
    assert "fitted before these weeks" in season.text


def test_outcomes_after_the_cutoff_are_not_looked_at() -> None:
    early = seasons_of({float(at): 0.1 for at in range(120, 420, 20)})
    late = replace(early, backcasts=(*early.backcasts, backcast(500.0, 5.0)))
    at = day(364 + 140)
    assert late.at(at).factor == early.at(at).factor


def test_an_unknown_season_is_as_wide_as_what_is_assumed_and_what_was_seen() -> None:
    assumed = seasons_of({}).at(day(100))
    calm = seasons_of({float(at): 0.0 for at in range(60, 321, 20)}).at(day(330))
    wild = seasons_of({float(at): 0.8 * (at // 60 % 2) for at in range(60, 321, 20)}).at(day(330))
    assert calm.spread < assumed.spread < wild.spread
    assert calm.freedom == wild.freedom == assumed.freedom + 4
    # Four of five changes within a factor of 1.5, before anything is seen.
    assert 1.2816 * assumed.spread == pytest.approx(np.log(1.5), rel=1e-3)


def test_a_known_season_leaves_less_open_than_an_unknown_one() -> None:
    seasons = seasons_of({float(at): 0.3 * (at // 60 % 2) for at in range(60, 500, 20)})
    assert seasons.at(day(364 + 130)).spread < seasons.at(day(400)).spread


def test_a_shop_that_stood_still_has_no_backcast(tmp_path: Path) -> None:
    events = EventLog(tmp_path / "log")
    rows = [(f"c{n}", float(w), 500, "purchase") for n in range(50) for w in (1 + n % 3, 70, 300)]
    events.append(event_table(rows), source="made by hand")
    prior = fit_prior([build_labels(events, day(65), SETTINGS)], [100.0], HORIZON)
    seasons = read_seasons(events, prior, newest=day(205), first_event=day(1))
    cutoffs = {one.moment for one in seasons.backcasts}
    assert day(205) not in cutoffs
    assert datetime.fromisoformat(seasons.first_event) == day(1).astimezone(UTC)
