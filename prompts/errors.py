"""The root of Patron's error tree, at the bottom of the import order so that all may raise it."""


class PatronError(Exception):
    """Something a person can mend: one clear sentence and a hint.

    Attributes:
        code: stable machine-readable name, for scripts.
        message: one sentence that names the row, field, option or file.
        hint: how to mend it.
    """

    code = "patron_error"

    def __init__(self, message: str, *, hint: str) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class PromptError(PatronError):
    """A prompt file is missing, or was given a variable too many or too few."""

    code = "prompt_error"
