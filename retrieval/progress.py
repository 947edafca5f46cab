"""How long work reports where it is."""

from typing import Protocol


class Progress(Protocol):
    """Called with what is being done, how much is done and how much there is."""

    def __call__(self, step: str, done: int, total: int) -> None:
        """Take a report."""
        ...


def no_progress(step: str, done: int, total: int) -> None:
    """Report nothing."""
