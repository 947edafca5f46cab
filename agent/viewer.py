"""Who is asking, and whom they may ask about. Bound at login; never taken from text or a model."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Self

from agent.errors import AccessError


class Role(StrEnum):
    """The two kinds of people before Patron."""

    DESK = "desk"
    SHOPPER = "shopper"


@dataclass(frozen=True, slots=True, kw_only=True)
class Viewer:
    """A person who has logged in.

    Attributes:
        login: name they logged in with.
        customer_id: whom a shopper is; None for the desk.
    """

    login: str
    role: Role
    customer_id: str | None = None

    @classmethod
    def desk(cls, login: str = "desk") -> Self:
        """Staff, who may see every customer."""
        return cls(login=login, role=Role.DESK)

    @classmethod
    def shopper(cls, customer_id: str, login: str | None = None) -> Self:
        """A customer, who may see only themselves."""
        return cls(login=login or customer_id, role=Role.SHOPPER, customer_id=customer_id)

    @property
    def is_desk(self) -> bool:
        """Whether this is staff."""
        return self.role is Role.DESK

    def check_may_see(self, customer_id: str) -> None:
        """Refuse anyone but the desk another customer's data.

        Raises:
            AccessError: a shopper asks about somebody else.
        """
        if not self.is_desk and customer_id != self.customer_id:
            raise AccessError(
                "You can only see your own account.",
                hint="Ask about your own orders, recommendations and offers.",
            )

    def check_desk(self, what: str) -> None:
        """Refuse a shopper what is for the desk.

        Raises:
            AccessError: the viewer is a shopper.
        """
        if not self.is_desk:
            raise AccessError(
                f"{what} is for the shop's staff.",
                hint="Ask about your own orders, recommendations and offers.",
            )
