"""Options that several `patron experiment` commands take."""

from pathlib import Path
from typing import Annotated

import typer

from agent.experiments import Metric

IdArgument = Annotated[str, typer.Argument(help="The experiment's name.", metavar="ID")]
MetricOption = Annotated[
    Metric,
    typer.Option(help="spend per customer, or returned: whether one bought at least once."),
]
HoldoutOption = Annotated[
    float, typer.Option(help="Share of customers in the control group.", min=0.001, max=0.999)
]
EffectOption = Annotated[
    float,
    typer.Option(help="Smallest effect worth finding, as a share of the mean: 0.05.", min=0.0001),
]
PowerOption = Annotated[
    float, typer.Option(help="Chance of finding an effect that large.", min=0.5, max=0.999)
]
AlphaOption = Annotated[
    float, typer.Option(help="Chance of finding one where there is none.", min=0.0001, max=0.5)
]
HorizonOption = Annotated[
    int | None,
    typer.Option(
        help="Days from a customer's entry that count; the shop's churn horizon by default.",
        min=1,
        max=730,
    ),
]
TierOption = Annotated[
    str | None, typer.Option(help="Only customers of this value tier, as patron score found it.")
]
CustomersOption = Annotated[
    Path | None, typer.Option(help="Only customers of this text file, one id a line.")
]
