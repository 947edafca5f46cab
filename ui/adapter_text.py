"""Adapters in the terminal: which there are, how one began, and what the gate said of it."""

from collections.abc import Sequence

from rich.table import Column, Table
from rich.text import Text

from finetune.adapter import Manifest
from finetune.gate_verdict import GateRow, GateVerdict
from finetune.registry import LISTED_METRICS, ListedAdapter
from ui.terminal import METRIC_NAMES, OUT


def show_adapters(adapters: Sequence[ListedAdapter]) -> None:
    """A shop's adapters beside one another, narrow enough for eighty columns."""
    table = Table(
        Column("adapter", no_wrap=True),
        "since",
        "trained up to",
        *(METRIC_NAMES[metric] for metric in LISTED_METRICS),
    )
    for adapter in adapters:
        values = [adapter.metrics[name] for name in LISTED_METRICS]
        table.add_row(
            Text(f"{'*' if adapter.current else ' '} {adapter.adapter_id}"),
            _since(adapter),
            "-" if adapter.train_cutoff is None else adapter.train_cutoff[:10],
            *("-" if value is None else f"{value:.3f}" for value in values),
        )
    OUT.print(table)
    OUT.print(Text("* current; figures are of validation customers.", style="dim"))
    for adapter in adapters:
        if adapter.damage is not None:
            OUT.print(Text(adapter.damage, style="yellow"), soft_wrap=True)
        if adapter.verdict is not None:
            _show_listed_verdict(adapter.verdict)


def show_start(manifest: Manifest) -> None:
    """From which weights an adapter was trained, and what else was tried."""
    losses: dict[str, float] = manifest.training.get("start_losses", {})
    if len(losses) < 2:
        return
    kept = manifest.training["start"]
    tried = ", ".join(
        f"{'from scratch' if name == 'scratch' else f'continued from {name}'} {loss:.4f}"
        for name, loss in losses.items()
    )
    OUT.print(
        Text(
            f"Validation loss: {tried}. Kept: "
            f"{'from scratch' if kept == 'scratch' else 'continued'}."
        ),
        soft_wrap=True,
    )


def show_verdict(verdict: GateVerdict) -> None:
    """Both adapters side by side, whether the new rows go on as the log did, and the verdict."""
    for window in verdict.windows:
        OUT.print(
            Text(
                f"{window.name[0].upper()}{window.name[1:]} (cut-off {window.cutoff[:10]}): "
                f"{window.customers:,} {window.whom}."
            ),
            soft_wrap=True,
        )
        table = Table("", "current", "new", "worse by, 98% interval", "")
        for row in window.rows:
            table.add_row(
                row.measure,
                f"{row.current:.3f}",
                f"{row.new:.3f}",
                f"{row.low:+.3f} to {row.high:+.3f}",
                Text(_in_a_word(row), style="red" if row.worse else ""),
            )
        OUT.print(table)
    if verdict.windows:
        OUT.print(
            Text(
                "churn AUC: higher is better; the others: lower. Tier log loss is counted from "
                "that of guessing by the tiers' shares.",
                style="dim",
            ),
            soft_wrap=True,
        )
    for found in verdict.breaks:
        OUT.print(
            Text(
                f"The log at {found.cutoff[:10]}, {found.customers:,} customers, foreseen by "
                f"counting from the known window: churn AUC {found.auc_after:.3f} "
                f"({found.auc_before:.3f} there), {found.left:.0%} left ({found.foreseen:.0%} "
                f"foreseen), spend by usual spend {found.spend_after:.2f} "
                f"({found.spend_before:.2f})."
            ),
            soft_wrap=True,
        )
    for note in verdict.notes:
        OUT.print(Text(note, style="yellow"), soft_wrap=True)
    if verdict.passed:
        OUT.print(
            Text(
                f"The gate lets {verdict.adapter_id} pass: it is not shown to be worse than "
                f"{verdict.against}{', and the log goes on as it did' if verdict.breaks else ''}.",
                style="green",
            ),
            soft_wrap=True,
        )


def _since(adapter: ListedAdapter) -> str:
    if adapter.made_current is not None:
        return f"{adapter.made_current:%Y-%m-%d} {adapter.why}"
    return "refused" if adapter.verdict is not None and not adapter.verdict.passed else "-"


def _show_listed_verdict(verdict: GateVerdict) -> None:
    if verdict.passed:
        text = f"{verdict.adapter_id} passed the gate against {verdict.against}."
        OUT.print(Text(text, style="dim"), soft_wrap=True)
        return
    text = f"{verdict.adapter_id} was refused by the gate. {' '.join(verdict.reasons)}"
    OUT.print(Text(text, style="yellow"), soft_wrap=True)


def _in_a_word(row: GateRow) -> str:
    if row.worse:
        return "worse"
    return "better" if row.high < 0 else "no difference shown"
