"""Whether the groups have the sizes that were planned. Where not, something chose who is in them.

The chi-square test is for one look. For many looks there is the always-valid p-value of Lindon and
Malek, "Anytime-valid inference for multinomial count data" (2022): the planned share against a beta
prior around it, as the Bayes factor of the counts.
"""

import math
from dataclasses import dataclass

from scipy.special import betaln
from scipy.stats import chisquare

# Far below any usual alpha: with groups that chance made, one experiment in a thousand is stopped.
MISMATCH_BELOW = 0.001
# The prior is worth so many customers: it looks for shares a few per cent of themselves off.
_PRIOR_CUSTOMERS = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleRatio:
    """Group sizes beside the plan.

    Attributes:
        treatment: customers in the treatment group, control likewise.
        planned_share: of the control group.
        p_value: chi-square with one degree of freedom; for one look.
        always_valid_p: for any number of looks at these counts.
    """

    treatment: int
    control: int
    planned_share: float
    p_value: float
    always_valid_p: float

    @property
    def mismatch(self) -> bool:
        """Whether the groups are not the sizes that were planned."""
        return self.p_value < MISMATCH_BELOW


def check_sample_ratio(treatment: int, control: int, planned_share: float) -> SampleRatio:
    """Test the sizes of two groups against the planned share of the control group.

    Raises:
        ValueError: there is no customer in either group.
    """
    total = treatment + control
    if total == 0:
        raise ValueError("there are no customers to count")
    expected = [total * (1 - planned_share), total * planned_share]
    prior = [_PRIOR_CUSTOMERS * planned_share, _PRIOR_CUSTOMERS * (1 - planned_share)]
    under_prior = betaln(prior[0] + control, prior[1] + treatment) - betaln(*prior)
    under_plan = control * math.log(planned_share) + treatment * math.log1p(-planned_share)
    return SampleRatio(
        treatment=treatment,
        control=control,
        planned_share=planned_share,
        p_value=float(chisquare([treatment, control], expected).pvalue),
        always_valid_p=min(1.0, math.exp(min(0.0, under_plan - under_prior))),
    )
