"""Index a shop with its own models: the embedder it names and its base model's token budget."""

from finetune.base_model import find_base_model, token_counter
from retrieval.embedder import open_embedder
from retrieval.index import IndexReport, build_index
from retrieval.progress import Progress, no_progress
from retrieval.shop import Shop


def index_shop(shop: Shop, *, progress: Progress = no_progress) -> IndexReport:
    """Bring the shop's index up to date; see `retrieval.index.build_index`.

    Raises:
        ModelMissingError: the embedder or base model is not installed.
        ShopError: the log is empty.
    """
    models = shop.settings.models
    files = find_base_model(models.base, progress)
    return build_index(
        shop, open_embedder(models.embedder), token_counter(files), progress=progress
    )
