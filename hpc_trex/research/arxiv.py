"""arXiv's query API (Atom). One request in three seconds, one connection: its terms of use."""

from __future__ import annotations

import os
import re
from xml.etree import ElementTree

from hpc_trex.research.http import Ask, Web
from hpc_trex.research.protocol import SUMMARY, TITLE, Fact, Finding, Result, clean, clean_names, clean_url, clean_year

URL, URL_VARIABLE = "https://export.arxiv.org/api/query", "HPC_TREX_ARXIV_URL"
SECONDS_APART = 3.0
MOST_WORDS = 12
_ATOM, _ARXIV = "{http://www.w3.org/2005/Atom}", "{http://arxiv.org/schemas/atom}"
_ID = re.compile(r"/abs/(?P<id>[A-Za-z.-]+/\d{7}|\d{4}\.\d{4,5})(v\d+)?$")


class Arxiv:
    """Papers by words in title, abstract and authors. Abstracts are metadata (CC0); a paper's own licence is not told."""

    name = "arxiv"

    def __init__(self, web: Web, url: str = "") -> None:
        self._web = web
        self._url = url or os.environ.get(URL_VARIABLE) or URL

    def search(self, query: str, *, limit: int) -> Result:
        """Ask for papers that hold all words of the query."""
        # Words only: AND, quotes and brackets are this API's own syntax.
        words = re.findall(r"\w+(?:[-.]\w+)*", clean(query, 300))[:MOST_WORDS]
        if not words:
            return Result(note="the query has no word")
        params = (
            ("search_query", " AND ".join(f'all:"{word}"' for word in words)),
            ("start", "0"),
            ("max_results", str(limit)),
            ("sortBy", "relevance"),
        )
        found, note = self._web.get(Ask("arXiv", self._url, params, every=SECONDS_APART), read_feed)
        return Result((found or ())[:limit], note, asked=found is not None)


def read_feed(text: str) -> tuple[Finding, ...]:
    """Return the entries of a feed. Raises ValueError for anything else, an error feed included."""
    # Entities need a document type; this API never sends one. A str is parsed, so no encoding can hide it.
    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        raise ValueError("a document type in the feed")
    try:
        feed = ElementTree.fromstring(text)  # noqa: S314 - no document type, so no entities
    except ElementTree.ParseError as error:
        raise ValueError("no XML") from error
    if feed.tag != f"{_ATOM}feed":
        raise ValueError("no Atom feed")
    entries = feed.findall(f"{_ATOM}entry")
    if any("/api/errors" in (entry.findtext(f"{_ATOM}id") or "") for entry in entries):
        raise ValueError("an error feed")
    return tuple(finding for entry in entries if (finding := _finding(entry)) is not None)


def _finding(entry: ElementTree.Element) -> Finding | None:
    match = _ID.search((entry.findtext(f"{_ATOM}id") or "").strip())
    title = clean(entry.findtext(f"{_ATOM}title"), TITLE)
    if match is None or not title:
        return None
    doi = clean(entry.findtext(f"{_ARXIV}doi"))
    extra: dict[str, Fact] = {"arxiv": match["id"]} | ({"doi": doi} if doi else {})
    return Finding(
        source=Arxiv.name,
        id=match["id"],
        title=title,
        year=clean_year(entry.findtext(f"{_ATOM}published")),
        authors=clean_names([author.findtext(f"{_ATOM}name") for author in entry.findall(f"{_ATOM}author")]),
        url=clean_url(f"https://arxiv.org/abs/{match['id']}"),
        summary=clean(entry.findtext(f"{_ATOM}summary"), SUMMARY),
        extra=extra,
    )
