"""The prompts: Markdown files that a site may replace, filled by a strict and sandboxed Jinja.

A file is a header for its readers (which placeholders there are, where each comes from), then sections under
``## name``. Values are put in as they are: nothing inside a value is ever read as a template.
"""

from __future__ import annotations

import re
from pathlib import Path

from jinja2 import FunctionLoader, StrictUndefined, TemplateError, TemplateSyntaxError, meta
from jinja2.sandbox import ImmutableSandboxedEnvironment

from hpc_trex.errors import UsageProblem
from hpc_trex.site import site

_HEADING = re.compile(r"^## +(\S.*?) *$", re.MULTILINE)

#: Without these a section says nothing: a file that leaves one out where it is filled is refused.
NEEDED = frozenset({"context", "refusals"})


class Prompt:
    """One file of ``agents/``. Raises :class:`UsageProblem`, naming the file, for one that cannot be used."""

    def __init__(self, path: Path, text: str) -> None:
        self.path = path
        # the loader finds nothing: a template cannot reach another file; no globals: it has its values and nothing else
        self._jinja = ImmutableSandboxedEnvironment(
            undefined=StrictUndefined, autoescape=False, loader=FunctionLoader(lambda _: None)
        )
        self._jinja.globals.clear()
        pieces = _HEADING.split(text)
        self.header = pieces[0]
        self.sections: dict[str, str] = {}
        self.placeholders: dict[str, frozenset[str]] = {}
        for name, body in zip(pieces[1::2], pieces[2::2], strict=True):
            if name in self.sections:
                raise UsageProblem(f"{path}: section {name!r} is there twice", hint=f"keep one '## {name}'")
            self.sections[name] = body.strip()
            self.placeholders[name] = self._names(name)

    def system(self, **values: object) -> str:
        """Return the system message, which is the section ``system``."""
        return self.user("system", **values)

    def user(self, section: str, **values: object) -> str:
        """Return one section, filled. Raises :class:`UsageProblem` for a section or a placeholder that is not there."""
        if section not in self.sections:
            there = ", ".join(self.sections) or "none"
            raise UsageProblem(f"{self.path}: no section {section!r}; there are: {there}", hint=f"add '## {section}'")
        filled = ", ".join(f"{{{{ {name} }}}}" for name in sorted(values)) or "none"
        for name in sorted(self.placeholders[section] - set(values)):
            raise UsageProblem(
                f"{self.path}: section {section!r}: unknown placeholder {{{{ {name} }}}}",
                hint=f"this section is given: {filled}",
            )
        for name in sorted((NEEDED & set(values)) - self.placeholders[section]):
            raise UsageProblem(
                f"{self.path}: section {section!r}: placeholder {{{{ {name} }}}} is missing",
                hint=f"put {{{{ {name} }}}} where that text shall stand",
            )
        try:
            return self._jinja.from_string(self.sections[section]).render(values)
        except (TemplateError, TypeError, ValueError, ArithmeticError) as error:  # the template's own sums may fail
            raise UsageProblem(
                f"{self.path}: section {section!r}: {error}", hint=f"this section is given: {filled}"
            ) from error

    def _names(self, section: str) -> frozenset[str]:
        try:
            return frozenset(meta.find_undeclared_variables(self._jinja.parse(self.sections[section])))
        except TemplateSyntaxError as error:
            raise UsageProblem(
                f"{self.path}: section {section!r}, line {error.lineno}: {error.message}",
                hint="a placeholder is a name in double braces: {{ context }}",
            ) from error


def load_prompt(name: str) -> Prompt:
    """Read ``agents/NAME.md``, the user's own before the shipped one.

    Raises :class:`NotFound` where there is none and :class:`UsageProblem` for one that cannot be used.
    """
    path = site("agents", f"{name}.md")
    try:
        return Prompt(path, path.read_text(encoding="utf-8"))
    except UnicodeDecodeError as error:
        raise UsageProblem(f"{path} is not UTF-8 text: {error}", hint=f"save {path} as UTF-8") from error
