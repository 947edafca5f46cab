"""Whether a finished adapter becomes the current one: the gate's decision, recorded and done."""

import shutil

from finetune.adapter import Manifest, current_id, make_current
from finetune.base_model import BaseModelFiles
from finetune.gate import judge_adapter
from finetune.promotions import record_verdict
from prompts.errors import PatronError
from retrieval.progress import Progress
from retrieval.shop import Shop


class AdapterRefusedError(PatronError):
    """The gate keeps a new adapter from becoming the current one.

    Attributes:
        manifest: of the refused adapter, which stays in the shop's adapters.
    """

    code = "adapter_refused"

    def __init__(self, message: str, *, hint: str, manifest: Manifest) -> None:
        super().__init__(message, hint=hint)
        self.manifest = manifest


def settle(
    shop: Shop, files: BaseModelFiles, manifest: Manifest, log_version: int, progress: Progress
) -> None:
    """Put a finished adapter before the gate; make it current, or keep it aside.

    A shop without an adapter that fits takes the new one as it is.

    Args:
        shop: whose adapters hold it.
        files: of the base model.
        manifest: of the new adapter.
        log_version: of the event log that it was made from.
        progress: told of the scoring.

    Raises:
        AdapterRefusedError: it is worse, or the rows that came since cannot be trusted.
    """
    new, current = manifest.adapter_id, current_id(shop)
    verdict = (
        None
        if current is None or current == new
        else judge_adapter(shop, files, new, current, progress=progress)
    )
    if verdict is not None:
        record_verdict(shop.adapters, verdict, log_version)
    if verdict is None or verdict.passed:
        make_current(shop, new)
    for unfinished in shop.adapters.glob(".training-*"):
        shutil.rmtree(unfinished)
    if verdict is not None and not verdict.passed:
        raise AdapterRefusedError(
            f"The new adapter {new} is refused; {current} stays the current one. "
            + " ".join(verdict.reasons),
            hint=f"Look at the rows that came since, and correct them. To use it nevertheless: "
            f"patron adapters promote {new} --shop {shop.directory}",
            manifest=manifest,
        )
