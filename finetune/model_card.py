"""What people look at after training: the loss curve and a card in plain words."""

from pathlib import Path

from finetune.adapter import LoraSettings, Manifest
from finetune.training import TrainingResult
from retrieval.money import format_money
from retrieval.shop import write_atomically


def plot_losses(result: TrainingResult, file: Path) -> None:
    """Draw training and validation loss by step as a PNG."""
    # pyplot takes most of a second to import; only training needs it.
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 4.5), layout="constrained")
    axes = figure.subplots()
    steps = range(1, len(result.losses) + 1)
    axes.plot(steps, result.losses, color="#c7d2da", linewidth=0.8, label="training, each step")
    axes.plot(steps, _smooth(result.losses), color="#1f6f8b", label="training, mean of 25 steps")
    ends = [(epoch + 1) * result.steps_per_epoch for epoch in range(len(result.validation_losses))]
    axes.plot(ends, result.validation_losses, "o-", color="#d1495b", label="validation, each epoch")
    best = result.best_epoch
    axes.annotate(
        "kept",
        (ends[best], result.validation_losses[best]),
        textcoords="offset points",
        xytext=(0, 9),
        ha="center",
        color="#d1495b",
    )
    axes.set(xlabel="step", ylabel="loss (value tier + churn, nats)", title="Fine-tuning loss")
    axes.grid(alpha=0.25)
    axes.legend(frameon=False)
    file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(file, dpi=120)


def write_model_card(manifest: Manifest, file: Path) -> None:
    """Write what the adapter is, what it was trained on and how well it did, in plain words."""
    cuts = [format_money(round(cut), manifest.currency) for cut in manifest.thresholds]
    bounds = ["", *cuts]
    tiers = "; ".join(
        f"{tier}: {'under ' + cuts[0] if index == 0 else 'from ' + bounds[index]}"
        for index, tier in enumerate(manifest.tiers)
    )
    churn = {
        "inactive": "no purchase at all",
        "decline": "spend under half of the customer's own usual spend",
    }[manifest.churn_definition]
    metrics = manifest.metrics
    card = f"""# Adapter {manifest.adapter_id}

**What it does.** Reads one customer's history as text and answers two questions about the next
{manifest.horizon_days} days: which value tier, and whether the customer leaves.

**Leaving** means {churn} within {manifest.horizon_days} days. **Value tiers** by spend in those
days: {tiers}. The cuts come from the training window.

**Trained on** {manifest.train_customers} customers of the shop "{manifest.shop}", with histories
up to {manifest.train_cutoff[:10]} and outcomes of the {manifest.horizon_days} days after it.
{manifest.base_rate:.0%} of them left. It adapts {manifest.base_model}
({_shape(manifest.lora)})
and belongs to that model, these prompts and these labels alone.

Its answers are blended with a statistical prior that only counts (logistic regression, boosted
trees and a small neural network, at several cut-offs; in who leaves, patron-base, learnt in other
shops, has a say). The prior's share: churn
{manifest.blend.churn:.0%}, tier {manifest.blend.tier:.0%}, spend {manifest.blend.spend:.0%}.
Once these were chosen, the prior learnt from the validation customers below, too.

{_interval_line(manifest)}

**How well**, on {manifest.validation_customers} other customers of the same window, on whom the
epoch, the blend and the calibration were fitted, with a prior that had not seen them (so these
figures flatter it a little; run `patron evaluate` for the test window):

| measure | value |
|---|---|
| churn AUC | {metrics["churn_auc"]:.3f} |
| churn PR-AUC | {metrics["pr_auc"]:.3f} |
| churn Brier score | {metrics["brier"]:.3f} |
| churn calibration error (ECE) | {metrics["ece"]:.3f} |
| value tier macro F1 | {metrics["tier_f1"]:.3f} |
| spend rank correlation (Spearman) | {metrics["spearman"]:.3f} |

**Mind.** It knows purchases only; it has not seen prices of rivals, moves or illness. A risk is a
share of similar customers, not a fact about one. It must not decide credit, employment or access.
"""
    write_atomically(file, card.encode())


def _shape(lora: LoraSettings) -> str:
    """What of the base model is read and adapted."""
    if lora.base_layers is None:
        return f"all its layers, LoRA rank {lora.rank} on the upper {lora.layers}"
    adapted = "all" if lora.layers >= lora.base_layers else f"the upper {lora.layers}"
    return f"its lowest {lora.base_layers} layers, LoRA rank {lora.rank} on {adapted} of them"


def _interval_line(manifest: Manifest) -> str:
    """What its intervals around expected spend rest on."""
    interval = manifest.spend_interval
    if interval is None:
        return "**Expected spend** comes without an interval: too few validation customers."
    customers = sum(group.customers for group in interval.groups)
    return (
        f"**Expected spend** comes with an interval that shall hold {interval.coverage:.0%} of\n"
        f"customers, by rank among {customers} validation customers and those expected to spend\n"
        "alike, widened by how far the shop's total may move (past horizons looked at: "
        f"{len(interval.seasons.backcasts)})."
    )


def _smooth(values: tuple[float, ...], width: int = 25) -> list[float]:
    return [
        sum(values[max(0, end - width) : end]) / len(values[max(0, end - width) : end])
        for end in range(1, len(values) + 1)
    ]
