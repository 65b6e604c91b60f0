"""What the searches of a sweep start from: frozen at its launch, the same for all seeds, none of it without insights."""

from __future__ import annotations

import pytest

from hpc_trex.knowledge.base import remember
from hpc_trex.sweep.element import make_element_search
from hpc_trex.sweep.folder import read_config
from hpc_trex.sweep.plan import plan_sweep
from hpc_trex.sweep.records import SweepRequest
from hpc_trex.tree.known import starting_knowledge
from tests.unit.knowledge.making import finding, remembered

#: An earlier search of the same task and model, so that it fits.
ALIKE = {"task": "mini-triage", "model": "builtin:tiny-qwen3", "size": "under 0.1B"}


@pytest.fixture
def base(tmp_path, monkeypatch):
    path = tmp_path / "base" / "knowledge.db"
    monkeypatch.setenv("HPC_TREX_KNOWLEDGE", str(path))
    remember(path, [remembered("before", finding(), **ALIKE)])
    return path


def starts(paths, number: int):
    config = read_config(paths)
    return starting_knowledge(make_element_search(paths, config, config.elements()[number]))


def test_all_elements_start_from_what_the_base_had_at_the_launch(make, base):
    paths = make(seeds=(0, 1), knowledge=True)
    first = starts(paths, 0)
    remember(base, [remembered("meanwhile", finding("epochs-up"), **ALIKE)])
    assert first is not None
    assert first.base == str(base)
    assert first.lessons
    assert starts(paths, 1) == first
    assert read_config(paths).knowledge == str(base)


def test_without_insights_a_search_starts_from_nothing(make, base):
    paths = make(researchers=("playbook",), without=("nothing", "insights"), knowledge=True)
    assert starts(paths, 0) is not None
    assert starts(paths, 1) is None


def test_a_sweep_that_is_not_told_to_has_nothing_to_do_with_the_base(make, base):
    paths = make()
    assert starts(paths, 0) is None
    assert read_config(paths).knowledge == ""


def test_the_plan_says_what_is_known_or_why_nothing_is(make, base, monkeypatch):
    def lines(**given: object) -> list[str]:
        request = SweepRequest.model_validate({"knowledge": True} | given)
        return list(plan_sweep(request).more)

    assert lines() == [
        f"knowledge  1 lesson(s) for mini-triage, builtin:tiny-qwen3; from {base}, and into it in the end"
    ]
    assert lines(baseline_only=True) == []
    assert lines(knowledge=False) == []
    base.write_bytes(b"no database" * 100)
    assert "is damaged" in lines()[0]
    monkeypatch.setenv("HPC_TREX_KNOWLEDGE", "off")
    assert lines() == ["knowledge  none: it is switched off (HPC_TREX_KNOWLEDGE)"]
