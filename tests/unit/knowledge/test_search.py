"""A search goes into the base when it ends, and the next one starts from it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from hpc_trex.agents.prior import prior_lessons, prior_lines
from hpc_trex.controller.context import Work
from hpc_trex.errors import EnvironmentProblem
from hpc_trex.knowledge.base import read_base, remember
from hpc_trex.layout import SearchPaths
from hpc_trex.models import SearchState, TaskCard
from hpc_trex.tree.context import StoreView
from hpc_trex.tree.known import starting_knowledge
from hpc_trex.tree.lease import Lease
from hpc_trex.tree.store import Store
from tests.unit.controller.conftest import drive
from tests.unit.controller.simulation import Killed
from tests.unit.knowledge.making import finding, remembered


def state(paths: SearchPaths) -> SearchState:
    with Store.read(paths) as reader:
        return reader.state()[0]


def designs(paths: SearchPaths) -> list[str]:
    with Store.read(paths) as reader:
        return [node.plan.model_dump_json() for node in reader.nodes() if node.plan is not None]


def triage(uid: str, *findings: object, **more: object):
    """A search of the built-in task, as it would have gone in."""
    same = {"task": "mini-triage", "model": "builtin:tiny-qwen3", "size": "under 0.1B"}
    return remembered(uid, *findings, **same | more)


def test_a_search_that_ends_well_goes_into_the_base_with_what_it_found(search, cluster, base):
    paths = search(knowledge=True)
    drive(paths, cluster).close()
    (one,) = read_base(base)
    with Store.read(paths) as reader:
        status, config, noise = reader.status(), reader.config, reader.noise()
    assert (one.uid, one.name, one.directory) == (config.uid, config.name, str(paths.root))
    assert (one.task, one.metric, one.tags) == ("mini-triage", "accuracy", ("domain", "classification"))
    assert (one.model, one.size, one.profile) == ("builtin:tiny-qwen3", "under 0.1B", "local")
    assert (one.researcher, one.policy) == ("playbook", "uct")
    assert (one.best, one.baseline, one.noise) == (status.chosen.dev, status.baseline.dev, noise[0])
    assert one.test_gain == pytest.approx(0.3)
    measured = [found for found in one.findings if found.verdict != "told"]
    assert measured
    for found in measured:
        assert found.pairs + found.failed > 0
        assert set(found.nodes) <= set(range(1, 5))
        assert found.effect is None or found.effect * found.in_noise >= 0


def test_the_next_search_starts_from_it_and_tells_it_to_a_researcher(search, cluster, base, trex):
    drive(search(knowledge=True), cluster).close()
    paths = search(knowledge=True)
    known = starting_knowledge(paths)
    assert known.base == str(base)
    assert known.lessons
    lines = prior_lessons(paths)
    assert lines
    assert all("mini-triage with builtin:tiny-qwen3" in line for line in lines)
    with Store.read(paths) as reader:
        assert prior_lines(StoreView(reader, TaskCard.model_validate_json(paths.card.read_bytes()), {})) == lines
    shown = trex("insights", paths.root.name)
    assert f"started from {len(known.lessons)} lesson(s) of {base}" in shown.stdout
    assert lines[0] in shown.stdout


def test_a_search_that_is_told_not_to_neither_reads_the_base_nor_goes_into_it(search, cluster, base):
    remember(base, [triage("old", finding())])
    paths = search(knowledge=False)
    drive(paths, cluster).close()
    assert not paths.knowledge.exists()
    assert prior_lessons(paths) == []
    assert [one.uid for one in read_base(base)] == ["old"]


def test_where_the_base_is_off_a_search_has_nothing_to_do_with_one(search, cluster, monkeypatch):
    monkeypatch.setenv("HPC_TREX_KNOWLEDGE", "off")
    assert not search(knowledge=True).knowledge.exists()


def test_a_locked_base_never_stops_a_search_which_says_how_to_add_it_later(search, cluster, base, trex, monkeypatch):
    monkeypatch.setattr("hpc_trex.knowledge.base.WAIT_SECONDS", 0.1)
    paths = search(knowledge=True)
    base.parent.mkdir()
    with Lease(base.with_name(f"{base.name}.lease")), drive(paths, cluster) as controller:
        said = "\n".join(controller.work.lines)
    assert state(paths) is SearchState.DONE
    assert "is locked by another writer" in said
    assert f"later: hpc-trex insights --import {paths.root}" in said
    assert trex("insights", "--import", paths.root).exit_code == 0
    assert [one.directory for one in read_base(base)] == [str(paths.root)]


def test_a_controller_that_dies_between_the_base_and_the_end_of_the_search_is_remembered_once(
    search, cluster, base, monkeypatch
):
    paths = search(knowledge=True)

    with monkeypatch.context() as patch:
        patch.setattr(Work, "change_state", dying())
        with pytest.raises(Killed):
            drive(paths, cluster)
    assert state(paths) is SearchState.FINISHING
    assert len(read_base(base)) == 1
    paths.lease.unlink()  # its process would be gone
    drive(paths, cluster).close()
    assert state(paths) is SearchState.DONE
    assert len(read_base(base)) == 1


def dying():
    """``change_state`` of a controller that dies before the search is done."""
    real = Work.change_state

    def change_state(self: Work, wanted: SearchState, message: str = "") -> None:
        if wanted is SearchState.DONE:
            raise Killed
        real(self, wanted, message)

    return change_state


def test_the_same_search_with_the_same_knowledge_proposes_the_same_whatever_the_base_has_become(search, cluster, base):
    lessons = [finding("lr-down", effect=0.4), finding("rank-up", "loss", effect=-0.4), finding("clean", effect=0.2)]
    remember(base, [triage(uid, *lessons) for uid in "abc"])
    paths = search(knowledge=True, max_nodes=8)
    copy = Path(shutil.copytree(paths.root, paths.root.with_name("copy")))
    drive(paths, cluster).close()
    first = designs(paths)
    assert len(first) == 8
    shutil.rmtree(paths.root)
    copy.rename(paths.root)  # the same folder: the simulated scores hang on it
    cluster.starts.clear()
    remember(base, [triage("new", *[one.model_copy(update={"share": -1.0}) for one in lessons])])
    drive(paths, cluster).close()
    assert designs(paths) == first


def test_a_damaged_knowledge_file_stops_the_search_before_it_would_propose_something_else(search, cluster, base):
    paths = search(knowledge=True)
    paths.knowledge.write_text(json.dumps({"base": str(base)}))
    with pytest.raises(EnvironmentProblem, match=r"knowledge\.json is damaged"):
        drive(paths, cluster)
