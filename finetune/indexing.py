"""Index a shop with its own models: the embedder it names and its base model's token budget."""

from collections.abc import Mapping

from finetune.base_model import find_base_model, token_counter
from finetune.gru4rec import Gru4Rec
from finetune.mult_vae import MultVae
from retrieval.embedder import open_embedder
from retrieval.index import IndexReport, build_index
from retrieval.progress import Progress, no_progress
from retrieval.shop import Shop
from retrieval.source_kinds import SOURCE_KINDS, SourceKind
from retrieval.source_names import SourceName

SOURCES: Mapping[SourceName, SourceKind] = {
    **SOURCE_KINDS,
    SourceName.MULT_VAE: SourceKind(
        fit=lambda given: MultVae.fit(given.lines, len(given.table)), load=MultVae.load
    ),
    SourceName.GRU4REC: SourceKind(
        fit=lambda given: Gru4Rec.fit(given.lines, len(given.table)), load=Gru4Rec.load
    ),
}
"""Every candidate source that a shop may name, the neural ones included."""


def index_shop(shop: Shop, *, progress: Progress = no_progress) -> IndexReport:
    """Bring the shop's index up to date; see `retrieval.index.build_index`.

    Raises:
        ModelMissingError: the embedder or base model is not installed.
        ShopError: the log is empty.
    """
    models = shop.settings.models
    files = find_base_model(models.base, progress)
    return build_index(
        shop,
        open_embedder(models.embedder),
        token_counter(files),
        kinds=SOURCES,
        progress=progress,
    )
