"""Which customers are held out of training: by a hash of their id, the same on every machine.

Only the prior that answers learns from them, after everything was chosen on them.
"""

import hashlib

VALIDATION_SHARE = 0.2

FEWEST_CUSTOMERS = 40
"""Customers with known outcomes, held out or not, that fine-tuning needs at least."""


def is_held_out(customer_id: str, seed: int, share: float = VALIDATION_SHARE) -> bool:
    """Whether a customer is among those that validate and that training does not learn from.

    Args:
        customer_id: whose.
        seed: of the split; the same seed holds out the same customers of every log.
        share: of all customers.
    """
    return place_of(customer_id, seed) < share


def place_of(customer_id: str, seed: int) -> float:
    """A number in [0, 1) from the customer's id."""
    digest = hashlib.sha256(f"{seed}:{customer_id}".encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64
