"""Options that most `patron` commands take."""

from pathlib import Path
from typing import Annotated

import typer

HERE = Path("shop")
ShopOption = Annotated[
    Path, typer.Option("--shop", help="The shop's directory.", show_default=True)
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]
