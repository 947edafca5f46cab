"""Rate limits: token buckets by name."""

import threading
import time
from collections import OrderedDict
from collections.abc import Callable

_MOST_NAMES = 10_000


class TokenBuckets:
    """A bucket of tokens for each name; every act takes one, and they come back with time.

    Args:
        size: how many acts may follow each other at once.
        per_minute: how many tokens come back in a minute.
        clock: seconds, monotonic.
    """

    def __init__(
        self, *, size: int, per_minute: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._size = size
        self._per_second = per_minute / 60
        self._clock = clock
        self._lock = threading.Lock()
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, name: str) -> bool:
        """Take a token; False where none is left."""
        with self._lock:
            now = self._clock()
            tokens, then = self._buckets.pop(name, (float(self._size), now))
            tokens = min(self._size, tokens + (now - then) * self._per_second)
            taken = tokens >= 1
            self._buckets[name] = (tokens - taken, now)
            # Made-up names must not fill the memory; the longest unused is full again anyway.
            if len(self._buckets) > _MOST_NAMES:
                self._buckets.popitem(last=False)
        return taken
