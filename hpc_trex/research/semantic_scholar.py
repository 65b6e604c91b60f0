"""Semantic Scholar's Graph API. Without a key all its users share one pool of requests, so 429 is usual."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from hpc_trex.research.http import Ask, Web
from hpc_trex.research.protocol import (
    SUMMARY,
    TITLE,
    Fact,
    Finding,
    Result,
    clean,
    clean_names,
    clean_number,
    clean_url,
    clean_year,
)
from hpc_trex.research.shapes import part, rows

URL, URL_VARIABLE = "https://api.semanticscholar.org/graph/v1", "HPC_TREX_SEMANTIC_SCHOLAR_URL"
KEY_VARIABLE = "SEMANTIC_SCHOLAR_API_KEY"
SECONDS_APART = 1.0
FIELDS = "title,year,authors,abstract,tldr,url,externalIds,openAccessPdf,citationCount"


class SemanticScholar:
    """Papers by words, with citations and, where there is no abstract, a one-sentence summary."""

    name = "semantic-scholar"

    def __init__(self, web: Web, url: str = "", key: str = "") -> None:
        self._web = web
        self._url = (url or os.environ.get(URL_VARIABLE) or URL).rstrip("/")
        self._key = key or os.environ.get(KEY_VARIABLE, "")

    def search(self, query: str, *, limit: int) -> Result:
        """Ask for papers, the most relevant first."""
        words = clean(query, 300)
        if not words:
            return Result(note="the query has no word")
        params = (("query", words), ("limit", str(limit)), ("fields", FIELDS))
        secret = {"x-api-key": self._key} if self._key else {}
        ask = Ask("Semantic Scholar", f"{self._url}/paper/search", params, every=SECONDS_APART, secret_headers=secret)
        found, note = self._web.get(ask, read_papers)
        return Result((found or ())[:limit], note, asked=found is not None)


def read_papers(text: str) -> tuple[Finding, ...]:
    """Return the papers of an answer. Raises ValueError for anything else."""
    import json

    whole = json.loads(text)
    if isinstance(whole, dict) and whole.get("total") == 0:
        return ()  # no "data" where nothing was found
    return tuple(finding for row in rows(text, "data") if (finding := _finding(row)) is not None)


def _finding(row: Mapping[str, Any]) -> Finding | None:
    identity, title = clean(row.get("paperId")), clean(row.get("title"), TITLE)
    if not identity or not title:
        return None
    doi, arxiv = clean(part(row, "externalIds", "DOI")), clean(part(row, "externalIds", "ArXiv"))
    extra: dict[str, Fact] = {"citations": clean_number(row.get("citationCount"))}
    extra |= ({"doi": doi} if doi else {}) | ({"arxiv": arxiv} if arxiv else {})
    people = row.get("authors")
    return Finding(
        source=SemanticScholar.name,
        id=identity,
        title=title,
        year=clean_year(row.get("year")),
        authors=clean_names([part(one, "name") for one in people] if isinstance(people, list) else []),
        url=clean_url(row.get("url")),
        summary=clean(row.get("abstract"), SUMMARY) or clean(part(row, "tldr", "text"), SUMMARY),
        licence=clean(part(row, "openAccessPdf", "license")) or "unknown",
        extra=extra,
    )
