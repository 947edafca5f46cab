"""Errors of training, adapters and prediction."""

from prompts.errors import PatronError


class AdapterError(PatronError):
    """An adapter is missing, damaged, or belongs to another model or prompt."""

    code = "adapter_error"


class TrainingError(PatronError):
    """There is too little, or the wrong, data to learn from."""

    code = "training_error"
