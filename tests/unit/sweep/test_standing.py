"""How an element stands: from its files, then from Slurm, never from silence."""

from __future__ import annotations

import os

import pytest

from hpc_trex.slurm.parsing import Row
from hpc_trex.sweep.folder import read_config
from hpc_trex.sweep.records import ArrayRecord, Element, ElementResult, ElementState
from hpc_trex.sweep.standing import Queue, Traces, counts, judge, latest_arrays, standings

ELEMENT = Element(number=5, task=0, model=0, researcher="random", policy="uct", seed=0)
ARRAY = ArrayRecord(number=2, token="s-a2", elements=(4, 5), job_id="41")
UNRECORDED = ARRAY.model_copy(update={"job_id": None})
NOTHING = Traces(None, "", cancelled=False, held_by="")
QUIET = Queue({}, answered=True)
SILENT = Queue({}, answered=False, trouble="connect failure")


def row(state: str, detail: str = "") -> Queue:
    return Queue({("s-a2", 1): Row("41_1", state, "s-a2", detail, "node7")}, answered=True)


def left(state: str, token: str = "s-a2") -> Traces:
    return NOTHING._replace(result=ElementResult(number=5, token=token, state=state, message="why"))


@pytest.mark.parametrize(
    ("record", "queue", "traces", "wanted"),
    [
        (None, QUIET, NOTHING, ElementState.MISSING),
        (None, SILENT, NOTHING, ElementState.MISSING),  # nobody was ever asked to run it
        (ARRAY, row("PENDING", "Priority"), NOTHING, ElementState.QUEUED),
        (ARRAY, row("RUNNING"), NOTHING, ElementState.RUNNING),
        (ARRAY, row("COMPLETING"), left("failed"), ElementState.RUNNING),
        (ARRAY, row("COMPLETED"), left("done"), ElementState.DONE),
        (ARRAY, SILENT, left("done", "s-a1"), ElementState.DONE),
        (ARRAY, row("RUNNING"), left("failed", "s-a1"), ElementState.RUNNING),
        (ARRAY, row("FAILED"), left("failed"), ElementState.FAILED),
        (ARRAY, QUIET, left("stopped"), ElementState.STOPPED),
        (ARRAY, row("TIMEOUT"), NOTHING, ElementState.LOST),
        (ARRAY, QUIET, left("stopped", "s-a1"), ElementState.LOST),  # the word of an earlier job
        (ARRAY, SILENT, NOTHING, ElementState.UNKNOWN),
        (ARRAY, SILENT, left("failed"), ElementState.FAILED),
        (UNRECORDED, QUIET, NOTHING, ElementState.UNKNOWN),
        (UNRECORDED, row("RUNNING"), NOTHING, ElementState.RUNNING),
        (ARRAY, QUIET, NOTHING._replace(cancelled=True), ElementState.CANCELLED),
        (ARRAY, row("RUNNING"), NOTHING._replace(cancelled=True), ElementState.RUNNING),
        (ARRAY, QUIET, NOTHING._replace(held_by="pid 1 on b"), ElementState.RUNNING),
        (ARRAY, QUIET, NOTHING._replace(held_by="pid 1 on b", cancelled=True), ElementState.RUNNING),
        (ARRAY, QUIET, left("cancelled"), ElementState.CANCELLED),
    ],
)
def test_state(record, queue, traces, wanted):
    assert judge(ELEMENT, record, queue, traces, slurm=True).state is wanted


def test_the_reason_of_a_wait_and_the_place_of_a_run_are_told():
    waits = judge(ELEMENT, ARRAY, row("PENDING", "JobArrayTaskLimit"), NOTHING, slurm=True)
    assert (waits.reason, waits.job_id) == ("JobArrayTaskLimit", "41_1")
    assert judge(ELEMENT, ARRAY, row("RUNNING"), NOTHING, slurm=True).host == "node7"
    assert "TIMEOUT" in judge(ELEMENT, ARRAY, row("TIMEOUT"), NOTHING, slurm=True).reason


def test_a_void_array_never_counts():
    void = ArrayRecord(number=3, token="s-a3", elements=(5,), void=True)
    assert latest_arrays([ARRAY, void]) == {4: ARRAY, 5: ARRAY}


def test_one_question_for_all_elements_and_none_before_the_first_array(make, slurm):
    paths = make(scheduler="slurm", seeds=tuple(range(6)))
    config = read_config(paths)
    assert counts(standings(paths, config, ask=slurm)) == {"missing": 6}
    assert slurm.asked == []
    from hpc_trex.files import write_record

    for number in (1, 2):
        token = f"{config.uid}-a{number}"
        elements = (0, 1, 2) if number == 1 else (3, 4, 5)
        paths.array(number).root.mkdir(parents=True)
        record = ArrayRecord(number=number, token=token, elements=elements, job_id=str(40 + number))
        write_record(paths.array(number).record, record)
        slurm.jobs += [f"{40 + number}_{index}|PENDING|Priority||{token}" for index in range(3)]
    assert counts(standings(paths, config, ask=slurm)) == {"queued": 6}
    assert len(slurm.asked) == 1


def test_another_sweeps_array_of_the_same_name_start_is_not_ours(make, slurm):
    paths = make(scheduler="slurm")
    config = read_config(paths)
    from hpc_trex.files import write_record

    paths.array(1).root.mkdir(parents=True)
    write_record(paths.array(1).record, ArrayRecord(number=1, token=f"{config.uid}-a1", elements=(0,), job_id="41"))
    slurm.jobs = [f"99_0|RUNNING|None|n1|{config.uid}-a10", "98_0|RUNNING|None|n1|other-a1"]
    assert counts(standings(paths, config, ask=slurm)) == {"lost": 1}


def test_an_element_whose_search_is_held_by_a_process_that_slurm_forgot_counts_as_running(make):
    from hpc_trex.layout import SearchPaths
    from hpc_trex.sweep.element import make_element_search
    from hpc_trex.tree.lease import Lease

    paths = make()
    config = read_config(paths)
    search = make_element_search(paths, config, config.elements()[0])
    with Lease(SearchPaths(search.root)):
        (one,) = standings(paths, config)
    assert one.state is ElementState.RUNNING
    assert f"pid {os.getpid()}" in one.reason
    assert standings(paths, config)[0].state is ElementState.MISSING
