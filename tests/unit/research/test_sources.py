"""Each service's answer becomes findings, and each way of failing becomes a note."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from hpc_trex.errors import NotFound
from hpc_trex.models import Source, TaskCard
from hpc_trex.research.arxiv import Arxiv
from hpc_trex.research.http import Web
from hpc_trex.research.hub import Hub, own_data_sets
from hpc_trex.research.openalex import OpenAlex
from hpc_trex.research.protocol import Tool
from hpc_trex.research.semantic_scholar import SemanticScholar
from hpc_trex.research.sources import SOURCES, make_tools
from tests.unit.research import shapes
from tests.unit.research.service import Say, Service

Make = Callable[..., Web]

TOOLS: dict[str, Callable[[Web, str], Tool]] = {
    "arxiv": Arxiv,
    "openalex": OpenAlex,
    "semantic-scholar": SemanticScholar,
    "datasets": lambda web, url: Hub(web, "datasets", url=url),
    "models": lambda web, url: Hub(web, "models", url=url),
}
GOOD = {
    "arxiv": shapes.arxiv_feed(("2403.00001", "Mixing Data for\n  Small Models", "We mix &lt;b&gt;data&lt;/b&gt;.")),
    "openalex": shapes.openalex(shapes.openalex_work()),
    "semantic-scholar": shapes.scholar(shapes.scholar_paper()),
    "datasets": "[" + shapes.json.dumps(shapes.hub_data_set("acme/tickets")) + "]",
    "models": "[" + shapes.json.dumps(shapes.hub_model("acme/tiny-1.7B")) + "]",
}
NONE = {
    "arxiv": shapes.arxiv_feed(),
    "openalex": shapes.openalex(),
    "semantic-scholar": '{"total": 0, "offset": 0}',
    "datasets": "[]",
    "models": "[]",
}
every_tool = pytest.mark.parametrize("name", sorted(TOOLS))


@every_tool
def test_a_good_answer_is_one_finding_without_a_note(web: Make, service: Service, name: str):
    service.says(GOOD[name])
    tool = TOOLS[name](web(), service.url)
    result = tool.search("mixing data", limit=3)
    assert tool.name == name
    assert result.note == ""
    assert result.asked
    (found,) = result.findings
    assert found.source == name
    assert found.year in (2023, 2024)
    assert found.url.startswith("http")


@every_tool
def test_nothing_found_is_no_failure(web: Make, service: Service, name: str):
    service.says(NONE[name])
    assert TOOLS[name](web(), service.url).search("mixing data", limit=3) == ((), "", True)


@every_tool
@pytest.mark.parametrize(
    ("say", "words"),
    [
        (Say(status=429, headers={"Retry-After": "600"}), "rate-limited"),
        (Say(status=500), "answers with status 500"),
        (Say(how="silent"), "no whole answer in time"),
        (Say(how="endless"), "larger than"),
        (Say("<html>Welcome to our network</html>"), "not what the service documents"),
        (Say('{"results": "none", "data": 5}'), "not what the service documents"),
        (Say("null"), "not what the service documents"),
        (Say("\x00\ufffd{[<"), "not what the service documents"),
    ],
)
def test_every_failure_is_a_note_and_never_raised(web: Make, service: Service, name: str, say: Say, words: str):
    service.says(say)
    result = TOOLS[name](web(deadline_seconds=0.8), service.url).search("mixing data", limit=3)
    assert result.findings == ()
    assert words in result.note
    assert not result.asked


@every_tool
@pytest.mark.parametrize(
    "query", ["", "  ", "\x00\u202e", '") OR (', "C++ AND NOT x:y", "\udcff", "微调 数据", "a" * 5000]
)
def test_no_query_is_syntax_or_breaks_anything(web: Make, service: Service, name: str, query: str):
    service.says(NONE[name])
    result = TOOLS[name](web(), service.url).search(query, limit=3)
    assert result.findings == ()
    assert result.note in ("", "the query has no word")
    assert all(len(one.path) < 8000 for one in service.asked)


@every_tool
def test_more_than_was_asked_for_is_cut(web: Make, service: Service, name: str):
    many = {
        "arxiv": shapes.arxiv_feed(*((f"2403.{n:05d}", f"Title {n}", "s") for n in range(9))),
        "openalex": shapes.openalex(*(shapes.openalex_work(id=f"https://openalex.org/W{n}") for n in range(9))),
        "semantic-scholar": shapes.scholar(*(shapes.scholar_paper(paperId=str(n)) for n in range(9))),
        "datasets": shapes.json.dumps([shapes.hub_data_set(f"acme/set{n}") for n in range(9)]),
        "models": shapes.json.dumps([shapes.hub_model(f"acme/model{n}") for n in range(9)]),
    }
    service.says(many[name])
    assert len(TOOLS[name](web(), service.url).search("mixing", limit=2).findings) == 2


def test_arxiv_is_asked_for_every_word_and_tells_the_paper(web: Make, service: Service):
    service.says(GOOD["arxiv"])
    (found,) = Arxiv(web(), service.url).search('mixing "small models" OR', limit=3).findings
    query = service.asked[0].query
    assert query["search_query"] == ['all:"mixing" AND all:"small" AND all:"models" AND all:"OR"']
    assert query["max_results"] == ["3"]
    assert (found.id, found.title, found.authors) == (
        "2403.00001",
        "Mixing Data for Small Models",
        ("Ada Example", "Bo Sample"),
    )
    assert found.summary == "We mix <b>data</b>."
    assert found.url == "https://arxiv.org/abs/2403.00001"
    assert found.extra == {"arxiv": "2403.00001", "doi": "10.1000/mix.1"}
    assert found.licence == "unknown", "the licence of the metadata is not the paper's"


def test_arxiv_reads_old_ids(web: Make, service: Service):
    service.says(shapes.arxiv_feed(("cs.CL/0102003", "An Old Paper", "s")))
    (found,) = Arxiv(web(), service.url).search("old", limit=3).findings
    assert found.id == "cs.CL/0102003"


BOMB = (
    '<!DOCTYPE feed [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;"><!ENTITY c "&b;&b;&b;&b;&b;&b;&b;&b;">'
    '<!ENTITY f SYSTEM "file:///etc/passwd">]>'
)


@pytest.mark.parametrize(
    "feed",
    [
        BOMB + shapes.arxiv_feed(("2403.00001", "&c;&f;", "s")).split("?>", 1)[1],
        BOMB + shapes.arxiv_feed(("2403.00001", "&b;", "s")).split("?>", 1)[1],
        shapes.ARXIV_ERROR,
        "<feed>" + "<a>" * 100_000,
        shapes.arxiv_feed(("2403.00001", "cut", "s"))[:-10],
        "<rss/>",
    ],
    ids=["outer entities", "entities", "error feed", "deep", "cut", "other"],
)
def test_arxiv_takes_no_entities_and_no_other_xml(web: Make, service: Service, feed: str):
    service.says(feed)
    result = Arxiv(web(most_bytes=2_000_000), service.url).search("mixing", limit=3)
    assert result.findings == ()
    assert "not what the service documents" in result.note


def test_openalex_puts_the_abstract_back_in_order(web: Make, service: Service):
    service.says(GOOD["openalex"])
    (found,) = OpenAlex(web(), service.url).search("mixing", limit=3).findings
    assert service.asked[0].path.startswith("/works?")
    assert found.summary == "We mix data and mix again."
    assert found.authors == ("Ada Example", "Bo Sample")
    assert (found.licence, found.url) == ("cc-by", "https://example.org/mix")
    assert found.extra == {"citations": 12, "doi": "10.1000/mix.1"}


@pytest.mark.parametrize("index", [None, [], {"word": "x"}, {"word": [10**9, -1, True, "a"]}, {"w" * 10**5: [0]}])
def test_openalex_survives_any_abstract(web: Make, service: Service, index: object):
    service.says(shapes.openalex(shapes.openalex_work(abstract_inverted_index=index)))
    (found,) = OpenAlex(web(), service.url).search("mixing", limit=3).findings
    assert len(found.summary) <= 1200


def test_openalex_takes_its_key_from_the_environment_and_says_where_one_helps(
    web: Make, service: Service, monkeypatch: pytest.MonkeyPatch
):
    service.says(Say(status=403))
    assert "OPENALEX_API_KEY" in OpenAlex(web(), service.url).search("mixing", limit=3).note
    monkeypatch.setenv("OPENALEX_API_KEY", "s3cr3t")
    note = OpenAlex(web(), service.url).search("mixing", limit=3).note
    assert service.asked[-1].query["api_key"] == ["s3cr3t"]
    assert "OPENALEX_API_KEY" not in note
    assert "s3cr3t" not in note


def test_semantic_scholar_takes_the_short_summary_where_there_is_no_abstract(
    web: Make, service: Service, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("SEMANTIC_SCHOLAR_API_KEY", "s3cr3t")
    service.says(GOOD["semantic-scholar"])
    (found,) = SemanticScholar(web(), service.url).search("mixing", limit=3).findings
    assert service.asked[0].path.startswith("/paper/search?")
    assert service.asked[0].headers["x-api-key"] == "s3cr3t"
    assert found.summary == "Mixing helps small models."
    assert found.extra == {"citations": 11, "doi": "10.1000/MIX.1", "arxiv": "2403.00001"}
    assert found.licence == "CCBY"


def test_a_data_set_comes_with_what_decides_whether_it_may_be_used(web: Make, service: Service):
    service.says([shapes.hub_data_set("acme/tickets")])
    (found,) = Hub(web(), "datasets", url=service.url).search("tickets", limit=3).findings
    assert service.asked[0].path.startswith("/api/datasets?search=tickets&")
    assert {"sha", "gated", "siblings", "cardData"} <= set(service.asked[0].query["expand"])
    assert (found.id, found.title, found.licence, found.kind) == (
        "acme/tickets",
        "Tickets, Sorted",
        "cc-by-4.0",
        "dataset",
    )
    assert found.summary == "Support tickets with the queue that answered."
    assert found.url == f"{service.url}/datasets/acme/tickets"
    assert found.extra == {
        "gated": False,
        "size": 4_000_000,
        "commit": "c0ffee" * 6 + "abcd",
        "loading_script": False,
        "downloads": 321,
    }


@pytest.mark.parametrize(
    ("changes", "fact", "value"),
    [
        ({"gated": "manual"}, "gated", True),
        ({"gated": None}, "gated", None),
        ({"sha": "main"}, "commit", None),
        ({"mainSize": None}, "size", 5_000_000),
        ({"siblings": [{"rfilename": "tickets.py"}]}, "loading_script", True),
        ({"siblings": [{"rfilename": "scripts/tickets.py"}]}, "loading_script", False),
        ({"siblings": None}, "loading_script", None),
        ({"tags": ["custom_code"]}, "loading_script", True),
    ],
)
def test_facts_of_a_data_set_are_read_as_the_hub_tells_them(
    web: Make, service: Service, changes: dict, fact: str, value: object
):
    service.says([shapes.hub_data_set("acme/tickets", **changes)])
    (found,) = Hub(web(), "datasets", url=service.url).search("tickets", limit=3).findings
    assert found.extra[fact] == value


@pytest.mark.parametrize(
    ("changes", "licence"),
    [
        ({"cardData": {}}, "cc-by-4.0"),
        ({"cardData": {"license": ["mit", "other"]}}, "mit, other"),
        ({"cardData": None, "tags": []}, "unknown"),
        ({"cardData": {"license": {"name": "x" * 900}}, "tags": None}, "unknown"),
    ],
)
def test_a_licence_is_found_on_the_card_or_in_the_tags(web: Make, service: Service, changes: dict, licence: str):
    service.says([shapes.hub_data_set("acme/tickets", **changes)])
    (found,) = Hub(web(), "datasets", url=service.url).search("tickets", limit=3).findings
    assert found.licence == licence


def test_a_model_tells_its_parameters_and_its_own_code(web: Make, service: Service):
    service.says([shapes.hub_model("acme/tiny-1.7B", tags=["custom_code"])])
    (found,) = Hub(web(), "models", url=service.url).search("tiny", limit=3).findings
    assert (found.kind, found.licence, found.summary) == ("model", "apache-2.0", "text-generation")
    assert found.extra["parameters"] == 1_720_574_976
    assert found.extra["loading_script"] is True


def test_the_tasks_own_data_never_come_back_and_what_resembles_them_is_marked(web: Make, service: Service):
    task = TaskCard(
        name="own",
        sources={"a": Source(path="a.jsonl")},
        dev=Source(hub="acme/Ticket-Bench", revision="0" * 40, split="dev"),
        test=Source(hub="acme/Ticket-Bench", revision="0" * 40, split="test"),
    )
    assert own_data_sets(task) == {"acme/Ticket-Bench"}
    names = ["acme/ticket-bench", "mirror/ticket_bench", "other/ticketbench-augmented", "other/tickets"]
    service.says([shapes.hub_data_set(name) for name in names])
    result = Hub(web(), "datasets", blocked=own_data_sets(task), url=service.url).search("ticket", limit=9)
    assert [found.id for found in result.findings] == names[2:]
    assert result.findings[0].extra["resembles_task_data"] == "ticketbench"
    assert "resembles_task_data" not in result.findings[1].extra
    assert result.note == "left out: 2 that bear the name of the task's own data"


@pytest.mark.parametrize("identity", ["../../etc/passwd", "a/b/c", "", None, "a b/c", "https://x.example/a"])
def test_what_is_no_hub_id_is_passed_over(web: Make, service: Service, identity: object):
    service.says([shapes.hub_data_set("acme/tickets") | {"id": identity}])
    assert Hub(web(), "datasets", url=service.url).search("tickets", limit=3) == ((), "", True)


def test_the_hubs_own_offline_switch_is_obeyed(web: Make, service: Service, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    result = Hub(web(), "datasets", url=service.url).search("tickets", limit=3)
    assert result == ((), "offline: HF_HUB_OFFLINE is set", False)
    assert service.asked == []


def test_each_service_can_be_reached_at_another_address(web: Make, service: Service, monkeypatch: pytest.MonkeyPatch):
    for variable in (
        "HPC_TREX_ARXIV_URL",
        "HPC_TREX_OPENALEX_URL",
        "HPC_TREX_SEMANTIC_SCHOLAR_URL",
        "HF_ENDPOINT",
    ):
        monkeypatch.setenv(variable, service.url)
    service.says("{}")
    for name in SOURCES[1:]:
        (tool,) = make_tools(web(), [name])
        tool.search("mixing", limit=1)
    assert len(service.asked) == 5


def test_an_unknown_source_is_refused_with_the_nearest_name(web: Make):
    with pytest.raises(NotFound, match="did you mean arxiv"):
        make_tools(web(), ["arxive"])


def test_what_a_tasks_tables_are_built_of_never_comes_back_either():
    pins = {"git": {"kind": "git", "url": "https://example.org/lab/Ticket-Set.git", "revision": "0" * 40},
            "hub": {"kind": "hub", "id": "acme/rows", "revision": "0" * 40}}  # fmt: skip
    tables = {"dev": {"from": "git"}, "test": {"from": "hub"}}
    task = TaskCard.model_validate(
        {"name": "tickets", "downloads": pins, "tables": tables, "dev": {"table": "dev"}, "test": {"table": "test"}}
    )
    assert own_data_sets(task) == {"Ticket-Set", "acme/rows", "tickets"}, "copies bear one of these names"
