"""Errors of offers, the ledger and access. Each carries a code, one sentence and a hint."""

from prompts.errors import PatronError


class OfferError(PatronError):
    """`offers.toml` is wrong; the message names the offer and the field."""

    code = "offer_error"


class LedgerError(PatronError):
    """A claim is refused, or the ledger cannot be used; nothing was claimed."""

    code = "ledger_error"


class AccessError(PatronError):
    """Somebody asks for what belongs to another."""

    code = "access_denied"


class ModelServerError(PatronError):
    """The chat model's server does not answer as it should."""

    code = "model_server_error"
