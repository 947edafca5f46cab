"""Coverage on real customers whom neither the prior nor the interval has seen."""

from collections import defaultdict
from datetime import date

import numpy as np

from finetune.labels import Example
from finetune.prior import fit_prior
from finetune.season import Season, Seasons
from finetune.spend_interval import fit_spend_interval
from tests.finetune.bought_and_gone import shared_file
from tests.finetune.hand_made import past_of

CUTOFF, HORIZON = 181, 180
STILL = Season(known=True, factor=1.0, spread=0.0, freedom=3.0, text="known: not asked")


def _examples() -> list[Example]:
    """Customers of the CDNOW sample as of 1997-07-01, with what they spent in 180 days."""
    bought: dict[str, list[tuple[float, int]]] = defaultdict(list)
    for line in shared_file("CDNOW_sample.txt").read_text().splitlines():
        customer_id, _, day, _, dollars = line.split()
        when = (date.fromisoformat(day) - date(1997, 1, 1)).days
        bought[customer_id].append((when, round(float(dollars) * 100)))
    examples = []
    for customer_id, rows in bought.items():
        before = [row for row in rows if row[0] < CUTOFF]
        spend = sum(cents for when, cents in rows if CUTOFF <= when < CUTOFF + HORIZON)
        if before:
            past = past_of(before, as_of=CUTOFF, customer_id=customer_id)
            examples.append(Example(past=past, spend=spend, churned=spend == 0))
    return examples


def test_real_customers_are_covered_as_declared() -> None:
    examples, random = _examples(), np.random.default_rng(0)
    order, covered, below = random.permutation(len(examples)), [], []
    learnt = [examples[index] for index in order[:1000]]
    prior = fit_prior([learnt], [1_000.0, 5_000.0], HORIZON)
    others = [examples[index] for index in order[1000:]]
    expected = prior.answers([example.past for example in others]).spend
    actual = np.array([float(example.spend) for example in others])
    nothing = Seasons(first_event="1997-01-01T00:00:00+00:00", horizon_days=HORIZON, backcasts=())
    for _ in range(30):
        fitted = np.zeros(len(others), dtype=bool)
        fitted[random.permutation(len(others))[:600]] = True
        interval = fit_spend_interval(expected[fitted], actual[fitted].tolist(), nothing)
        assert interval is not None
        low, high = interval.around(expected[~fitted], STILL)
        covered.append(np.mean((actual[~fitted] >= low) & (actual[~fitted] <= high)))
        below.append(np.mean(actual[~fitted] < low))
    # At least as declared; above it where four of five buy nothing and the ends meet at 0.
    assert 0.79 <= np.mean(covered) <= 0.87
    assert np.mean(below) == 0  # most buy nothing, so nothing lies below
