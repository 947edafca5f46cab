"""Load prompt files and render them strictly."""

import hashlib
from dataclasses import dataclass
from functools import cache
from importlib import resources

from jinja2 import Environment, StrictUndefined, Template, meta

from prompts.errors import PromptError

_ENVIRONMENT = Environment(
    undefined=StrictUndefined,
    autoescape=False,
    trim_blocks=True,
    lstrip_blocks=True,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Prompt:
    """One prompt file.

    Attributes:
        name: file name without its ending.
        template: the file's text.
        variables: the names that `render` must be given, no more and no fewer.
        sha256: content hash, kept in adapter manifests.
    """

    name: str
    template: str
    variables: frozenset[str]
    sha256: str

    def render(self, **values: object) -> str:
        """Fill in the template.

        Raises:
            PromptError: a variable is missing or extra.
        """
        given = frozenset(values)
        if given != self.variables:
            missing = ", ".join(sorted(self.variables - given)) or "none"
            extra = ", ".join(sorted(given - self.variables)) or "none"
            raise PromptError(
                f"Prompt '{self.name}' got wrong variables (missing: {missing}; extra: {extra}).",
                hint=f"Give exactly: {', '.join(sorted(self.variables)) or 'nothing'}.",
            )
        return _compiled(self.template).render(**values)


@cache
def _compiled(template: str) -> Template:
    return _ENVIRONMENT.from_string(template)


@cache
def load_prompt(name: str) -> Prompt:
    """Read `prompts/<name>.txt`.

    Raises:
        PromptError: there is no such file.
    """
    file = resources.files("prompts").joinpath(f"{name}.txt")
    if not file.is_file():
        raise PromptError(
            f"There is no prompt '{name}'.", hint="Prompt files are prompts/<name>.txt."
        )
    template = file.read_text(encoding="utf-8")
    variables = frozenset(meta.find_undeclared_variables(_ENVIRONMENT.parse(template)))
    return Prompt(
        name=name,
        template=template,
        variables=variables,
        sha256=hashlib.sha256(template.encode()).hexdigest(),
    )
