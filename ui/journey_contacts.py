"""Who was sent which campaign of The Complete Journey, and what the redemptions took off."""

from collections import defaultdict
from datetime import timedelta

from finetune.contacts import Contact
from ui.complete_journey import campaigns, load, midnight, redeemed_discounts


def contacts() -> list[Contact]:
    """Every household's part in every campaign, the oldest campaign first.

    The type of campaign is the kind. No household was kept out at random and nobody noted a
    chance, so all are `treated` and none has a `propensity`. Receipts show the discount of about
    half of the redemptions; each other one counts with the mean of its type of campaign. Campaigns
    that go on after the log's end hold what was redeemed until then.

    Raises:
        ShopError: the data package is not installed.
    """
    redeemed = _redeemed()
    households: dict[int, list[str]] = defaultdict(list)
    members = load("campaigns")
    for campaign_id, household in zip(members["campaign_id"], members["household_id"], strict=True):
        households[int(campaign_id)].append(str(household))
    return [
        Contact(
            customer_id=household,
            campaign_id=str(campaign.campaign_id),
            kind=campaign.campaign_type,
            starts=midnight(campaign.start_date),
            ends=midnight(campaign.end_date + timedelta(days=1)),
            redemptions=len(redeemed[campaign.campaign_id, household]),
            discount=round(sum(redeemed[campaign.campaign_id, household])),
        )
        for campaign in sorted(campaigns(), key=lambda each: (each.start_date, each.campaign_id))
        for household in sorted(households[campaign.campaign_id])
    ]


def _redeemed() -> dict[tuple[int, str], list[float]]:
    """What each redemption took off, minor units, by campaign and household."""
    types = {campaign.campaign_id: campaign.campaign_type for campaign in campaigns()}
    redemptions = load("coupon_redemptions")
    shown = redeemed_discounts().set_index("redemption")["discount"].reindex(redemptions.index)
    usual = shown.groupby(redemptions["campaign_id"].map(types)).transform("mean")
    redeemed: dict[tuple[int, str], list[float]] = defaultdict(list)
    for campaign_id, household, discount in zip(
        redemptions["campaign_id"],
        redemptions["household_id"],
        shown.fillna(usual),
        strict=True,
    ):
        redeemed[int(campaign_id), str(household)].append(float(discount))
    return redeemed
