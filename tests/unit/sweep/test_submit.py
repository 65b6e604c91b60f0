"""Each element goes into the queue exactly once, whatever dies and whatever Slurm says."""

from __future__ import annotations

import subprocess
import time

import pytest

from hpc_trex.controller.requests import waiting
from hpc_trex.errors import BudgetReached, ClusterRefused, LeaseHeld, NotFound
from hpc_trex.files import write_record
from hpc_trex.layout import SearchPaths
from hpc_trex.slurm.commands import Answer
from hpc_trex.slurm.scheduler import SubmitRefused, SubmitUnavailable
from hpc_trex.sweep.element import make_element_search
from hpc_trex.sweep.folder import arrays, read_config
from hpc_trex.sweep.layout import SweepPaths
from hpc_trex.sweep.records import ArrayRecord, ElementResult, ElementState, RunRecord
from hpc_trex.sweep.run import cancel, go_on
from hpc_trex.sweep.standing import standings
from hpc_trex.sweep.submit import plan_arrays, reconcile, spans, submit_arrays
from hpc_trex.tree.lease import Lease

SAID: list[str] = []


def resume(paths: SweepPaths, slurm: object, **more: object) -> list[int]:
    return go_on(paths, read_config(paths), SAID.append, ask=slurm, **more)


def leave(paths: SweepPaths, number: int, token: str, state: str) -> None:
    """What an element leaves at its end."""
    paths.element(number).root.mkdir(parents=True, exist_ok=True)
    write_record(paths.element(number).result, ElementResult(number=number, token=token, state=state))


def unrecorded(paths: SweepPaths, elements: tuple[int, ...] = (0, 1)) -> str:
    """What a launch leaves that was killed between the record and the job id."""
    token = f"{read_config(paths).uid}-a1"
    paths.array(1).root.mkdir(parents=True)
    write_record(paths.array(1).record, ArrayRecord(number=1, token=token, elements=elements))
    return token


def test_arrays_are_cut_under_the_clusters_cap_and_recorded_before_and_after(make, slurm):
    paths = make(scheduler="slurm", seeds=tuple(range(6)), throttle=2)
    assert resume(paths, slurm) == [0, 1, 2, 3, 4, 5]
    first, second = arrays(paths)
    assert (first.elements, second.elements) == ((0, 1, 2, 3), (4, 5))
    assert (first.job_id, second.job_id) == ("41", "41")
    assert second.after == ("41",)
    scripts = [paths.array(number).script.read_text() for number in (1, 2)]
    assert "#SBATCH --array=0-3%2" in scripts[0]
    assert "#SBATCH --dependency=afterany:41" in scripts[1]
    assert "dependency" not in scripts[0]


def test_what_is_at_work_or_done_is_not_submitted_again(make, slurm):
    paths = make(scheduler="slurm", seeds=(0, 1, 2))
    token = f"{read_config(paths).uid}-a1"
    assert resume(paths, slurm) == [0, 1, 2]
    slurm.jobs = [f"41_1|RUNNING|None|n1|{token}"]
    leave(paths, 0, token, "done")
    leave(paths, 2, token, "failed")
    assert resume(paths, slurm) == [2]
    assert arrays(paths)[-1].elements == (2,)
    assert len(slurm.calls("sbatch")) == 2


def test_a_throttle_holds_over_what_is_at_work_already(make, slurm):
    paths = make(scheduler="slurm", seeds=(0, 1, 2), throttle=1)
    token = f"{read_config(paths).uid}-a1"
    resume(paths, slurm)
    slurm.jobs = [f"41_0|RUNNING|None|n1|{token}"]
    leave(paths, 1, token, "failed")
    slurm.sbatch = Answer(0, "42\n", "")
    assert resume(paths, slurm) == [1, 2]
    assert "--dependency=afterany:41" in paths.array(2).script.read_text()


def test_an_array_whose_id_was_never_recorded_is_found_by_its_token(make, slurm):
    paths = make(scheduler="slurm", seeds=(0, 1))
    token = unrecorded(paths)
    slurm.jobs = [f"77_[0-1]|PENDING|Priority||{token}", f"77_0|PENDING|Priority||{token}", f"77_1|RUNNING|||{token}"]
    assert resume(paths, slurm) == []
    assert arrays(paths)[0].job_id == "77"
    assert slurm.calls("sbatch") == []


def test_an_array_that_is_over_is_found_in_the_accounts(make, slurm):
    paths = make(scheduler="slurm", seeds=(0, 1))
    token = unrecorded(paths)
    slurm.accounts = [f"77_1|COMPLETED|0:0|n1|{token}"]
    reconcile(paths, SAID.append, ask=slurm, sleep=lambda _: None)
    assert arrays(paths)[0].job_id == "77"


def test_an_array_that_left_a_run_existed_whatever_slurm_remembers(make, slurm):
    paths = make(scheduler="slurm", seeds=(0, 1))
    token = unrecorded(paths)
    paths.element(1).run(token).parent.mkdir(parents=True)
    write_record(paths.element(1).run(token), RunRecord(token=token, job_id="78_1", host="n", began="2026-01-01"))
    reconcile(paths, SAID.append, ask=slurm, sleep=lambda _: None)
    assert arrays(paths)[0].job_id == "78"
    assert slurm.asked == []


def test_an_array_that_slurm_never_had_is_void_after_more_than_one_look_and_its_elements_are_submitted(make, slurm):
    paths = make(scheduler="slurm", seeds=(0, 1))
    unrecorded(paths)
    reconcile(paths, SAID.append, ask=slurm, sleep=lambda _: None)
    assert arrays(paths)[0].void
    assert len(slurm.calls("squeue")) > 2
    assert resume(paths, slurm) == [0, 1]
    assert arrays(paths)[1].number == 2


def test_an_sbatch_that_waits_still_for_slurmctld_is_waited_for(make, slurm):
    paths = make(scheduler="slurm", seeds=(0, 1))
    token = unrecorded(paths)
    script = str(paths.array(1).script)
    waiting = subprocess.Popen(["bash", "-c", "sleep 30; true", "sbatch", script])
    looks = 0

    def sleep(_: float) -> None:
        nonlocal looks
        looks += 1
        if looks == 20:
            slurm.jobs = [f"79_0|RUNNING|||{token}"]

    try:
        time.sleep(0.1)
        reconcile(paths, SAID.append, ask=slurm, sleep=sleep)
    finally:
        waiting.kill()
        waiting.wait()
    assert arrays(paths)[0].job_id == "79"


@pytest.mark.parametrize("recorded", [True, False])
def test_nothing_is_submitted_while_slurm_does_not_answer(make, slurm, recorded):
    paths = make(scheduler="slurm", seeds=(0, 1))
    if recorded:
        resume(paths, slurm)
    else:
        unrecorded(paths)
    before = len(slurm.calls("sbatch"))
    slurm.silent = True
    with pytest.raises(ClusterRefused, match="not known"):
        resume(paths, slurm)
    assert len(slurm.calls("sbatch")) == before


def test_a_refusal_for_good_leaves_a_void_record_and_says_what_to_correct(make, slurm):
    paths = make(scheduler="slurm")
    slurm.sbatch = Answer(1, "", "sbatch: error: Batch job submission failed: Invalid partition name specified")
    with pytest.raises(SubmitRefused) as caught:
        resume(paths, slurm)
    assert "partition" in caught.value.hint
    assert arrays(paths)[0].void


def test_a_limit_of_jobs_leaves_the_array_to_be_looked_up_and_what_came_before_stays(make, slurm):
    paths = make(scheduler="slurm", seeds=tuple(range(5)))
    answers = iter([Answer(0, "41\n", ""), Answer(1, "", "sbatch: error: QOSMaxSubmitJobPerUserLimit\nsbatch: error: Batch job submission failed: Job violates accounting/QOS policy")])  # fmt: skip

    def limited(command):
        return next(answers) if command[0] == "sbatch" else slurm(command)

    with pytest.raises(SubmitUnavailable):
        resume(paths, limited)
    first, second = arrays(paths)
    assert first.job_id == "41"
    assert (second.job_id, second.void) == (None, False)


@pytest.mark.parametrize("said", ["Welcome to the cluster\n", "12\n13\n", "job 7 submitted"])
def test_an_answer_without_one_clear_job_id_is_looked_up_by_the_token(make, slurm, said):
    paths = make(scheduler="slurm")
    slurm.sbatch = Answer(0, said, "")
    with pytest.raises(SubmitUnavailable, match="no job id"):
        resume(paths, slurm)
    assert arrays(paths)[0].job_id is None


def test_two_at_once_are_refused(make, slurm):
    paths = make(scheduler="slurm")
    with Lease(SearchPaths(paths.root)), pytest.raises(LeaseHeld):
        resume(paths, slurm)
    assert slurm.calls("sbatch") == []


def test_a_cancelled_element_is_passed_over_unless_it_is_named(make, slurm):
    paths = make(scheduler="slurm", seeds=(0, 1, 2))
    token = f"{read_config(paths).uid}-a1"
    resume(paths, slurm)
    slurm.jobs = [f"41_{index}|RUNNING|None|n1|{token}" for index in range(3)]
    assert cancel(paths, read_config(paths), SAID.append, only=[1], ask=slurm) == [1]
    assert slurm.calls("scancel") == [("scancel", "41_1")]
    slurm.jobs = []
    assert resume(paths, slurm) == [0, 2]
    assert resume(paths, slurm, only=[1]) == [1]
    assert not paths.element(1).cancelled.exists()


def test_a_cancel_that_slurm_does_not_hear_stands_all_the_same_and_says_so(make, slurm):
    paths = make(scheduler="slurm", seeds=(0, 1))
    resume(paths, slurm)
    slurm.silent = True
    with pytest.raises(ClusterRefused, match="may run on"):
        cancel(paths, read_config(paths), SAID.append, ask=slurm)
    slurm.silent = False
    assert resume(paths, slurm) == []


def test_an_array_of_another_cluster_is_neither_lost_nor_void_nor_submitted_again_here(make, slurm):
    paths = make(scheduler="slurm", seeds=(0, 1))
    slurm.name = "alpha"
    resume(paths, slurm)
    assert arrays(paths)[0].cluster == "alpha"
    slurm.name = "beta"
    config = read_config(paths)
    found = standings(paths, config, ask=slurm)
    assert {(one.state, one.stuck) for one in found} == {(ElementState.UNKNOWN, True)}
    assert found[0].reason == "submitted to cluster alpha; this is beta"
    for call in (lambda: resume(paths, slurm), lambda: cancel(paths, config, SAID.append, only=[1], ask=slurm)):
        with pytest.raises(ClusterRefused, match="cluster alpha; this is beta"):
            call()
    write_record(paths.array(1).record, arrays(paths)[0].model_copy(update={"job_id": None}))
    with pytest.raises(ClusterRefused, match="cluster alpha; this is beta"):
        reconcile(paths, SAID.append, ask=slurm, sleep=lambda _: None)
    slurm.name = "alpha"
    reconcile(paths, SAID.append, ask=slurm, sleep=lambda _: None)
    assert arrays(paths)[0].void


def test_the_lease_is_renewed_before_each_array_and_at_each_look(make, slurm):
    paths = make(scheduler="slurm", seeds=tuple(range(6)))
    config = read_config(paths)
    kept: list[int] = []
    planned = plan_arrays(config, [], [], range(6), ask=slurm)
    submit_arrays(paths, config, planned, SAID.append, ask=slurm, keep=lambda: kept.append(len(slurm.calls("sbatch"))))
    assert kept == [0, 1]
    write_record(paths.array(1).record, arrays(paths)[0].model_copy(update={"job_id": None}))
    kept.clear()
    looks: list[float] = []
    reconcile(paths, SAID.append, ask=slurm, sleep=looks.append, keep=lambda: kept.append(1))
    assert len(kept) == len(looks) > 1


def test_an_element_that_is_known_by_its_lease_alone_is_asked_to_end(make, slurm):
    paths = make(scheduler="slurm", seeds=(0, 1))
    config = read_config(paths)
    resume(paths, slurm)
    search = make_element_search(paths, config, config.elements()[1])
    said: list[str] = []
    with Lease(search):
        assert cancel(paths, config, said.append, ask=slurm) == [0, 1]
    (one,) = waiting(search)
    assert one.request is not None
    assert one.request.action == "cancel"
    assert any("elements 1 run in jobs that are not known here" in line for line in said)
    assert slurm.calls("scancel") == []


def test_a_number_that_is_no_elements_is_refused(make, slurm):
    paths = make(scheduler="slurm", seeds=(0, 1))
    for call in (
        lambda: resume(paths, slurm, only=[2]),
        lambda: cancel(paths, read_config(paths), SAID.append, only=[9]),
    ):
        with pytest.raises(NotFound, match="0 to 1"):
            call()


def test_the_worst_case_of_all_jobs_stays_under_the_cap(make, slurm, tmp_path):
    from tests.noop import SMALL
    from tests.noop.sweeps import noop_profile, written

    gpu = SMALL.model_copy(update={"gpus_per_node": 2, "minutes": 60})
    profile = written(tmp_path, noop_profile(name="gpus", train=gpu, python=None))
    given = {"scheduler": "slurm", "profile": profile, "minutes": 60, "seeds": (0, 1)}
    with pytest.raises(BudgetReached, match="cap is 3"):
        make(**given, gpu_hours=3)
    paths = make(**given, gpu_hours=5)
    config = read_config(paths)
    token = f"{config.uid}-a1"
    assert resume(paths, slurm) == [0, 1]
    for number, seconds in ((0, 3600.0), (1, 600.0)):
        paths.element(number).run(token).parent.mkdir(parents=True)
        write_record(
            paths.element(number).run(token),
            RunRecord(
                token=token, job_id=f"41_{number}", host="n", began="2026-01-01", seconds=seconds, gpus=2, cpus=1
            ),
        )
    leave(paths, 0, token, "failed")
    slurm.jobs = [f"41_1|RUNNING|None|n1|{token}"]
    with pytest.raises(BudgetReached):  # 2 used by the first, 2.33 reserved for the second, 2 more wanted
        resume(paths, slurm)
    assert len(slurm.calls("sbatch")) == 1
    assert resume(paths, slurm, gpu_hours=7) == [0]
    assert read_config(paths).gpu_hours == 7


def test_spans():
    assert [spans(numbers) for numbers in ([], [3], [0, 1, 2], [5, 1, 2, 9, 8])] == ["", "3", "0-2", "1-2, 5, 8-9"]
