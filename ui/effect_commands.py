"""`patron offers learn`: what past campaigns and own decisions changed, learnt into the shop."""

import json
from typing import TYPE_CHECKING

from ui.command_options import HERE, JsonOption, ShopOption

if TYPE_CHECKING:
    from finetune.offer_effects import KindEffect, MeasuredEffect, OfferEffects
    from finetune.studied_effects import Pooled


def learn_command(shop: ShopOption = HERE, as_json: JsonOption = False) -> None:
    """Learn what past campaigns and the shop's own explored offers changed, with placebos.

    Reads the log, contacts.parquet and the ledger's log of decisions; writes offer_effects.json,
    which live offers are chosen by.
    """
    from agent.ledger import Ledger
    from agent.offer_decisions import logged_choices
    from finetune.effect_learning import learn_effects
    from finetune.offer_effects import EFFECTS_FILE, write_effects
    from retrieval.shop import Shop
    from ui.terminal import progress_bars

    opened = Shop.open(shop)
    with progress_bars(shown=not as_json) as progress:
        choices = logged_choices(Ledger(opened.ledger_file).decisions())
        effects = learn_effects(opened, progress, choices=choices)
    write_effects(opened, effects)
    if as_json:
        print(json.dumps(json.loads((opened.directory / EFFECTS_FILE).read_text("utf-8"))))
        return
    _show(effects, opened.settings.currency)


def _show(effects: "OfferEffects", currency: str) -> None:
    """A line a kind, then what was judged, and what cannot be known."""
    from rich.table import Table
    from rich.text import Text

    from ui.terminal import OUT

    origin = effects.origin
    OUT.print(
        Text(
            f"{origin.campaigns} campaigns, {origin.studied} of them with enough log and "
            f"customers; {origin.method}, {origin.window_days} days from the start, per contact. "
            "± gives the 95% interval."
        )
    )
    table = Table("kind", "contacts", "spend", "leaving", "redeemed", "placebos (spend)")
    for name, kind in (*effects.kinds.items(), ("all", effects.together)):
        table.add_row(Text(name), *(Text(cell) for cell in _cells(kind, currency)))
    OUT.print(table)
    for name, kind in effects.kinds.items():
        OUT.print(Text(f"{name}: {_in_words(kind.spend, len(effects.kinds))}"), soft_wrap=True)
    _show_decisions(effects, currency)
    later = [placebo for placebo in origin.later_placebos if placebo is not None]
    passed = all(placebo.contains_zero for placebo in later)
    OUT.print(
        Text(
            "Placebos of later campaigns, one and two windows early: "
            f"{', '.join(_money(placebo, currency) for placebo in later) or 'none'}"
            f" - {'no effect, as there should be' if passed else 'an effect where none can be'}."
        ),
        soft_wrap=True,
    )
    quality = effects.redemption_quality
    if quality is not None:
        auc = "-" if quality.auc is None else f"{quality.auc:.3f}"
        OUT.print(
            Text(
                f"Redemption on {quality.contacts:,} later contacts: AUC {auc}, Brier "
                f"{quality.brier:.3f} (the earlier share for everybody: {quality.base_brier:.3f})."
            ),
            soft_wrap=True,
        )
    differs = "differs between customers" if effects.slopes else "is the same for everybody"
    OUT.print(Text(f"As far as later campaigns tell, the effect of a kind {differs}."))
    OUT.print(Text("What cannot be known:", style="bold"))
    for sentence in origin.assumptions:
        OUT.print(Text(f"  {sentence}", style="dim"), soft_wrap=True)


def _show_decisions(effects: "OfferEffects", currency: str) -> None:
    """What the shop's own decisions gave, and which evidence each effect rests on."""
    from rich.text import Text

    from ui.terminal import OUT

    own = effects.decisions
    if own is None:
        OUT.print(
            Text(
                "Own decisions: none in the ledger. Set explore_share of [offers] in shop.toml to "
                "learn from them."
            ),
            soft_wrap=True,
        )
    else:
        left_out = {
            "could not have come out otherwise or logged no chances": own.certain,
            "follow another of the same customer and period": own.repeated,
            f"are not {effects.origin.window_days} days old": own.unfinished,
            "are of customers without an order": own.strangers,
        }
        why = "; ".join(f"{number:,} {reason}" for reason, number in left_out.items() if number)
        used = own.read - sum(left_out.values())
        OUT.print(
            Text(
                f"Own decisions: {own.read:,} in the ledger, {used:,} to learn from"
                + (f" ({why})." if why else ".")
            ),
            soft_wrap=True,
        )
        for name, kind in own.kinds.items():
            if kind.effect is not None:
                said = _money(kind.pooled(), currency)
                OUT.print(
                    Text(
                        f"  {name}: {said} of spend per offer made, {kind.offered:,} with it and "
                        f"{kind.without:,} without, {kind.explored:,} of them picked by chance "
                        "alone."
                    ),
                    soft_wrap=True,
                )
    for name, evidence in effects.rests_on.items():
        OUT.print(Text(f"{name} rests on {evidence}."), soft_wrap=True)


def _cells(kind: "KindEffect", currency: str) -> list[str]:
    return [
        f"{kind.contacts:,}",
        _money(kind.spend.effect, currency),
        _share(kind.churn.effect),
        f"{kind.redeemed:.1%}",
        "\n".join(_money(placebo, currency) for placebo in kind.spend.placebos),
    ]


def _in_words(effect: "MeasuredEffect", kinds: int) -> str:
    if effect.effect is None:
        return "no campaign could be studied; the effect of all kinds counts, where measured."
    if effect.measured:
        return f"an effect that can be told from none (kinds looked at: {kinds}); it is used."
    if effect.effect.contains_zero:
        return "no effect that can be told from none."
    return "an effect, but its placebos show one too, or there are none; it is not used."


def _money(effect: "Pooled | None", currency: str) -> str:
    from retrieval.money import format_money

    if effect is None:
        return "-"
    margin = (effect.high - effect.low) / 2
    mean, half = (format_money(round(value), currency) for value in (effect.effect, margin))
    return f"{mean} ± {half}"


def _share(effect: "Pooled | None") -> str:
    if effect is None:
        return "-"
    return f"{effect.effect:+.1%} ± {(effect.high - effect.low) / 2:.1%}"
