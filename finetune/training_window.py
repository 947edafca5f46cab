"""What an adapter learns from: labelled customers at the newest cut-off and at earlier ones."""

from collections.abc import Sequence
from dataclasses import dataclass

from finetune.base_model import BaseModelFiles, token_counter
from finetune.base_prior import load_base_prior
from finetune.cross_shop import CrossShopPrior
from finetune.errors import TrainingError
from finetune.held_out import FEWEST_CUSTOMERS, VALIDATION_SHARE, is_held_out
from finetune.labels import Example, build_labels, tier_of, tier_thresholds
from finetune.predictors import meanwhile
from finetune.prior import Prior, fit_prior
from finetune.slots import Slots, encode_prompt
from finetune.training import TrainingExample
from retrieval.catalogue import Catalogue
from retrieval.errors import ShopError
from retrieval.history import History, render_history
from retrieval.progress import Progress
from retrieval.shop import Shop
from retrieval.time_split import TimeSplit, learning_cutoffs, split_by_time

CUTOFFS = 3
"""Cut-offs to learn from where nothing else is asked, as many as the prior learns from."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingWindow:
    """The labelled training window, split by customer.

    Attributes:
        split: the shop's cut-offs.
        split_seed: of the hash that holds customers out.
        examples: every customer at the newest cut-off.
        earlier_examples: every customer at each earlier cut-off, the newest first.
        histories: of the examples, in their order.
        thresholds: spend (minor units) at which each tier above the lowest begins; from the newest
            cut-off.
        earlier_histories: of `earlier`.
        cross_shop: what other shops teach; it comes with Patron.
    """

    split: TimeSplit
    split_seed: int
    examples: list[Example]
    earlier_examples: list[list[Example]]
    histories: list[History]
    thresholds: tuple[float, ...]
    earlier_histories: list[list[History]]
    cross_shop: CrossShopPrior

    @property
    def earlier(self) -> list[list[Example]]:
        """Training customers at each earlier cut-off; customers held out are not among them."""
        return _training_customers(self.earlier_examples, self.split_seed)

    def part(self, *, validation: bool) -> list[int]:
        """Indices, at the newest cut-off, of customers held out or of those to learn from."""
        return [
            index
            for index, example in enumerate(self.examples)
            if is_held_out(example.past.customer_id, self.split_seed) is validation
        ]

    def tier(self, index: int) -> int:
        """Tier of a customer at the newest cut-off."""
        return tier_of(self.examples[index].spend, self.thresholds)

    @property
    def cutoffs(self) -> int:
        """How many cut-offs are learnt from."""
        return 1 + len(self.earlier_examples)

    def labelled(self) -> list[tuple[History, Example]]:
        """Everything that decides what the language model learns, in a fixed order."""
        pairs = list(zip(self.histories, self.examples, strict=True))
        for histories, examples in zip(self.earlier_histories, self.earlier, strict=True):
            pairs += zip(histories, examples, strict=True)
        return pairs

    def training_examples(self, files: BaseModelFiles, slots: Slots) -> list[TrainingExample]:
        """Training customers at the newest cut-off, then at the earlier ones."""
        part = self.part(validation=False)
        pairs = [(self.histories[index], self.examples[index]) for index in part]
        pairs += self.labelled()[len(self.examples) :]
        return self._encode(pairs, files, slots)

    def validation_examples(self, files: BaseModelFiles, slots: Slots) -> list[TrainingExample]:
        """Customers held out, at the newest cut-off alone."""
        part = self.part(validation=True)
        pairs = [(self.histories[index], self.examples[index]) for index in part]
        return self._encode(pairs, files, slots)

    def _encode(
        self, pairs: Sequence[tuple[History, Example]], files: BaseModelFiles, slots: Slots
    ) -> list[TrainingExample]:
        return [
            TrainingExample(
                prompt=tuple(encode_prompt(files, slots, history.text)),
                tier=tier_of(example.spend, self.thresholds),
                churned=int(example.churned),
            )
            for history, example in pairs
        ]


def training_window(
    shop: Shop, files: BaseModelFiles, split_seed: int, cutoffs: int, progress: Progress
) -> TrainingWindow:
    """Label a shop's customers and render their histories.

    Args:
        shop: with a log long enough for a training and a test window.
        files: of the base model, whose tokens histories are measured in.
        split_seed: of the hash that holds customers out.
        cutoffs: how many cut-offs to learn from; fewer where the log begins too late for that.
        progress: told when it begins and ends.

    Raises:
        TrainingError: too few customers, or all of one kind.
        ShopError: the log is too short.
        AdapterError: the prior that comes with Patron cannot be read.
    """
    cross_shop = load_base_prior()
    progress("Building labels", 0, 1)
    split = _split(shop)
    newest, *before = learning_cutoffs(
        split.train_cutoff, split.horizon, split.first_event, count=cutoffs
    )
    examples = build_labels(shop.log, newest, shop.settings)
    earlier = [build_labels(shop.log, cutoff, shop.settings) for cutoff in before]
    window = TrainingWindow(
        split=split,
        split_seed=split_seed,
        examples=examples,
        earlier_examples=earlier,
        histories=render_examples(shop, files, examples),
        thresholds=tier_thresholds([example.spend for example in examples], shop.settings)
        if examples
        else (),
        earlier_histories=[
            render_examples(shop, files, part) for part in _training_customers(earlier, split_seed)
        ],
        cross_shop=cross_shop,
    )
    progress("Building labels", 1, 1)
    _check_learnable(shop, window)
    return window


def _split(shop: Shop) -> TimeSplit:
    """The shop's cut-offs; where the log is too short, it is said what answers meanwhile."""
    try:
        return split_by_time(shop)
    except ShopError as error:
        if shop.log.span() is None:
            raise  # nothing answers for a shop without a purchase
        raise ShopError(error.message, hint=f"{error.hint} {meanwhile(shop)}") from error


def render_examples(
    shop: Shop, files: BaseModelFiles, examples: Sequence[Example]
) -> list[History]:
    """Histories of examples, in their order."""
    catalogue, count = Catalogue.read(shop.items_file), token_counter(files)
    return [
        render_history(
            example.past, settings=shop.settings, catalogue=catalogue, count_tokens=count
        )
        for example in examples
    ]


def learn_priors(shop: Shop, window: TrainingWindow) -> tuple[Prior, Prior]:
    """Learn two priors: one to be judged on the validation customers, one to answer.

    The first learns from training customers alone, and has no cross-shop part: patron-base may have
    learnt from this very shop. The second learns from everybody and has one.
    """
    split = window.split
    _, *before = learning_cutoffs(split.train_cutoff, split.horizon, split.first_event)
    # The cut-offs of the window are the first of these; only what it lacks is read.
    known = window.earlier_examples[: len(before)]
    lacking = [build_labels(shop.log, cutoff, shop.settings) for cutoff in before[len(known) :]]
    everybody = [window.examples, *known, *lacking]
    training = _training_customers(everybody, window.split_seed)
    churn = shop.settings.churn
    held_out, answering = (
        fit_prior(
            windows, window.thresholds, churn.horizon_days, churn.definition, cross_shop=others
        )
        for windows, others in ((training, None), (everybody, window.cross_shop))
    )
    return held_out, answering


def _training_customers(
    windows: Sequence[Sequence[Example]], split_seed: int
) -> list[list[Example]]:
    """Examples of each window without customers held out."""
    return [
        [example for example in window if not is_held_out(example.past.customer_id, split_seed)]
        for window in windows
    ]


def _check_learnable(shop: Shop, window: TrainingWindow) -> None:
    for validation, name in ((False, "training"), (True, "validation")):
        part = window.part(validation=validation)
        churned = sum(window.examples[index].churned for index in part)
        fewest = FEWEST_CUSTOMERS * (VALIDATION_SHARE if validation else 1 - VALIDATION_SHARE)
        if len(part) < fewest or not 0 < churned < len(part):
            raise TrainingError(
                f"The training window has too little to learn from: {len(part)} {name} customers, "
                f"{churned} of whom churned; {len(window.examples)} customers in all.",
                hint=f"Give at least {FEWEST_CUSTOMERS} customers, some of whom left and some of "
                f"whom stayed; or change churn or windows in {shop.directory / 'shop.toml'}. "
                f"{meanwhile(shop)}",
            )
        if len({window.tier(index) for index in part}) < 2:
            raise TrainingError(
                f"All {name} customers fall into one value tier.",
                hint=f"Choose other value.quantiles in shop.toml. {meanwhile(shop)}",
            )
