"""Data sets and models of the Hugging Face Hub, each with what decides whether it may be used at all.

A task's own data sets never come back: a search that trained on its test set would prove nothing.
"""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Mapping
from typing import Any, Literal

from hpc_trex.models import TaskCard
from hpc_trex.research.http import Ask, Web, is_offline
from hpc_trex.research.protocol import (
    SUMMARY,
    TITLE,
    Fact,
    Finding,
    Result,
    clean,
    clean_number,
    clean_url,
    clean_year,
)
from hpc_trex.research.shapes import part, rows

URL, URL_VARIABLE = "https://huggingface.co", "HF_ENDPOINT"
SECONDS_APART = 0.5
#: A name with fewer letters says nothing when it stands inside another.
TELLING = 5
_COMMON = ("author", "cardData", "createdAt", "downloads", "gated", "sha", "siblings", "tags", "usedStorage")
EXPAND: dict[str, tuple[str, ...]] = {
    "datasets": (*_COMMON, "description", "mainSize"),
    "models": (*_COMMON, "pipeline_tag", "safetensors"),
}


class Hub:
    """Repositories of one kind whose name holds the query. ``blocked``: hub ids that never come back, under no owner."""

    def __init__(
        self, web: Web, kind: Literal["datasets", "models"], *, blocked: Collection[str] = (), url: str = ""
    ) -> None:
        self.name = kind
        self._web, self._kind = web, kind
        self._url = (url or os.environ.get(URL_VARIABLE) or URL).rstrip("/")
        self._blocked = {_bare(name) for name in blocked} - {""}

    def search(self, query: str, *, limit: int) -> Result:
        """Ask for repositories, the most downloaded first."""
        if is_offline(variable="HF_HUB_OFFLINE"):
            return Result(note="offline: HF_HUB_OFFLINE is set", asked=False)
        words = clean(query, 200)
        if not words:
            return Result(note="the query has no word")
        # Some more than asked for: the task's own are taken out.
        params = [("search", words), ("sort", "downloads"), ("limit", str(limit + 5))]
        params += [("expand", name) for name in EXPAND[self._kind]]
        ask = Ask("the Hugging Face Hub", f"{self._url}/api/{self._kind}", tuple(params), every=SECONDS_APART)
        found, note = self._web.get(ask, self._read)
        kept = [self._warned(one) for one in found or () if _bare(one.id) not in self._blocked]
        left_out = len(found or ()) - len(kept)
        if left_out:
            note = "; ".join(filter(None, (note, f"left out: {left_out} that bear the name of the task's own data")))
        return Result(tuple(kept[:limit]), note, asked=found is not None)

    def _read(self, text: str) -> tuple[Finding, ...]:
        return tuple(finding for row in rows(text) if (finding := _finding(row, self._kind, self._url)) is not None)

    def _warned(self, finding: Finding) -> Finding:
        """Mark a name that holds the name of the task's own data: a derived set may hold its test rows."""
        near = sorted(name for name in self._blocked if len(name) >= TELLING and name in _bare(finding.id))
        return finding._replace(extra={**finding.extra, "resembles_task_data": near[0]}) if near else finding


def own_data_sets(card: TaskCard) -> frozenset[str]:
    """Return the hub ids that a task is made of: its sources, dev and test, and what its tables are built of."""
    own = [source.hub for source in (card.dev, card.test, *card.sources.values()) if source.hub]
    # A repository elsewhere is found on the hub under its own name, too.
    own += [one.id or one.url.removesuffix(".git").rpartition("/")[2] for one in card.downloads.values()]
    own += [card.name] if card.downloads else []
    return frozenset(own)


def _bare(identity: str) -> str:
    """Return a repository's name without owner, capitals and punctuation: copies are found under other owners."""
    return re.sub(r"[\W_]+", "", identity.rsplit("/", 1)[-1].lower())


def _finding(row: Mapping[str, Any], kind: Literal["datasets", "models"], url: str) -> Finding | None:
    identity = clean(row.get("id"))
    if not re.fullmatch(r"[\w.-]+(/[\w.-]+)?", identity) or row.get("private") is True:
        return None
    commit = clean(row.get("sha"))
    extra: dict[str, Fact] = {
        "gated": _gated(row.get("gated")),
        "size": clean_number(row.get("mainSize")) or clean_number(row.get("usedStorage")),
        "commit": commit if re.fullmatch(r"[0-9a-f]{40}", commit) else None,
        "loading_script": _loading_script(row, identity),
        "downloads": clean_number(row.get("downloads")),
    }
    if kind == "models":
        extra["parameters"] = clean_number(part(row, "safetensors", "total"))
    words = row.get("description") if kind == "datasets" else row.get("pipeline_tag")
    return Finding(
        source=kind,
        id=identity,
        title=clean(part(row, "cardData", "pretty_name"), TITLE) or identity,
        year=clean_year(row.get("createdAt")),
        authors=tuple(filter(None, (clean(row.get("author")),))),
        url=clean_url(f"{url}/{'datasets/' if kind == 'datasets' else ''}{identity}"),
        summary=clean(words, SUMMARY),
        licence=_licence(row),
        kind="dataset" if kind == "datasets" else "model",
        extra=extra,
    )


def _gated(value: object) -> bool | None:
    """The hub says false, ``auto`` or ``manual``; whatever else it comes to say is a gate."""
    return None if value is None else value is not False


def _loading_script(row: Mapping[str, Any], identity: str) -> bool | None:
    """Tell whether a repository needs code of its own to be read, which is never run here; None where no files are told."""
    tags = row.get("tags")
    if isinstance(tags, list) and "custom_code" in tags:
        return True
    files = row.get("siblings")
    if not isinstance(files, list):
        return None
    names = {part(file, "rfilename") for file in files}
    return f"{identity.rsplit('/', 1)[-1]}.py" in names


def _licence(row: Mapping[str, Any]) -> str:
    named = part(row, "cardData", "license")
    if isinstance(named, list):
        named = ", ".join(str(one) for one in named)
    if not named:
        tags = row.get("tags")
        marked = (
            [tag for tag in tags if isinstance(tag, str) and tag.startswith("license:")]
            if isinstance(tags, list)
            else []
        )
        named = marked[0].removeprefix("license:") if marked else ""
    return clean(named) or "unknown"
