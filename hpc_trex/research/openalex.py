"""OpenAlex: the widest coverage of literature. A free key gives a thousand searches a day; without one, a few."""

from __future__ import annotations

import os
import re
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

URL, URL_VARIABLE = "https://api.openalex.org", "HPC_TREX_OPENALEX_URL"
KEY_VARIABLE = "OPENALEX_API_KEY"
SECONDS_APART = 0.2
#: Words of an abstract that are put back in their order.
MOST_WORDS = 2000
FIELDS = "id,doi,title,publication_year,authorships,abstract_inverted_index,best_oa_location,cited_by_count"


class OpenAlex:
    """Works by words anywhere in title, abstract and full text."""

    name = "openalex"

    def __init__(self, web: Web, url: str = "", key: str = "") -> None:
        self._web = web
        self._url = (url or os.environ.get(URL_VARIABLE) or URL).rstrip("/")
        self._key = key or os.environ.get(KEY_VARIABLE, "")

    def search(self, query: str, *, limit: int) -> Result:
        """Ask for works, the most relevant first."""
        words = re.findall(r"\w+(?:[-.+#]+\w*)*", clean(query, 300))
        if not words:
            return Result(note="the query has no word")
        params = (("search", " ".join(words)), ("per_page", str(limit)), ("select", FIELDS))
        secret = (("api_key", self._key),) if self._key else ()
        ask = Ask("OpenAlex", f"{self._url}/works", params, every=SECONDS_APART, secret_params=secret)
        found, note = self._web.get(ask, read_works)
        if found is None and "status 4" in note and not self._key:
            note += f"; a free key of openalex.org in {KEY_VARIABLE} helps"
        return Result((found or ())[:limit], note, asked=found is not None)


def read_works(text: str) -> tuple[Finding, ...]:
    """Return the works of an answer. Raises ValueError for anything else."""
    return tuple(finding for row in rows(text, "results") if (finding := _finding(row)) is not None)


def _finding(row: Mapping[str, Any]) -> Finding | None:
    match = re.search(r"W\d+$", clean(row.get("id")))
    title = clean(row.get("title"), TITLE)
    if match is None or not title:
        return None
    doi = clean(row.get("doi")).removeprefix("https://doi.org/")
    extra: dict[str, Fact] = {"citations": clean_number(row.get("cited_by_count"))} | ({"doi": doi} if doi else {})
    authorships = row.get("authorships")
    people = authorships if isinstance(authorships, list) else []
    return Finding(
        source=OpenAlex.name,
        id=match[0],
        title=title,
        year=clean_year(row.get("publication_year")),
        authors=clean_names([part(one, "author", "display_name") for one in people if isinstance(one, dict)]),
        url=clean_url(part(row, "best_oa_location", "landing_page_url")) or clean_url(row.get("doi")),
        summary=clean(_abstract(row.get("abstract_inverted_index")), SUMMARY),
        licence=clean(part(row, "best_oa_location", "license")) or "unknown",
        extra=extra,
    )


def _abstract(index: object) -> str:
    """Put an inverted index (word → its places) back into a text."""
    if not isinstance(index, dict):
        return ""
    placed: dict[int, str] = {}
    for word, places in index.items():
        for place in places if isinstance(places, list) else []:
            if isinstance(place, int) and 0 <= place < MOST_WORDS:
                placed[place] = word
    return " ".join(placed[place] for place in sorted(placed))
