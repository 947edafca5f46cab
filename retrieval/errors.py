"""Errors of logs, shops and indexes. Each carries a code, one sentence and a hint."""

from prompts.errors import PatronError


class ShopError(PatronError):
    """The shop directory is missing, empty, unreadable or badly configured."""

    code = "shop_error"


class IngestError(PatronError):
    """A file cannot be ingested; nothing was changed."""

    code = "ingest_error"


class UnknownCustomerError(PatronError):
    """The customer has no event in the log."""

    code = "unknown_customer"


class IndexMissingError(PatronError):
    """The shop has no usable index."""

    code = "index_missing"


class StorageError(PatronError):
    """The disk is full, read-only or otherwise refuses to be written."""

    code = "storage_error"


class ModelMissingError(PatronError):
    """A model that the shop names is not installed or not intact."""

    code = "model_missing"
