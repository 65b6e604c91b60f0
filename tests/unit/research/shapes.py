"""Answers of the services in the shape that they document; the works in them are made up."""

from __future__ import annotations

import json

ATOM = """<?xml version='1.0' encoding='UTF-8'?>
<feed xmlns:opensearch="http://a9.com/-/spec/opensearch/1.1/" xmlns:arxiv="http://arxiv.org/schemas/atom" xmlns="http://www.w3.org/2005/Atom">
  <id>https://arxiv.org/api/abc</id>
  <title>arXiv Query: search_query=all:"mixing"</title>
  <updated>2026-01-02T00:00:00Z</updated>
  <opensearch:totalResults>2</opensearch:totalResults>
  {entries}
</feed>"""

ENTRY = """<entry>
    <id>http://arxiv.org/abs/{id}v2</id>
    <title>{title}</title>
    <updated>2025-05-06T07:08:09Z</updated>
    <summary>{summary}</summary>
    <category term="cs.LG" scheme="http://arxiv.org/schemas/atom"/>
    <published>2024-03-04T05:06:07Z</published>
    <arxiv:primary_category term="cs.LG"/>
    <author><name>Ada Example</name></author>
    <author><name>Bo  Sample</name></author>
    <arxiv:doi>10.1000/mix.1</arxiv:doi>
    <link href="https://arxiv.org/abs/{id}v2" rel="alternate" type="text/html"/>
  </entry>"""

ARXIV_ERROR = ATOM.format(
    entries="<entry><id>https://arxiv.org/api/errors#incorrect_id_format</id><title>Error</title><summary>incorrect id</summary></entry>"
)


def arxiv_feed(*entries: tuple[str, str, str]) -> str:
    """A feed of (id, title, summary)."""
    made = [ENTRY.format(id=identity, title=title, summary=summary) for identity, title, summary in entries]
    return ATOM.format(entries="\n".join(made))


def openalex_work(**changes: object) -> dict:
    work = {
        "id": "https://openalex.org/W4400000001",
        "doi": "https://doi.org/10.1000/mix.1",
        "title": "Mixing Data for Small Models",
        "publication_year": 2024,
        "authorships": [
            {"author_position": "first", "author": {"id": "https://openalex.org/A1", "display_name": "Ada Example"}},
            {"author_position": "last", "author": {"id": "https://openalex.org/A2", "display_name": "Bo Sample"}},
        ],
        "abstract_inverted_index": {"We": [0], "mix": [1, 4], "data": [2], "and": [3], "again.": [5]},
        "best_oa_location": {
            "landing_page_url": "https://example.org/mix",
            "license": "cc-by",
            "is_oa": True,
        },
        "cited_by_count": 12,
    }
    return work | changes


def openalex(*works: dict) -> str:
    return json.dumps({"meta": {"count": len(works), "page": 1, "per_page": 25}, "results": list(works)})


def scholar_paper(**changes: object) -> dict:
    paper = {
        "paperId": "649def34f8be52c8b66281af98ae884c09aef38b",
        "externalIds": {"DOI": "10.1000/MIX.1", "ArXiv": "2403.00001", "CorpusId": 1},
        "url": "https://www.semanticscholar.org/paper/649def34f8be52c8b66281af98ae884c09aef38b",
        "title": "Mixing data for small models",
        "abstract": None,
        "tldr": {"model": "tldr@v2.0.0", "text": "Mixing helps small models."},
        "year": 2024,
        "authors": [{"authorId": "1", "name": "Ada Example"}],
        "openAccessPdf": {"url": "https://example.org/mix.pdf", "status": "GREEN", "license": "CCBY"},
        "citationCount": 11,
    }
    return paper | changes


def scholar(*papers: dict) -> str:
    return json.dumps({"total": len(papers), "offset": 0, "data": list(papers)})


def hub_data_set(identity: str, **changes: object) -> dict:
    row = {
        "_id": "1",
        "id": identity,
        "author": identity.partition("/")[0],
        "cardData": {"license": "cc-by-4.0", "pretty_name": "Tickets, Sorted"},
        "createdAt": "2023-02-03T04:05:06.000Z",
        "description": "Support tickets\n\n\twith the queue that answered.",
        "downloads": 321,
        "gated": False,
        "private": False,
        "sha": "c0ffee" * 6 + "abcd",
        "siblings": [{"rfilename": "README.md"}, {"rfilename": "data/train-00000-of-00001.parquet"}],
        "tags": ["license:cc-by-4.0", "language:en"],
        "usedStorage": 5_000_000,
        "mainSize": 4_000_000,
    }
    return row | changes


def hub_model(identity: str, **changes: object) -> dict:
    row = hub_data_set(identity) | {
        "cardData": {"license": ["apache-2.0"]},
        "pipeline_tag": "text-generation",
        "safetensors": {"parameters": {"BF16": 1_720_574_976}, "total": 1_720_574_976},
    }
    del row["description"], row["mainSize"]
    return row | changes
