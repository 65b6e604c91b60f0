"""The card's Jinja templates, strict and sandboxed: a row's columns in, prompt and answer out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from jinja2 import StrictUndefined, Template, TemplateError, TemplateSyntaxError, Undefined
from jinja2.sandbox import ImmutableSandboxedEnvironment

from hpc_trex.errors import UsageProblem
from hpc_trex.models import Prompt


class RowProblem(Exception):
    """Why a row cannot be rendered; the reader adds file and line."""


class Rendered(NamedTuple):
    """One row as the model will see it."""

    prompt: str
    answer: str


#: A prompt or an answer longer than this (characters) is a mistake in the file, or no row that can be trained on.
LONGEST_TEXT = 1_000_000


class Templates:
    """Templates for new columns, by name. Raises :class:`UsageProblem` where a template's syntax is wrong."""

    def __init__(self, templates: Mapping[str, str], where: str) -> None:
        environment = _environment()
        self._templates = {name: _compiled(environment, text, f"{where}.{name}") for name, text in templates.items()}

    def __call__(self, columns: dict[str, Any]) -> dict[str, str]:
        """Return the new columns of a row. Raises :class:`RowProblem`."""
        return {name: _filled(template, columns, name) for name, template in self._templates.items()}


class Renderer:
    """The compiled templates of one card. Raises :class:`UsageProblem` where a template's syntax is wrong."""

    def __init__(self, templates: Prompt, where: str, *, texts: bool = False) -> None:
        """With ``texts`` a row may have no answer: it is plain text, for a ``pretrain`` stage of a training."""
        environment = _environment()
        self._texts = texts
        self._prompt = _compiled(environment, templates.prompt, f"{where}: prompt.prompt")
        self._answer = _compiled(environment, templates.answer, f"{where}: prompt.answer")
        self._identity = _compiled(environment, templates.identity, f"{where}: prompt.identity")

    def __call__(self, columns: dict[str, Any]) -> Rendered:
        """Return the rendered row. Raises :class:`RowProblem` for a missing, empty or unprintable column."""
        rendered = Rendered(
            _filled(self._prompt, columns, "prompt.prompt"), _filled(self._answer, columns, "prompt.answer").strip()
        )
        for name, text in zip(Rendered._fields, rendered, strict=True):
            if not text.strip() and not (self._texts and name == "answer"):
                raise RowProblem(f"the {name} is empty")
            if len(text) > LONGEST_TEXT:
                raise RowProblem(f"the {name} has {len(text)} characters; a row has at most {LONGEST_TEXT}")
            if not text.isprintable():
                _encodable(name, text)
        return rendered

    def identity(self, columns: dict[str, Any]) -> str:
        """Return what ``prompt.identity`` says of a row; empty where the card has none. Raises :class:`RowProblem`."""
        return _filled(self._identity, columns, "prompt.identity")


def _environment() -> ImmutableSandboxedEnvironment:
    return ImmutableSandboxedEnvironment(undefined=StrictUndefined, finalize=_plain, keep_trailing_newline=True)


def _compiled(environment: ImmutableSandboxedEnvironment, text: str, where: str) -> Template:
    try:
        return environment.from_string(text)
    except TemplateSyntaxError as error:
        raise UsageProblem(
            f"{where}: line {error.lineno} of the template: {error.message}",
            hint="a column stands in double braces: {{ question }}",
        ) from None


def _filled(template: Template, columns: dict[str, Any], name: str) -> str:
    try:
        return template.render(columns)
    except TemplateError as error:
        missing = f"; the row has {', '.join(map(repr, sorted(columns)))}" if "is undefined" in str(error) else ""
        raise RowProblem(f"template {name}: {error.message}{missing}") from None
    except (ArithmeticError, LookupError, TypeError, ValueError, RecursionError) as error:
        # What an expression inside a template can raise on values that it was not written for.
        raise RowProblem(f"template {name}: {type(error).__name__}: {error}") from None


def _plain(value: object) -> object:
    """Let text and numbers through; a list, an object, true, false or null in the text is most likely a mistake."""
    if isinstance(value, Undefined | str) or (isinstance(value, int | float) and not isinstance(value, bool)):
        return value
    raise TypeError(f"{value!r:.60} is neither text nor a number; use a filter, e.g. tojson or join")


def _encodable(name: str, text: str) -> None:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        raise RowProblem(f"the {name} holds half a surrogate pair, which no tokenizer can read") from None
