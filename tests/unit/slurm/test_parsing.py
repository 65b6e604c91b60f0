"""The readers of Slurm's output, on lines that a real Slurm 22.05.8 printed and on whatever hypothesis invents."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from hpc_trex.slurm import parsing
from hpc_trex.slurm.parsing import Row
from hpc_trex.slurm.scheduler import JobState

SQUEUE = """\
1|FAILED|BadConstraints||refused
2|FAILED|NonZeroExitCode|trex1|ok
705_3|PENDING|JobArrayTaskLimit||sweep
706_[3-9%3]|PENDING|Resources||folded
41|PENDING|ReqNodeNotAvail, UnavailableNodes:trex[1-4]||trex-ab12-3-1-1
42|RUNNING|None|trex[1-2]|name | with | pipes
43|COMPLETING|None|trex2|x
44|CANCELLED|None||y
45|RUNN
garbage

"""

#: The first two: an out-of-memory job under srun with cgroups, a kill seen through srun.
SACCT = """\
12|FAILED|1:0|trex1|trex-a
12.batch|FAILED|1:0|trex1|batch
12.0|OUT_OF_MEMORY|0:125|trex1|python
3|FAILED|9:0|trex1|k9
3.batch|FAILED|9:0|trex1|batch
3.0|CANCELLED|0:9|trex1|bash
4|CANCELLED by 1000|0:0|None assigned|trex-b
5|TIMEOUT|0:0|trex3|trex|c
5.extern|COMPLETED|0:0|trex3|extern
705_3|COMPLETED|0:0|trex1|sweep
6|CANCELLED+|0:0|trex1|cut
7.0|OUT_OF_MEMORY|0:125|trex1|stray step
8|COMPLETED|0:0|trex1|survivor
8.0|OUT_OF_MEMORY|0:125|trex1|python
9|FAI
"""

SCONTROL = (
    "JobId=2 JobName=o k UserId=root(0) GroupId=root(0) MCS_label=N/A Priority=4294901758 Nice=0 Account=root "
    "QOS=normal JobState=FAILED Reason=NonZeroExitCode Dependency=(null) Requeue=1 Restarts=0 BatchFlag=1 Reboot=0 "
    "ExitCode=3:0 RunTime=00:00:00 TimeLimit=00:10:00 Partition=main ReqNodeList=(null) ExcNodeList=(null) "
    "NodeList=trex1 BatchHost=trex1 Command=(null) WorkDir=/tmp\n"
    "slurm_load_jobs error: Invalid job id specified\n"
)


def test_squeue_lines_with_odd_names_reasons_and_arrays_are_read_and_broken_ones_passed_over():
    rows = parsing.parse_squeue(SQUEUE)
    assert [(row.job_id, row.state, row.name) for row in rows] == [
        ("1", "FAILED", "refused"),
        ("2", "FAILED", "ok"),
        ("705_3", "PENDING", "sweep"),
        ("41", "PENDING", "trex-ab12-3-1-1"),
        ("42", "RUNNING", "name | with | pipes"),
        ("43", "COMPLETING", "x"),
        ("44", "CANCELLED", "y"),
    ]
    assert rows[3].detail == "ReqNodeNotAvail, UnavailableNodes:trex[1-4]"
    assert parsing.never_ran(rows[0])
    assert not parsing.never_ran(rows[1])


def test_a_step_tells_that_a_failed_job_ran_out_of_memory():
    rows = {row.job_id: row for row in parsing.parse_sacct(SACCT)}
    assert sorted(rows, key=parsing._number) == ["3", "4", "5", "6", "8", "12", "705_3"]
    words = {job_id: parsing.status_of(row).reason for job_id, row in rows.items()}
    assert words == {
        "12": "OUT_OF_MEMORY 1:0",
        "3": "FAILED 9:0",
        "4": "CANCELLED by 1000",
        "5": "TIMEOUT",
        "6": "CANCELLED",
        "8": "COMPLETED",
        "705_3": "COMPLETED",
    }
    assert rows["5"].name == "trex|c"
    assert rows["4"].nodes == ""


def test_scontrol_gives_the_exit_code_where_there_is_no_accounting():
    (row,) = parsing.parse_scontrol(SCONTROL)
    assert row == Row("2", "FAILED", "o k", "NonZeroExitCode", "trex1", "3:0")
    assert parsing.status_of(row).reason == "FAILED 3:0"


def test_a_live_job_comes_before_a_finished_one_with_the_same_token():
    done, live = Row("90", "COMPLETED", "t"), Row("7", "PENDING", "t", "Priority")
    assert parsing.choose([done, live], "90") is live
    assert parsing.choose([done, Row("8", "FAILED", "t")], "8").job_id == "8"
    assert parsing.choose([Row("8", "FAILED", "t"), Row("10", "TIMEOUT", "t")], None).job_id == "10"
    assert parsing.choose([], None) is None


def test_a_state_that_we_do_not_know_is_never_an_end():
    assert parsing.job_state("EXPEDITING") is JobState.RUNNING
    assert parsing.status_of(Row("1", "STAGE_OUT", "t")).reason == "STAGE_OUT"
    assert parsing.status_of(Row("1", "CONFIGURING", "t")).reason == "CONFIGURING"


STATES = st.sampled_from(sorted(parsing.WAITING | parsing.OVER | {"RUNNING", "COMPLETING", "SUSPENDED"}))
LINE = st.text(st.characters(exclude_categories=("Cs", "Cc", "Zl", "Zp")), max_size=60)
WORD = st.text(st.characters(exclude_categories=("Cs", "Cc", "Zl", "Zp"), exclude_characters="|"), max_size=40)
IDS = st.one_of(
    st.integers(1, 10**8).map(str), st.tuples(st.integers(1, 9999), st.integers(0, 999)).map("{0[0]}_{0[1]}".format)
)


@given(st.lists(st.tuples(IDS, STATES, WORD, WORD, LINE), max_size=8), st.data())
def test_every_whole_line_is_read_whatever_stands_around_it(jobs, data):
    """Also when the output is cut anywhere: all lines before the cut are still right."""
    text = "".join("|".join(job) + "\n" for job in jobs)
    noise = data.draw(st.lists(LINE.filter(lambda line: "|" not in line), max_size=3))
    rows = parsing.parse_squeue("\n".join(noise) + "\n" + text)
    assert [(row.job_id, row.state, row.name) for row in rows] == [(job[0], job[1], job[4]) for job in jobs]
    cut = data.draw(st.integers(0, len(text)))
    whole = text[:cut].count("\n")
    assert parsing.parse_squeue(text[:cut])[:whole] == rows[:whole]


@given(st.text())
def test_no_text_breaks_a_reader(text):
    for reader in (parsing.parse_squeue, parsing.parse_sacct, parsing.parse_scontrol):
        for row in reader(text):
            assert parsing.status_of(row).job_id == row.job_id


@given(st.dictionaries(st.integers(1, 10**6), st.tuples(STATES, st.booleans()), max_size=6))
def test_a_steps_lack_of_memory_is_its_own_jobs_only(jobs):
    text = ""
    for job, (state, starved) in jobs.items():
        text += f"{job}|{state}|0:0|n1|t{job}\n{job}.batch|FAILED|1:0|n1|batch\n"
        text += f"{job}.0|OUT_OF_MEMORY|0:125|n1|python\n" if starved else ""
    for row in parsing.parse_sacct(text):
        state, starved = jobs[int(row.job_id)]
        changed = starved and state in parsing.OVER - {"COMPLETED"}
        assert row.state == ("OUT_OF_MEMORY" if changed else state)
