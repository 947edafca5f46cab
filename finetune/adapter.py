"""Adapters: LoRA weights with a manifest that says what they may be used with."""

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, PeftModel, get_peft_model, set_peft_model_state_dict
from safetensors import SafetensorError
from safetensors.torch import load_file, save

from finetune.base_model import BaseModelFiles
from finetune.blend import Blend
from finetune.calibration import Calibration
from finetune.errors import AdapterError
from finetune.prior import Prior
from finetune.promotions import Why, record_promotion
from finetune.slots import PROMPT, Slots
from finetune.spend_interval import SpendInterval
from prompts.library import load_prompt
from retrieval.shop import Shop, ShopSettings, write_atomically

WEIGHTS_FILE = "adapter.safetensors"
MANIFEST_FILE = "manifest.json"
PRIOR_FILE = "prior.json"
HELD_OUT_PRIOR_FILE = "prior_held_out.json"
_CURRENT_FILE = "current"
_TARGETS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


@dataclass(frozen=True, slots=True, kw_only=True)
class LoraSettings:
    """Shape of the adapter.

    Attributes:
        rank: r; alpha is twice that.
        base_layers: how many of the base model's layers are read, from the lowest; None for all.
        layers: how many of these, the uppermost, are adapted.
    """

    rank: int = 16
    base_layers: int | None = 10
    layers: int = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """What an adapter was made from and what it may be used with.

    Attributes:
        prompt_sha256: hashes of the prompt files it was trained to read.
        label_ids: token ids of the tiers, then of no and yes.
        thresholds: holdout spend (minor units) at which each tier above the lowest begins.
        train_cutoff: ISO moment at which the training histories end.
        base_rate: share of training customers who churned.
        at_risk_above: churn risk from which a customer counts as at risk.
        metrics: on validation customers.
        blend: the prior's share in each answer; none in adapters made before there was one.
        spend_interval: turns expected spend into intervals; None in adapters made before there
            was one, or from too few validation customers.
    """

    adapter_id: str
    shop: str
    base_model: str
    base_sha256: str
    prompt_sha256: dict[str, str]
    label_ids: tuple[int, ...]
    tiers: tuple[str, ...]
    thresholds: tuple[float, ...]
    churn_definition: str
    horizon_days: int
    history_tokens: int
    currency: str
    train_cutoff: str
    train_customers: int
    validation_customers: int
    base_rate: float
    at_risk_above: float
    lora: LoraSettings
    training: dict[str, Any]
    calibration: Calibration
    metrics: dict[str, float]
    blend: Blend = field(default_factory=Blend)
    spend_interval: SpendInterval | None = None

    def to_json(self) -> str:
        """The manifest file's text."""
        return json.dumps(asdict(self), indent=2, sort_keys=True) + "\n"


def read_manifest(folder: Path) -> Manifest:
    """Read an adapter's manifest.

    Raises:
        AdapterError: it is missing or damaged.
    """
    file = folder / MANIFEST_FILE
    try:
        document = json.loads(file.read_text(encoding="utf-8"))
        return Manifest(
            **{
                **document,
                "label_ids": tuple(document["label_ids"]),
                "tiers": tuple(document["tiers"]),
                "thresholds": tuple(document["thresholds"]),
                # Adapters made before read the whole base model.
                "lora": LoraSettings(**{"base_layers": None, **document["lora"]}),
                "calibration": Calibration.from_json(document["calibration"]),
                "blend": Blend(**document.get("blend", {})),
                "spend_interval": _spend_interval(document.get("spend_interval")),
            }
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise AdapterError(
            f"The adapter's {file} is missing or damaged: {error}.",
            hint="Train it again: patron finetune --shop DIR",
        ) from error


def current_prompt_hashes() -> dict[str, str]:
    """Hashes of the prompts that shape what the predictor reads."""
    return {name: load_prompt(name).sha256 for name in ("history", PROMPT)}


def check_compatible(
    manifest: Manifest, files: BaseModelFiles, slots: Slots, settings: ShopSettings
) -> None:
    """Refuse an adapter that was trained for something else.

    Raises:
        AdapterError: another base model, prompt, label set, horizon or churn definition; the
            message names which.
    """
    expected: dict[str, tuple[object, object]] = {
        "base model": (manifest.base_sha256, files.sha256),
        "prompts": (manifest.prompt_sha256, current_prompt_hashes()),
        "label tokens": (manifest.label_ids, slots.label_ids),
        "set of value tiers": (manifest.tiers, settings.value.tiers),
        "currency": (manifest.currency, settings.currency),
        "churn definition": (manifest.churn_definition, settings.churn.definition.value),
        "horizon": (manifest.horizon_days, settings.churn.horizon_days),
        "history token budget": (manifest.history_tokens, settings.limits.history_tokens),
    }
    for what, (trained, present) in expected.items():
        if trained != present:
            raise AdapterError(
                f"The adapter {manifest.adapter_id} was trained with another {what}.",
                hint="Train one that fits: patron finetune --shop DIR",
            )


def add_lora(model: Any, lora: LoraSettings) -> PeftModel:
    """Put a fresh LoRA on the uppermost layers of those that are read; the rest is left out."""
    count = _cut(model, lora)
    config = LoraConfig(
        r=lora.rank,
        lora_alpha=2 * lora.rank,
        lora_dropout=0.0,
        target_modules=list(_TARGETS),
        layers_to_transform=list(range(max(0, count - lora.layers), count)),
        layers_pattern="layers",
        task_type="CAUSAL_LM",
    )
    return get_peft_model(model, config)


def _cut(model: Any, lora: LoraSettings) -> int:
    """Leave a model the layers that are read, and say how many those are.

    The uppermost layers make the next word of a text; two answers about a history come nearly as
    well from below, in a third of the time (EXPERIMENTS.md).
    """
    count = layers_read(model, lora)
    decoder = model.get_decoder()
    decoder.layers = decoder.layers[:count]
    decoder.config.num_hidden_layers = count
    return count


def layers_read(model: Any, lora: LoraSettings) -> int:
    """How many of a model's layers are read."""
    count: int = model.config.num_hidden_layers
    return count if lora.base_layers is None else min(lora.base_layers, count)


def trainable(wrapped: Any) -> dict[str, torch.nn.Parameter]:
    """The adapter's parameters by name, in the model's order."""
    return {name: p for name, p in wrapped.named_parameters() if p.requires_grad}


def begin_from(
    adapter: Mapping[str, torch.nn.Parameter], state: Mapping[str, torch.Tensor]
) -> None:
    """Give an adapter's parameters the weights of another of the same shape.

    Raises:
        AdapterError: it is of another shape.
    """
    expected = {name: parameter.shape for name, parameter in adapter.items()}
    if {name: tensor.shape for name, tensor in state.items()} != expected:
        raise AdapterError(
            "The adapter to begin from has another shape.",
            hint="Give --rank, --base-layers and --layers as it was trained with, or start from "
            "scratch.",
        )
    with torch.no_grad():
        for name, parameter in adapter.items():
            parameter.copy_(state[name])


def lora_state(adapter: dict[str, torch.nn.Parameter]) -> dict[str, torch.Tensor]:
    """The adapter's weights as they are saved: float16, contiguous, apart from the model."""
    return {
        name: parameter.detach().to("cpu", torch.float16).contiguous().clone()
        for name, parameter in sorted(adapter.items())
    }


def weights_bytes(state: dict[str, torch.Tensor]) -> bytes:
    """The weights file's content."""
    return bytes(save(state))


def read_weights(folder: Path) -> dict[str, torch.Tensor]:
    """Read an adapter's weights.

    Raises:
        AdapterError: they are missing or damaged.
    """
    try:
        state: dict[str, torch.Tensor] = load_file(folder / WEIGHTS_FILE)
    except (OSError, SafetensorError) as error:
        raise _damaged(folder, str(error)) from error
    return state


def load_lora(model: Any, folder: Path, lora: LoraSettings) -> PeftModel:
    """Put an adapter's weights onto a base model.

    Raises:
        AdapterError: the weights are missing, damaged, or not of this model.
    """
    wrapped = add_lora(model, lora)
    state = read_weights(folder)
    expected = {name: parameter.shape for name, parameter in trainable(wrapped).items()}
    if {name: tensor.shape for name, tensor in state.items()} != expected:
        raise _damaged(folder, "its tensors are not those of this base model")
    plain = {name.replace(".default", ""): tensor.float() for name, tensor in state.items()}
    set_peft_model_state_dict(wrapped, plain)
    return wrapped.eval()


def load_prior(folder: Path, manifest: Manifest) -> Prior | None:
    """The prior that comes with an adapter; None where the adapter was made without one.

    Raises:
        AdapterError: it should be there and is missing or damaged.
    """
    file = folder / PRIOR_FILE
    if manifest.blend == Blend() and not file.exists():
        return None
    return _read_prior(file, "Make it again: patron finetune --keep-weights --shop DIR")


def load_held_out_prior(folder: Path, manifest: Manifest) -> Prior | None:
    """The prior that never learnt from the customers held out, by which it is judged on them.

    In an adapter without one, the prior that answers is that, or is judged the better for it.

    Raises:
        AdapterError: a prior is damaged, or the only one is missing.
    """
    file = folder / HELD_OUT_PRIOR_FILE
    if not file.exists():
        return load_prior(folder, manifest)
    return _read_prior(file, f"Remove it: the adapter is then judged by its {PRIOR_FILE}.")


def _read_prior(file: Path, hint: str) -> Prior:
    try:
        return Prior.from_json(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise AdapterError(f"The adapter's {file} cannot be used: {error}.", hint=hint) from error


def install_adapter(shop: Shop, source: Path) -> Manifest:
    """Copy an adapter folder into a shop, whole or not at all, and make it the current one."""
    manifest = read_manifest(source)
    target = shop.adapters / manifest.adapter_id
    if not target.is_dir():
        building = shop.adapters / f".{manifest.adapter_id}"
        shutil.rmtree(building, ignore_errors=True)
        shutil.copytree(source, building)
        building.rename(target)
    make_current(shop, manifest.adapter_id, Why.INSTALLED)
    return manifest


def make_current(shop: Shop, adapter_id: str, why: Why = Why.FINE_TUNED) -> None:
    """Point the shop at one of its adapters, atomically, and keep a record of it."""
    before = current_id(shop)
    if before == adapter_id:
        return
    record_promotion(shop.adapters, adapter_id, before, why, shop.log.version())
    write_atomically(shop.adapters / _CURRENT_FILE, f"{adapter_id}\n".encode())


def current_id(shop: Shop) -> str | None:
    """Where the shop's pointer points, whether or not that adapter is there; None without one."""
    pointer = shop.adapters / _CURRENT_FILE
    return pointer.read_text(encoding="utf-8").strip() if pointer.is_file() else None


def current_adapter(shop: Shop) -> Path:
    """Folder of the shop's current adapter.

    Raises:
        AdapterError: the shop has none.
    """
    adapter_id = current_id(shop)
    if adapter_id is None:
        raise AdapterError(
            f"{shop.directory} has no trained adapter yet.",
            hint=f"Train one: patron finetune --shop {shop.directory}",
        )
    folder = shop.adapters / adapter_id
    if not folder.is_dir():
        raise AdapterError(
            f"The current adapter {folder} is gone.",
            hint=f"Train one: patron finetune --shop {shop.directory}",
        )
    return folder


def shipped_adapters() -> Sequence[Path]:
    """Folders of the adapters that come with Patron."""
    root = Path(str(resources.files("finetune"))) / "shipped"
    return sorted(file.parent for file in root.glob(f"*/{MANIFEST_FILE}"))


def _spend_interval(document: dict[str, Any] | None) -> SpendInterval | None:
    return None if document is None else SpendInterval.from_json(document)


def _damaged(folder: Path, why: str) -> AdapterError:
    return AdapterError(
        f"The adapter's {folder / WEIGHTS_FILE} cannot be used: {why}.",
        hint="Train it again: patron finetune --shop DIR",
    )
