"""Names of the candidate sources, as `shop.toml`, the page and the code have them."""

from enum import StrEnum


class SourceName(StrEnum):
    """What a candidate can come from."""

    OWN = "own repeats"
    OWN_RECENT = "recent own repeats"
    TOGETHER = "bought together"
    EASE = "ease"
    SIMILAR = "similar"
    POPULAR = "popular"
    TRENDING = "recently popular"
    ALS = "als"
    SVD = "svd"
    MULT_VAE = "mult-vae"
    GRU4REC = "gru4rec"


DEFAULT_SOURCES = (
    SourceName.OWN_RECENT,
    SourceName.TOGETHER,
    SourceName.EASE,
    SourceName.SIMILAR,
    SourceName.TRENDING,
)
