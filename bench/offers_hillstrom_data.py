"""Hillstrom's e-mail test: 64,000 customers, of whom a coin sent a third men's, a third women's.

Features are what was known before: recency, spend and categories of the last year, channel, area,
and whether the customer is new. The outcomes are of the two weeks after.
"""

import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from finetune.calibration import Floats

ARMS = ("none", "men", "women")
"""The three actions, in the order of `Trial.actions`."""
OUTCOMES = ("visit", "conversion", "spend")

_ARM_OF = {"No E-Mail": 0, "Mens E-Mail": 1, "Womens E-Mail": 2}
_CUSTOMERS = 64_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """The whole test.

    Attributes:
        features: `[n, features]`.
        histories: each customer as a short text.
        spent: in the last year, dollars `[n]`.
        bought: whether the men's and the women's department were bought from `[n, 2]`.
        actions: index into `ARMS` `[n]`.
        outcomes: by name, `[n]` each; spend in dollars.
    """

    features: Floats
    histories: list[str]
    spent: Floats
    bought: Floats
    actions: NDArray[np.intp]
    outcomes: dict[str, Floats]


def read_trial(file: Path) -> Trial:
    """Read `hillstrom.csv`.

    Raises:
        SystemExit: it is absent or not whole.
    """
    if not file.is_file():
        raise SystemExit(f"{file} is absent: give --data the folder that holds it.")
    with file.open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    if len(rows) != _CUSTOMERS:
        raise SystemExit(f"{file} has {len(rows)} rows, not {_CUSTOMERS}.")
    return Trial(
        features=np.array([_features_of(row) for row in rows]),
        histories=[history_text(row) for row in rows],
        spent=np.array([float(row["history"]) for row in rows]),
        bought=np.array([[float(row["mens"]), float(row["womens"])] for row in rows]),
        actions=np.array([_ARM_OF[row["segment"]] for row in rows], dtype=np.intp),
        outcomes={name: np.array([float(row[name]) for row in rows]) for name in OUTCOMES},
    )


def history_text(row: dict[str, str]) -> str:
    """One row before the e-mail as a text of some 16 tokens; spend is the least of its segment."""
    men, women = row["mens"] == "1", row["womens"] == "1"
    goods = "all" if men and women else "men" if men else "women"
    at_least = row["history_segment"].split("$")[1].rstrip(" -+").replace(",", "")
    area = {"Surburban": "suburban"}.get(row["zip_code"], row["zip_code"].lower())
    known = "new" if row["newbie"] == "1" else "known"
    channel = row["channel"].lower()
    return f"{goods} by {channel} {row['recency']} months ago, ${at_least}, {area}, {known}"


def _features_of(row: dict[str, str]) -> list[float]:
    return [
        float(row["recency"]),
        float(np.log(float(row["history"]))),
        float(row["history_segment"][0]),
        float(row["mens"]),
        float(row["womens"]),
        float(row["newbie"]),
        float(row["zip_code"] == "Rural"),
        float(row["zip_code"] == "Urban"),
        float(row["channel"] == "Web"),
        float(row["channel"] == "Multichannel"),
    ]
