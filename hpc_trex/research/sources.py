"""The sources by name, and how a session asks them."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from hpc_trex.errors import NotFound
from hpc_trex.layout import library
from hpc_trex.research.arxiv import Arxiv
from hpc_trex.research.http import Web
from hpc_trex.research.hub import Hub
from hpc_trex.research.library import Library
from hpc_trex.research.openalex import OpenAlex
from hpc_trex.research.protocol import Tool
from hpc_trex.research.semantic_scholar import SemanticScholar
from hpc_trex.suggest import did_you_mean

#: In the order of their trust: one's own library first.
SOURCES = ("library", "arxiv", "openalex", "semantic-scholar", "datasets", "models")


def make_tools(web: Web, names: Sequence[str] = SOURCES, *, blocked: Collection[str] = ()) -> list[Tool]:
    """Return the named sources over one session. ``blocked``: the task's own data sets, which are never shown.

    Raises :class:`NotFound` for an unknown name.
    """
    return [_make(name, web, blocked) for name in dict.fromkeys(names)]


def _make(name: str, web: Web, blocked: Collection[str]) -> Tool:
    match name:
        case "library":
            return Library(library())
        case "arxiv":
            return Arxiv(web)
        case "openalex":
            return OpenAlex(web)
        case "semantic-scholar":
            return SemanticScholar(web)
        case "datasets":
            return Hub(web, "datasets", blocked=blocked)
        case "models":
            return Hub(web, "models", blocked=blocked)
    raise NotFound(f"no source {name!r}{did_you_mean(name, SOURCES)}", hint=f"there are: {', '.join(SOURCES)}")
