"""`patron finetune` and `patron adapters`: train, judge, and choose which adapter answers."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ui.command_options import HERE, JsonOption, ShopOption, print_json
from ui.ingest_options import CurrencyOption, MapOption, MaxBadOption, TimezoneOption, read_logs

if TYPE_CHECKING:
    from finetune.adapter import Manifest
    from finetune.finetune import Start
    from retrieval.shop import Shop

adapters_app = typer.Typer(
    help="The shop's adapters: which there are, and which is current.", no_args_is_help=True
)


def finetune_command(
    shop: ShopOption = HERE,
    new: Annotated[
        list[Path] | None,
        typer.Option(help="A log to ingest first; may be repeated.", metavar="FILE"),
    ] = None,
    columns: MapOption = None,
    timezone: TimezoneOption = None,
    currency: CurrencyOption = None,
    max_bad: MaxBadOption = None,
    start: Annotated[
        str,
        typer.Option(
            help="Weights to begin from: scratch, current (the current adapter's) or best (try "
            "both, keep the lower validation loss)."
        ),
    ] = "best",
    cutoffs: Annotated[
        int, typer.Option(help="Cut-offs to learn from: the newest and earlier ones.", min=1)
    ] = 3,
    epochs: Annotated[int, typer.Option(help="Passes over the customers.", min=1)] = 4,
    batch_size: Annotated[int, typer.Option(help="Customers a step.", min=1)] = 16,
    learning_rate: Annotated[float, typer.Option(help="Highest learning rate.", min=1e-6)] = 1e-3,
    rank: Annotated[int, typer.Option(help="LoRA rank.", min=1, max=256)] = 16,
    base_layers: Annotated[
        int,
        typer.Option(
            help="Layers of the base model to read, from the lowest; as many as it has, or more, "
            "for all.",
            min=1,
        ),
    ] = 10,
    layers: Annotated[
        int, typer.Option(help="How many of these, the uppermost, to adapt.", min=1)
    ] = 10,
    seed: Annotated[int, typer.Option(help="Of shuffling, split and first weights.")] = 7,
    keep_weights: Annotated[
        bool,
        typer.Option(
            "--keep-weights",
            help="Keep the current adapter's weights and fit the prior and the calibration anew: "
            "minutes instead of an hour. The other options are then those of its training.",
        ),
    ] = False,
) -> None:
    """Train the shop's adapter on its log; interrupted, the same command continues.

    The new adapter becomes the current one only if it is not worse: the gate judges both on
    customers that neither has learnt from. A refused one is kept, and the command fails.
    """
    from finetune.adapter import LoraSettings, current_id
    from finetune.finetune import finetune
    from finetune.refresh import refresh
    from finetune.settling import AdapterRefusedError
    from finetune.training import TrainingSettings
    from retrieval.shop import Shop
    from ui.terminal import progress_bars, show_ingest

    chosen = _start(start)
    opened = Shop.open(shop)
    if new:
        with progress_bars() as progress:
            report = read_logs(
                opened,
                new,
                columns=columns,
                timezone=timezone,
                currency=currency,
                max_bad=max_bad,
                progress=progress,
            )
        show_ingest(report)
    before = current_id(opened)
    try:
        with progress_bars() as progress:
            manifest = (
                refresh(opened, progress=progress)
                if keep_weights
                else finetune(
                    opened,
                    lora=LoraSettings(rank=rank, base_layers=base_layers, layers=layers),
                    settings=TrainingSettings(
                        epochs=epochs, batch_size=batch_size, learning_rate=learning_rate, seed=seed
                    ),
                    cutoffs=cutoffs,
                    start=chosen,
                    progress=progress,
                )
            )
    except AdapterRefusedError as error:
        _show_made(opened, error.manifest)
        raise
    _show_made(opened, manifest)
    if manifest.adapter_id == before:
        typer.echo(
            "It is the current adapter again: nothing in the log or the settings that it learns "
            "from has changed. windows in shop.toml say where it learns; by default, from the "
            "log's end."
        )
    typer.echo(f"Next: patron evaluate --shop {shop}")


@adapters_app.command("list")
def list_command(shop: ShopOption = HERE, as_json: JsonOption = False) -> None:
    """Every adapter in the shop with its validation figures, the current one first."""
    from finetune.adapter import current_id
    from finetune.base_prior import BASE_ID
    from finetune.registry import list_adapters
    from retrieval.shop import Shop
    from ui.adapter_text import show_adapters

    opened = Shop.open(shop)
    listed = list_adapters(opened)
    if as_json:
        # patron-base answers only where there is no adapter at all.
        answers = current_id(opened) or (None if listed else BASE_ID)
        document = {"adapters": [adapter.to_json() for adapter in listed], "answers": answers}
        print_json(document)
    elif listed:
        show_adapters(listed)
    else:
        typer.echo(
            f"No adapter yet: {BASE_ID}, which learnt from other shops, answers. Train one: "
            f"patron finetune --shop {shop}"
        )


@adapters_app.command("promote")
def promote_command(
    adapter: Annotated[str, typer.Argument(help="The adapter's id, as listed.", metavar="ID")],
    shop: ShopOption = HERE,
) -> None:
    """Make an adapter the current one, if it fits the shop; running agents take it up.

    One that the gate refused too: this is how to overrule it.
    """
    from finetune.promotions import read_verdicts
    from finetune.registry import promote
    from retrieval.shop import Shop
    from ui.terminal import progress_bars

    opened = Shop.open(shop)
    with progress_bars() as progress:
        before = promote(opened, adapter, progress=progress)
    if before == adapter:
        typer.echo(f"{adapter} was current already.")
        return
    typer.echo(f"{adapter} is current now{'' if before is None else f', after {before}'}.")
    verdict = read_verdicts(opened.adapters).get(adapter)
    if verdict is not None and not verdict.passed:
        typer.echo(f"The gate had refused it: {' '.join(verdict.reasons)}")


@adapters_app.command("rollback")
def rollback_command(shop: ShopOption = HERE) -> None:
    """Return to the adapter that was current before; again, to the one before that."""
    from finetune.registry import roll_back
    from retrieval.shop import Shop
    from ui.terminal import progress_bars

    with progress_bars() as progress:
        now = roll_back(Shop.open(shop), progress=progress)
    typer.echo(f"{now} is current again.")


def _start(name: str) -> "Start":
    from finetune.errors import TrainingError
    from finetune.finetune import Start

    try:
        return Start(name)
    except ValueError as error:
        raise TrainingError(
            f"--start {name}: there is no such start.", hint="Give scratch, current or best."
        ) from error


def _show_made(shop: "Shop", manifest: "Manifest") -> None:
    """What came out: its figures, how it began, and what the gate found."""
    from finetune.promotions import read_verdicts
    from ui.adapter_text import show_start, show_verdict

    folder, metrics = shop.adapters / manifest.adapter_id, manifest.metrics
    typer.echo(
        f"Adapter {manifest.adapter_id}: validation churn AUC {metrics['churn_auc']:.3f}, "
        f"Brier {metrics['brier']:.3f}, tier F1 {metrics['tier_f1']:.3f}, "
        f"spend Spearman {metrics['spearman']:.3f}."
    )
    typer.echo(f"Loss curve: {folder / 'loss.png'}; model card: {folder / 'model_card.md'}")
    show_start(manifest)
    verdict = read_verdicts(shop.adapters).get(manifest.adapter_id)
    if verdict is not None:
        show_verdict(verdict)
