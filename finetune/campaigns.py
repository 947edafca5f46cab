"""Campaigns: the contacts of one mailing together."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from finetune.contacts import Contact
from finetune.errors import TrainingError


@dataclass(frozen=True, slots=True, kw_only=True)
class Campaign:
    """One campaign and who had a part in it.

    Attributes:
        contacts: by customer.
    """

    campaign_id: str
    kind: str
    starts: datetime
    ends: datetime
    contacts: Mapping[str, Contact]

    @property
    def randomised(self) -> bool:
        """Whether customers were kept out at random, so that these are the ones to compare with."""
        return any(not contact.treated for contact in self.contacts.values())


def campaigns_of(contacts: Iterable[Contact]) -> list[Campaign]:
    """Group contacts by campaign, the oldest campaign first.

    Raises:
        TrainingError: a campaign has two kinds or spans, or a customer twice.
    """
    grouped: dict[str, dict[str, Contact]] = {}
    for contact in contacts:
        members = grouped.setdefault(contact.campaign_id, {})
        first = next(iter(members.values()), contact)
        if (contact.kind, contact.starts, contact.ends) != (first.kind, first.starts, first.ends):
            raise TrainingError(
                f"Campaign '{contact.campaign_id}' has another kind or span for customer "
                f"'{contact.customer_id}' than for '{first.customer_id}'.",
                hint="Give each campaign one kind, one start and one end.",
            )
        if contact.customer_id in members:
            raise TrainingError(
                f"Campaign '{contact.campaign_id}' has customer '{contact.customer_id}' twice.",
                hint="Give each customer one contact a campaign.",
            )
        members[contact.customer_id] = contact
    campaigns = [_campaign(members) for members in grouped.values()]
    return sorted(campaigns, key=lambda campaign: (campaign.starts, campaign.campaign_id))


def _campaign(members: Mapping[str, Contact]) -> Campaign:
    first = next(iter(members.values()))
    return Campaign(
        campaign_id=first.campaign_id,
        kind=first.kind,
        # In UTC, where four weeks are as long across a change of the clocks.
        starts=first.starts.astimezone(UTC),
        ends=first.ends.astimezone(UTC),
        contacts=members,
    )
