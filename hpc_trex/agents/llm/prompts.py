"""The prompts: Markdown files that a site may replace, filled by a strict and sandboxed Jinja."""

from __future__ import annotations

from pathlib import Path
from typing import Any


class Prompt:
    """One file of ``agents/``: a header that documents the placeholders, then sections under ``## name``."""

    def __init__(self, path: Path, text: str) -> None:
        raise NotImplementedError

    def system(self, **values: Any) -> str:
        """Return the system message (section ``system``)."""
        raise NotImplementedError

    def user(self, section: str, **values: Any) -> str:
        """Return one section, filled."""
        raise NotImplementedError


def load_prompt(name: str) -> Prompt:
    """Read ``agents/NAME.md``, the user's own before the shipped one. Raises :class:`UsageProblem` for a bad file."""
    raise NotImplementedError
