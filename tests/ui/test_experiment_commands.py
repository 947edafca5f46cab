"""`patron experiment` as a person types it."""

import json
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from agent.experiment_files import experiment_file, experiment_values, read_experiment
from agent.experiments import ExperimentError, Group, assign, entry_day
from agent.offer_file import read_offers, write_offers
from agent.offers import OfferBook
from prompts.errors import PatronError
from retrieval.shop import Shop, write_atomically
from tests.agent.experiment_shop import buy, days_after, experiment, new_shop, noon
from tests.tiny_shop import build_shop
from ui.experiment_commands import experiment_app


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    return build_shop(tmp_path / "tiny", Path("no-model"))


def run(*arguments: object) -> Result:
    return CliRunner().invoke(experiment_app, [str(each) for each in arguments])


def said(result: Result) -> str:
    assert result.exception is None, result.output
    return " ".join(result.output.split())


def refused(result: Result) -> PatronError:
    assert isinstance(result.exception, PatronError), result.output
    return result.exception


def start(shop: Shop, *more: object) -> Result:
    return run(
        *("start", "spring", "--offer", "drinks", "--shop", shop.directory),
        *("--starts", "2024-12-05", "--enrol-days", 7, "--horizon-days", 14, "--holdout", 0.5),
        *more,
    )


@pytest.mark.parametrize("command", ["plan", "start", "list", "report", "stop"])
def test_every_command_explains_itself(command: str) -> None:
    assert command in said(run("--help"))
    assert "--shop" in said(run(command, "--help"))


def test_plan_sizes_the_shop(shop: Shop) -> None:
    arguments = ("plan", "--shop", shop.directory, "--horizon-days", 28, "--effect", 0.2)
    document = json.loads(run(*arguments, "--json").output)
    assert document["customers"] == 60
    assert document["past"]["days"] == 28
    needed = [document[name] for name in ("once", "always", "always_adjusted")]
    assert all(set(each) == {"treatment", "control"} for each in needed)
    assert needed[0]["treatment"] < needed[1]["treatment"]
    text = said(run(*arguments))
    assert "Customers needed to find +20.0% (80% power, alpha 0.05, 20% control)" in text
    assert f"{needed[0]['treatment'] + needed[0]['control']:,}" in text
    assert "effect that 60 customers can show" in text
    assert "chance of buying at all" in said(run(*arguments, "--metric", "returned"))


def test_start_list_report_stop(shop: Shop) -> None:
    assert "No experiment yet" in said(run("list", "--shop", shop.directory))
    text = said(start(shop))
    assert "drinks for 60 customers, 50% of them without" in text
    assert "the last horizon is over on 2024-12-25" in text
    assert "It starts in the past" in text
    written = read_experiment(shop, "spring")
    assert (written.salt, written.metric.value, written.margin) == ("spring", "spend", 0.25)
    assert written.planned_customers == 60

    listed = json.loads(run("list", "--shop", shop.directory, "--json").output)["experiments"]
    assert [(each["experiment_id"], each["status"]) for each in listed] == [("spring", "ended")]
    assert "spring" in said(run("list", "--shop", shop.directory))

    # Sixty customers are too few for two groups of fifty.
    text = said(run("report", "spring", "--shop", shop.directory))
    assert text.startswith("Not yet known. The smaller group has")
    page = shop.directory / "experiments" / "spring.md"
    assert page.read_text().startswith("# Experiment spring\n\n**Verdict: not yet known.**")
    assert not page.with_suffix(".png").exists()
    early = run("report", "spring", "--shop", shop.directory, "--as-of", "2024-12-19", "--json")
    document = json.loads(early.output)
    first = [each for each in all_ids(shop) if entry_day(written, each) == written.starts]
    assert sum(group["complete"] for group in document["groups"].values()) == len(first)

    error = refused(run("stop", "spring", "--shop", shop.directory))
    assert "over since 2024-12-25" in error.message


def all_ids(shop: Shop) -> list[str]:
    rows = shop.log.query("SELECT DISTINCT customer_id FROM events")
    return list(rows["customer_id"].to_pylist())


def test_a_running_experiment_is_stopped_today(shop: Shop) -> None:
    offers = read_offers(shop.offers_file, "USD", shop.zone)
    today = datetime.now(shop.zone)
    running = offers["drinks"]
    _write_offer(shop, offers, running.starts, today + timedelta(days=60))
    begun = run("start", "now", "--offer", "drinks", "--shop", shop.directory, "--json")
    assert json.loads(begun.output)["starts"] == str(today.date())
    listed = json.loads(run("list", "--shop", shop.directory, "--json").output)["experiments"]
    assert listed[0]["status"] == "running"
    assert f"is stopped from {today.date()} on" in said(
        run("stop", "now", "--shop", shop.directory)
    )
    assert read_experiment(shop, "now").stopped == today.date()


def _write_offer(shop: Shop, book: OfferBook, starts: datetime, expires: datetime) -> None:
    longer = replace(book["drinks"], starts=starts, expires=expires)
    write_offers(shop.offers_file, OfferBook([longer], currency="USD"), shop.zone)


def test_what_is_wrong_is_named(shop: Shop, tmp_path: Path) -> None:
    start(shop)
    cases = {
        "already": start(shop),
        "no offer 'gold'": start(shop, "--offer", "gold"),
        "'salt'": start(shop, "--salt", "a/b"),
        "value tiers are": start(shop, "--tier", "gold"),
        "cannot both": start(shop, "--tier", "low", "--customers", tmp_path / "ids.txt"),
        "ids.txt": start(shop, "--customers", tmp_path / "ids.txt"),
        "no experiment 'nope'": run("report", "nope", "--shop", shop.directory),
        "is not a shop": run("list", "--shop", tmp_path / "none"),
    }
    for told, result in cases.items():
        error = refused(result)
        assert told in error.message
        assert error.hint
    assert start(shop, "--holdout", "1").exit_code == 2


def test_only_the_listed_customers_are_covered(shop: Shop, tmp_path: Path) -> None:
    ids = tmp_path / "vip.txt"
    ids.write_text("c01\nc04\nc07\n")
    assert "for 3 customers" in said(start(shop, "--customers", ids))
    assert read_experiment(shop, "spring").customer_ids == {"c01", "c04", "c07"}
    assert read_experiment(shop, "spring").covers == "customers of vip.txt"


def test_a_true_effect_is_reported_with_page_and_picture(tmp_path: Path) -> None:
    """400 customers who spend $20 before; then $20 in the control group, $26 in the treatment."""
    shop = new_shop(tmp_path / "shop")
    tested = experiment(planned_customers=400)
    ids = [f"c{number}" for number in range(400)]
    purchases = []
    for number, each in enumerate(ids):
        base = 2_000 + 10 * (number % 21) - 100
        more = 600 if assign(tested, each) is Group.TREATMENT else 0
        entered = entry_day(tested, each)
        purchases += [
            (each, noon(days_after(-10)), base),
            (each, noon(entered + timedelta(days=3)), base + more + 7 * (number % 11) - 35),
        ]
    purchases.append(("c0", noon(days_after(40)), 100))
    buy(shop, purchases)
    file = experiment_file(shop, tested.experiment_id)
    write_atomically(file, json.dumps(experiment_values(tested)).encode())
    result = run("report", "spring", "--shop", shop.directory, "--json")
    document = json.loads(result.output)
    assert (document["verdict"], document["ratio"]["mismatch"]) == ("ships", False)
    adjusted = document["estimates"]["adjusted"]
    assert adjusted["sequential"]["low"] < 600 < adjusted["sequential"]["high"]
    assert adjusted["effect"] == pytest.approx(600, abs=10)
    assert document["groups"]["control"]["after"][0] == pytest.approx(2_000, abs=20)
    page = Path(document["page"])
    assert "![The effect day by day, and the groups](spring.png)" in page.read_text()
    assert page.with_suffix(".png").read_bytes().startswith(b"\x89PNG")
    text = said(run("report", "spring", "--shop", shop.directory))
    assert text.startswith("Ships. The effect is $")
    assert "spend, adjusted" in text


def test_errors_are_ones_that_the_command_line_shows() -> None:
    assert issubclass(ExperimentError, PatronError)
    assert ExperimentError.code == "experiment_error"
