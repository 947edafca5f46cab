"""The shop's experiments on disk: `experiments/<id>.json`, written once, then only stopped."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, replace
from datetime import date, datetime
from pathlib import Path
from typing import Annotated, Any

from filelock import FileLock, Timeout
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from agent.experiments import Experiment, ExperimentError, Metric, Status
from agent.offers import Offer
from retrieval.errors import StorageError
from retrieval.shop import Shop, write_atomically

_FOLDER = "experiments"
_LOCK_SECONDS = 10

_Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$")]
_Share = Annotated[float, Field(gt=0, lt=1)]


class _ExperimentFile(BaseModel):
    """What an experiment may hold; its fields are those of `Experiment`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    experiment_id: _Name
    offers: Annotated[tuple[str, ...], Field(min_length=1)]
    holdout_share: _Share
    metric: Metric
    written: date
    starts: date
    enrolment_days: Annotated[int, Field(ge=1, le=730)]
    horizon_days: Annotated[int, Field(ge=1, le=730)]
    minimum_effect: Annotated[float, Field(gt=0, le=10)]
    power: Annotated[float, Field(ge=0.5, lt=1)]
    alpha: Annotated[float, Field(gt=0, le=0.5)]
    margin: Annotated[float, Field(gt=0, le=1)]
    salt: _Name
    covers: str
    customer_ids: frozenset[str] | None
    planned_customers: Annotated[int, Field(ge=2)]
    stopped: date | None = None


def make_experiment(values: Mapping[str, Any]) -> Experiment:
    """Make an experiment from raw values, each checked.

    Args:
        values: the fields of `Experiment`; dates may be text.

    Raises:
        ExperimentError: a value is wrong; the message names the field.
    """
    try:
        checked = _ExperimentFile.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        name = values.get("experiment_id", "")
        field = ".".join(str(part) for part in first["loc"])
        raise ExperimentError(
            f"Experiment '{name}': '{field}': {first['msg']}.",
            hint="Correct that value; names are small letters, digits, '-', '_' and '.'.",
        ) from error
    return Experiment(**dict(checked))


def experiment_values(experiment: Experiment) -> dict[str, Any]:
    """An experiment as JSON values; `make_experiment` gives back an equal one."""
    values = asdict(experiment)
    ids = experiment.customer_ids
    return values | {
        "offers": list(experiment.offers),
        "written": experiment.written.isoformat(),
        "starts": experiment.starts.isoformat(),
        "stopped": None if experiment.stopped is None else experiment.stopped.isoformat(),
        "customer_ids": None if ids is None else sorted(ids),
    }


def start_experiment(shop: Shop, experiment: Experiment, offers: Mapping[str, Offer]) -> Path:
    """Write a new experiment into the shop; from its first day on it withholds offers.

    Args:
        shop: the shop.
        experiment: as `make_experiment` checked it.
        offers: the shop's offers by id.

    Returns:
        The file written.

    Raises:
        ExperimentError: there is one of that name, an offer is unknown, does not run while
            customers enter, or is under test by another experiment at the same time.
        StorageError: the disk refuses.
    """
    file = experiment_file(shop, experiment.experiment_id)
    for offer_id in experiment.offers:
        _check_offer(experiment, offer_id, offers, shop)
    with _sole_writer(shop):
        if file.exists():
            raise ExperimentError(
                f"There is an experiment '{experiment.experiment_id}' already.",
                hint="Choose another name; an experiment is never written over.",
            )
        for other in list_experiments(shop):
            _check_apart(experiment, other)
        _write(file, experiment)
    return file


def stop_experiment(shop: Shop, experiment_id: str, day: date) -> Experiment:
    """Record that an experiment no longer withholds from `day` on.

    Raises:
        ExperimentError: there is none, or it has ended or was stopped already.
        StorageError: the disk refuses.
    """
    with _sole_writer(shop):
        experiment = read_experiment(shop, experiment_id)
        status = experiment.status(day)
        if experiment.stopped is not None or status is Status.ENDED:
            over = experiment.stopped or experiment.ends
            raise ExperimentError(
                f"Experiment '{experiment_id}' is over since {over}.",
                hint=f"Read it with: patron experiment report {experiment_id}",
            )
        stopped = replace(experiment, stopped=day)
        _write(experiment_file(shop, experiment_id), stopped)
    return stopped


def read_experiment(shop: Shop, experiment_id: str) -> Experiment:
    """Read one experiment.

    Raises:
        ExperimentError: there is none of that name, or its file is damaged.
    """
    known = {file.stem: file for file in _files(shop)}
    if experiment_id not in known:
        listed = ", ".join(known) or "none"
        raise ExperimentError(
            f"There is no experiment '{experiment_id}' in {shop.directory}.",
            hint=f"Those there are: {listed}.",
        )
    return _read(known[experiment_id])


def list_experiments(shop: Shop) -> tuple[Experiment, ...]:
    """Every experiment of the shop, by first day and name.

    Raises:
        ExperimentError: a file is damaged.
    """
    found = (_read(file) for file in _files(shop))
    return tuple(
        sorted(found, key=lambda experiment: (experiment.starts, experiment.experiment_id))
    )


def running_experiments(shop: Shop, as_of: datetime) -> tuple[Experiment, ...]:
    """The experiments that withhold offers at a moment.

    Args:
        shop: the shop.
        as_of: aware; the day that it is in the shop's time zone decides.

    Raises:
        ExperimentError: a file is damaged.
    """
    day = as_of.astimezone(shop.zone).date()
    return tuple(
        experiment
        for experiment in list_experiments(shop)
        if experiment.status(day) is Status.RUNNING
    )


def experiments_stamp(shop: Shop) -> tuple[tuple[str, int], ...]:
    """What changes when an experiment is started or stopped."""
    return tuple((file.name, file.stat().st_mtime_ns) for file in _files(shop))


def experiment_file(shop: Shop, experiment_id: str) -> Path:
    """Where an experiment is; its report lies beside it as `.md` and `.png`."""
    return shop.directory / _FOLDER / f"{experiment_id}.json"


def _files(shop: Shop) -> list[Path]:
    return sorted((shop.directory / _FOLDER).glob("*.json"))


def _read(file: Path) -> Experiment:
    try:
        values = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ExperimentError(
            f"{file} cannot be read: {error}.", hint="Restore it from a copy of the shop directory."
        ) from error
    if not isinstance(values, dict) or values.get("experiment_id") != file.stem:
        raise ExperimentError(
            f"{file} does not hold the experiment '{file.stem}'.",
            hint="Restore it from a copy of the shop directory.",
        )
    return make_experiment(values)


def _write(file: Path, experiment: Experiment) -> None:
    text = json.dumps(experiment_values(experiment), indent=2, ensure_ascii=False)
    write_atomically(file, f"{text}\n".encode())


def _check_offer(
    experiment: Experiment, offer_id: str, offers: Mapping[str, Offer], shop: Shop
) -> None:
    offer = offers.get(offer_id)
    if offer is None:
        raise ExperimentError(
            f"Experiment '{experiment.experiment_id}': there is no offer '{offer_id}'.",
            hint=f"The shop's offers are in {shop.offers_file}.",
        )
    first = offer.starts.astimezone(shop.zone).date()
    after_last = offer.expires.astimezone(shop.zone).date()
    if experiment.starts < first or after_last <= experiment.last_entry:
        raise ExperimentError(
            f"Experiment '{experiment.experiment_id}': offer '{offer_id}' runs from {first} until "
            f"before {after_last}; customers would enter from {experiment.starts} to "
            f"{experiment.last_entry}.",
            hint="Move the start, shorten the enrolment, or let the offer run longer.",
        )


def _check_apart(experiment: Experiment, other: Experiment) -> None:
    shared = sorted(set(experiment.offers) & set(other.offers))
    other_ends = min(other.ends, other.stopped or other.ends)
    if shared and experiment.starts < other_ends and other.starts < experiment.ends:
        raise ExperimentError(
            f"Offer '{shared[0]}' is under test in experiment '{other.experiment_id}' until "
            f"{other_ends}.",
            hint="Start after that day, test another offer, or stop that experiment.",
        )


@contextmanager
def _sole_writer(shop: Shop) -> Iterator[None]:
    lock = FileLock(shop.directory / ".experiments.lock", timeout=_LOCK_SECONDS)
    try:
        lock.acquire()
    except Timeout as error:
        raise ExperimentError(
            f"Another process is writing the experiments of {shop.directory}.",
            hint="Wait for it to end, then run this again.",
        ) from error
    except OSError as error:
        raise StorageError(
            f"Cannot write to {shop.directory}: {error}.", hint="Make the shop directory writable."
        ) from error
    try:
        yield
    finally:
        lock.release()
