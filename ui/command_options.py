"""Options that most `patron` commands take, and the document that they print."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

HERE = Path("shop")
ShopOption = Annotated[
    Path, typer.Option("--shop", help="The shop's directory.", show_default=True)
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]


def print_json(document: dict[str, Any]) -> None:
    """Print one document for scripts."""
    print(json.dumps(document, ensure_ascii=False, indent=2))
