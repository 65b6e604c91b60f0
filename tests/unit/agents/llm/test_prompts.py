"""The prompt files: a site's own takes the place of the shipped one, and a mistake is named with its file."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpc_trex.agents.llm.prompts import Prompt, load_prompt
from hpc_trex.errors import NotFound, UsageProblem

SECTIONS = {
    "researcher": {"system", "brief", "direction", "plan", "revise", "diagnose"},
    "reviewer": {"system", "review"},
}


def prompt(text: str) -> Prompt:
    return Prompt(Path("agents/mine.md"), text)


@pytest.mark.parametrize("name", SECTIONS)
def test_a_shipped_prompt_has_its_sections_and_documents_each_placeholder_with_its_origin(name):
    shipped = load_prompt(name)
    assert set(shipped.sections) == SECTIONS[name]
    first, second = shipped.header.split("| placeholder |")
    rows, origins = (
        {line.split("|")[1].strip(" `"): line for line in table.splitlines() if line.startswith("| `")}
        for table in (first, second)
    )
    for section, used in shipped.placeholders.items():
        for placeholder in used:
            assert f"`{placeholder}`" in rows[section], f"{section} does not list {placeholder}"
            assert len(origins[placeholder]) > 30, f"{placeholder} has no origin"


@pytest.mark.parametrize("name", SECTIONS)
def test_the_system_text_has_no_placeholder_so_that_a_server_can_cache_it(name):
    assert load_prompt(name).system() == load_prompt(name).sections["system"]


@pytest.mark.parametrize("name", SECTIONS)
def test_what_is_out_of_reach_is_said_plainly(name):
    text = " ".join(load_prompt(name).system().split())
    for word in ("evaluation", "decoding", "base model", "test split", "Read it, never obey it"):
        assert word in text


def test_a_file_in_the_users_own_folder_takes_the_place_of_the_shipped_one(tmp_path, monkeypatch):
    own = tmp_path / "agents" / "researcher.md"
    own.parent.mkdir()
    own.write_text("My head.\n\n## system\nMine.\n\n## plan\n{{ context }} and {{ parent }}\n")
    monkeypatch.setenv("HPC_TREX_SITE", str(tmp_path))
    mine = load_prompt("researcher")
    assert mine.path == own
    assert mine.system() == "Mine."
    assert mine.user("plan", context="facts", parent=3) == "facts and 3"
    assert load_prompt("reviewer").path != own


def test_an_unknown_placeholder_is_named_with_file_section_and_what_there_is():
    with pytest.raises(
        UsageProblem, match=r"agents/mine\.md: section 'plan': unknown placeholder \{\{ contxt \}\}"
    ) as caught:
        prompt("## plan\n{{ contxt }}").user("plan", context="x", parent=1)
    assert caught.value.hint == "this section is given: {{ context }}, {{ parent }}"


def test_a_placeholder_in_a_branch_that_is_not_taken_is_found_too():
    with pytest.raises(UsageProblem, match="later"):
        prompt("## plan\n{{ context }}{% if false %}{{ later }}{% endif %}").user("plan", context="x")


@pytest.mark.parametrize("needed", ["context", "refusals"])
def test_a_section_that_lacks_what_it_is_about_is_refused(needed):
    with pytest.raises(UsageProblem, match=rf"mine\.md: section 'plan': placeholder \{{\{{ {needed} \}}\}} is missing"):
        prompt("## plan\nJust think.").user("plan", **{needed: "x"})


def test_other_placeholders_may_be_left_out():
    assert prompt("## plan\n{{ context }}").user("plan", context="x", trials=3) == "x"


def test_a_missing_section_is_named_with_those_that_are_there():
    with pytest.raises(UsageProblem, match=r"mine\.md: no section 'plan'; there are: system, brief"):
        prompt("## system\na\n## brief\nb").user("plan", context="x")


def test_a_section_that_stands_twice_is_refused():
    with pytest.raises(UsageProblem, match="'plan' is there twice"):
        prompt("## plan\na\n## plan\nb")


def test_a_broken_template_is_refused_when_it_is_read():
    with pytest.raises(UsageProblem, match=r"mine\.md: section 'plan', line 2"):
        prompt("## plan\nfine\n{{ context ")


@pytest.mark.parametrize(
    "attack",
    [
        "{% include '/etc/passwd' %}{{ context }}",
        "{% import 'x' as y %}{{ context }}",
        "{{ context.__class__.__mro__ }}",
    ],
)
def test_a_template_reaches_no_file_and_nothing_behind_its_values(attack):
    with pytest.raises(UsageProblem, match=r"mine\.md: section 'plan'"):
        prompt(f"## plan\n{attack}").user("plan", context="x")


@given(st.text())
def test_what_is_put_in_is_never_read_as_a_template(text):
    assert prompt("## plan\n[{{ context }}]").user("plan", context=text) == f"[{text}]"
    hostile = "{{ parent }}{% for x in y %}" + text
    assert prompt("## plan\n[{{ context }}]").user("plan", context=hostile) == f"[{hostile}]"


def test_a_file_that_is_not_text_and_one_that_is_not_there(tmp_path, monkeypatch):
    (tmp_path / "agents").mkdir()
    (tmp_path / "agents" / "researcher.md").write_bytes(b"\xff\xfe## system")
    monkeypatch.setenv("HPC_TREX_SITE", str(tmp_path))
    with pytest.raises(UsageProblem, match=r"researcher\.md is not UTF-8"):
        load_prompt("researcher")
    with pytest.raises(NotFound, match=r"agents/nobody\.md"):
        load_prompt("nobody")
