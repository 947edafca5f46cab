"""The commands as a person types them, run in this process."""

import csv
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from finetune.adapter import current_adapter
from retrieval.shop import Shop
from tests.tiny_shop import events
from ui.cli import main
from ui.logins import check_password, logins_file, read_logins

COMMANDS = (
    "init", "ingest", "index", "finetune", "evaluate", "predict", "score", "recommend", "ask",
    "chat", "serve", "login", "demo", "doctor",
)  # fmt: skip


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> "Run":
    return Run(monkeypatch, capsys)


class Run:
    def __init__(self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self.monkeypatch, self.capsys = monkeypatch, capsys

    def __call__(self, *arguments: object) -> tuple[int, str, str]:
        """Exit code, standard output and standard error."""
        self.monkeypatch.setattr(sys, "argv", ["patron", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        captured = self.capsys.readouterr()
        code = ended.value.code
        return (code if isinstance(code, int) else 0), captured.out, captured.err


def write_csv(file: Path, rows: list[dict[str, object]]) -> Path:
    with file.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return file


def test_help_names_every_command(run: Run) -> None:
    code, out, _ = run("--help")
    assert code == 0
    for command in COMMANDS:
        assert command in out


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_takes_a_shop_and_explains_itself(run: Run, command: str) -> None:
    code, out, _ = run(command, "--help")
    assert code == 0
    assert "--shop" in out


def test_init_makes_a_shop_once(run: Run, tmp_path: Path) -> None:
    shop = tmp_path / "shop"
    code, out, _ = run("init", "--shop", shop, "--currency", "GBP", "--horizon-days", 91)
    assert code == 0
    assert "patron ingest" in out
    assert Shop.open(shop).settings.currency == "GBP"
    code, _, err = run("init", "--shop", shop)
    assert code == 2
    assert "is a shop already" in err


@pytest.mark.parametrize(
    ("option", "value"),
    [("--currency", "XYZ"), ("--timezone", "Mars/North"), ("--churn", "gone")],
)
def test_init_names_the_wrong_option(run: Run, tmp_path: Path, option: str, value: str) -> None:
    code, _, err = run("init", "--shop", tmp_path / "shop", option, value)
    assert code == 2
    assert option in err
    assert not (tmp_path / "shop").exists()


def test_ingest_counts_every_row(run: Run, tmp_path: Path) -> None:
    shop = tmp_path / "shop"
    run("init", "--shop", shop)
    rows = events()[:200]
    bad = {**rows[0], "amount": "abc"}
    file = write_csv(tmp_path / "orders.csv", [*rows, bad])
    code, out, _ = run("ingest", file, "--shop", shop, "--json")
    report = json.loads(out)
    assert code == 0
    assert (report["read"], report["accepted"], report["quarantined"], report["duplicates"]) == (
        201, 200, 1, 0,
    )  # fmt: skip
    _, out, _ = run("ingest", file, "--shop", shop, "--json")
    again = json.loads(out)
    assert (again["accepted"], again["duplicates"]) == (0, 200)


def test_ingest_errors_are_json_on_standard_error(run: Run, tmp_path: Path) -> None:
    shop = tmp_path / "shop"
    run("init", "--shop", shop)
    code, out, err = run("ingest", tmp_path / "absent.csv", "--shop", shop, "--json")
    error = json.loads(err)["error"]
    assert code == 2
    assert out == ""
    assert set(error) == {"code", "message", "hint"}
    assert "absent.csv" in error["message"]


def test_ingest_refuses_another_currency(run: Run, tmp_path: Path) -> None:
    shop = tmp_path / "shop"
    run("init", "--shop", shop, "--currency", "GBP")
    file = write_csv(tmp_path / "orders.csv", events()[:5])
    code, _, err = run("ingest", file, "--shop", shop, "--currency", "USD")
    assert code == 2
    assert "keeps GBP" in err
    assert Shop.open(shop).log.version() == -1


def test_errors_after_work_began_are_still_json(run: Run, tmp_path: Path) -> None:
    shop = tmp_path / "shop"
    run("init", "--shop", shop)
    rows = [{**row, "amount": "abc"} for row in events()[:20]]
    code, _, err = run("ingest", write_csv(tmp_path / "bad.csv", rows), "--shop", shop, "--json")
    assert code == 2
    assert "--max-bad" in json.loads(err)["error"]["hint"]


def test_usage_errors_are_json_too(run: Run) -> None:
    code, _, err = run("predict", "--json")
    assert (code, json.loads(err)["error"]["code"]) == (2, "usage_error")


def test_a_page_nobody_can_enter_is_not_opened(run: Run, shop: Shop) -> None:
    code, _, err = run("serve", "--shop", shop.directory)
    assert code == 2
    assert "patron login" in err


def test_login_is_added(run: Run, shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("typer.prompt", lambda *_, **__: "correct horse")
    code, _, _ = run("login", "anna", "--shop", shop.directory, "--customer", "c04")
    assert code == 0
    viewer = check_password(read_logins(logins_file(shop.directory)), "anna", "correct horse")
    assert viewer is not None
    assert viewer.customer_id == "c04"


def test_the_demo_leaves_other_shops_alone(run: Run, shop: Shop) -> None:
    code, _, err = run("demo", "--shop", shop.directory, "--build-only")
    assert code == 2
    assert "not the demonstration" in err
    assert not logins_file(shop.directory).exists()


def test_a_map_that_is_no_map(run: Run, tmp_path: Path) -> None:
    shop = tmp_path / "shop"
    run("init", "--shop", shop)
    code, _, err = run("ingest", tmp_path / "x.csv", "--shop", shop, "--map", "customer_id")
    assert code == 2
    assert "target=source" in err


@pytest.mark.parametrize(
    "arguments",
    [("predict", "c04"), ("recommend", "c04"), ("ask", "who is customer c04?"), ("evaluate",)],
)
def test_no_shop_is_one_clear_sentence(
    run: Run, tmp_path: Path, arguments: tuple[str, ...]
) -> None:
    code, _, err = run(*arguments, "--shop", tmp_path / "none", "--json")
    error = json.loads(err)["error"]
    assert code == 2
    assert error["code"] == "shop_error"
    assert "patron init" in error["hint"]


@pytest.mark.parametrize("arguments", [("index",), ("finetune",), ("evaluate",)])
def test_an_empty_shop_says_what_to_do(run: Run, tmp_path: Path, arguments: tuple[str]) -> None:
    run("init", "--shop", tmp_path / "shop")
    code, _, err = run(*arguments, "--shop", tmp_path / "shop")
    assert code == 2
    assert "patron" in err


def test_predict(run: Run, shop: Shop) -> None:
    code, out, _ = run("predict", "c04", "--shop", shop.directory, "--json")
    document = json.loads(out)
    assert code == 0
    assert document["customer_id"] == "c04"
    assert document["evidence"]
    changes = [driver["churn_risk_change"] for driver in document["drivers"]]
    assert changes == sorted(changes, key=abs, reverse=True)
    assert changes[0] != 0
    code, out, _ = run("predict", "c04", "--shop", shop.directory)
    assert "churn risk" in out
    assert "what moves it" in out
    assert "points" in out
    code, _, err = run("predict", "nobody", "--shop", shop.directory, "--json")
    assert (code, json.loads(err)["error"]["code"]) == (2, "unknown_customer")


def test_recommend(run: Run, shop: Shop) -> None:
    code, out, _ = run(
        "recommend", "c04", "--shop", shop.directory, "--json", "--max-price", "4", "--category",
        "hot drinks",
    )  # fmt: skip
    document = json.loads(out)
    assert code == 0
    assert [item["item_id"] for item in document["items"]] == ["tea"]
    assert set(document["items"][0]) == {
        "item_id", "title", "category", "price", "score", "sources", "reason", "cites",
        "evidence",
    }  # fmt: skip
    assert document["notes"] == []
    code, out, _ = run(
        "recommend", "c04", "--shop", shop.directory, "--json", "--category", "Hot drink"
    )
    document = json.loads(out)
    assert code == 0
    assert document["notes"] == ["There is no category 'Hot drink'; the nearest are Hot drinks."]
    assert {item["item_id"] for item in document["items"]} == {"coffee", "tea"}
    code, _, err = run("recommend", "c04", "--shop", shop.directory, "--max-price", "cheap")
    assert code == 2
    assert "--max-price cheap" in err
    code, out, _ = run(
        *("recommend", "c04", "--shop", shop.directory, "--json"),
        *("--min-price", "5", "--max-price", "4"),
    )
    document = json.loads(out)
    assert code == 0
    assert document["notes"][0] == "The lowest price was above the highest; they are swapped."


def test_recommend_without_an_offer_needs_no_adapter(run: Run, shop: Shop) -> None:
    shutil.rmtree(current_adapter(shop))
    code, out, _ = run("recommend", "c04", "--shop", shop.directory, "--no-offer", "--json")
    document = json.loads(out)
    assert code == 0
    assert document["offer"] is None
    assert document["items"]
    code, _, err = run("recommend", "c04", "--shop", shop.directory, "--json")
    assert (code, json.loads(err)["error"]["code"]) == (2, "adapter_error")


def test_recommend_for_somebody_new(run: Run, shop: Shop) -> None:
    code, out, _ = run("recommend", "--new-customer", "--shop", shop.directory, "--json")
    document = json.loads(out)
    assert code == 0
    assert document["customer_id"] is None
    assert document["items"][0]["item_id"] == "milk"
    code, out, _ = run("recommend", "--new-customer", "--shop", shop.directory)
    assert "For somebody new" in out
    for arguments in ((), ("c04", "--new-customer")):
        code, _, err = run("recommend", *arguments, "--shop", shop.directory, "--json")
        assert (code, json.loads(err)["error"]["code"]) == (2, "filter_error")
    code, _, err = run("recommend", "nobody", "--shop", shop.directory, "--json")
    error = json.loads(err)["error"]
    assert (code, error["code"]) == (2, "unknown_customer")
    assert "--new-customer" in error["hint"]


def test_recommend_says_what_was_given_up(run: Run, shop: Shop) -> None:
    code, out, _ = run("recommend", "c04", "--shop", shop.directory, "--max-price", "0.10")
    shown = " ".join(out.split())
    assert code == 0
    assert "Nothing that fits costs $0.10 or less; the nearest price is $1.29." in shown
    assert "1. Milk (Dairy, $1.29)" in shown
    code, out, _ = run(
        "recommend", "c04", "--shop", shop.directory, "--exclude-item", "milk", "--exclude-item",
        "helicopter", "--json",
    )  # fmt: skip
    document = json.loads(out)
    assert "milk" not in {item["item_id"] for item in document["items"]}
    assert document["notes"] == [
        "There is no item 'helicopter' here; it is left out of the filter."
    ]


def test_ask(run: Run, shop: Shop) -> None:
    code, out, _ = run("ask", "Is customer c04 leaving?", "--shop", shop.directory, "--json")
    document = json.loads(out)
    assert code == 0
    assert set(document) >= {
        "text", "intent", "items", "offer", "prediction", "evidence", "replaced_sentences",
    }  # fmt: skip
    assert document["intent"] == "churn"
    code, out, _ = run("ask", "recommend something", "--customer", "c04", "--shop", shop.directory)
    assert "For customer c04 I suggest" in " ".join(out.split())


def test_evaluate(run: Run, shop: Shop) -> None:
    code, out, _ = run("evaluate", "--shop", shop.directory, "--json")
    document = json.loads(out)
    assert code == 0
    assert set(document["systems"]) == {
        *("patron", "patron_lm", "patron_prior"),
        *("recency", "past_spend", "logistic_rfm"),
    }
    assert set(document["systems"]["patron"]) == {
        "churn_auc", "pr_auc", "brier", "ece", "tier_f1", "spearman",
    }  # fmt: skip


def test_weights_are_kept_when_asked(run: Run, shop: Shop) -> None:
    first = (shop.adapters / "current").read_text().strip()
    code, out, _ = run("finetune", "--keep-weights", "--shop", shop.directory)
    assert code == 0
    assert f"Adapter {first}" in out


def test_chat_in_the_terminal(run: Run, shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    typed = iter(["who is customer c04?", "who is customer zz9?", "recommend something", ""])
    monkeypatch.setattr("builtins.input", lambda prompt: next(typed))
    code, out, err = run("chat", "--shop", shop.directory)
    assert code == 0
    assert "Customer c04 has bought" in " ".join(out.split())
    assert "no customer 'zz9'" in err


def test_doctor_names_what_is_missing(run: Run, shop: Shop, tmp_path: Path) -> None:
    code, out, _ = run("doctor", "--shop", shop.directory)
    assert "base model" in out
    assert "adapter" in out
    run("init", "--shop", tmp_path / "fresh")
    code, out, _ = run("doctor", "--shop", tmp_path / "fresh")
    assert code == 1
    assert "patron index" in " ".join(out.split())


def test_the_module_runs_as_a_program() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "ui.cli", "predict", "1", "--shop", "/nowhere", "--json"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert json.loads(done.stderr)["error"]["code"] == "shop_error"
