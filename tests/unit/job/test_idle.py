"""The guard against idle GPUs: what nvidia-smi says, and how long it has said so."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpc_trex.job.idle import IdleClock, usage
from hpc_trex.job.watch import Action, Limits, Watch
from hpc_trex.models import FailureClass

SHOWN = "0, GPU-aa, 90\n1, GPU-bb, 0\n2, GPU-cc, 3\n3, GPU-dd, [N/A]\n"


@pytest.mark.parametrize(
    ("visible", "found"),
    [
        ("1,2", [0.0, 3.0]),
        ("GPU-aa", [90.0]),
        ("3", []),  # MIG: no number is not zero
        ("7", []),
        ("0,3", []),
    ],
)
def test_only_the_jobs_own_gpus_count(visible, found):
    assert sorted(usage(SHOWN, visible)) == found


def test_without_visible_devices_all_shown_count_and_noise_does_not():
    assert usage("0, GPU-aa, 7\nsome banner\n1, GPU-bb, 8\n", None) == [7.0, 8.0]
    assert usage("No devices were found\n", None) == []
    assert usage("", "0") == []


@given(st.text())
def test_any_answer_is_read(text):
    assert all(isinstance(value, float) for value in usage(text, "0,1"))


def test_idle_from_the_beginning_and_a_busy_sample_starts_anew():
    clock = IdleClock(600, 5, 0)
    clock.note([0, 4], 300)
    assert clock.verdict(599) == ""
    clock.note([0, 5], 590)
    assert clock.verdict(2000) == ""  # nothing was seen since
    clock.note([0], 2000)
    assert clock.verdict(2599) == ""
    assert "below 5 % for 10.0 minutes" in clock.verdict(2600)


@given(st.lists(st.tuples(st.floats(1, 300), st.lists(st.floats(0, 100), max_size=3)), max_size=40))
def test_it_is_idle_only_when_every_sample_of_the_whole_time_was(samples):
    clock, now, log = IdleClock(600, 5, 0), 0.0, []
    for pause, percents in samples:
        now += pause
        clock.note(percents, now)
        log.append((now, percents))
        if clock.verdict(now):
            recent = [values for at, values in log if at > now - 600]
            assert all(values and max(values) < 5 for values in recent)


def test_an_idle_job_may_save_and_is_then_ended():
    watch = Watch(Limits(36000, 120, 1800), 0)
    assert watch.look(700, [], saves=True, idle="") is Action.NONE
    assert watch.look(701, [], saves=True, idle="no GPU used") is Action.ASK
    assert watch.verdict is not None
    assert watch.verdict.failure is FailureClass.TIMEOUT
    assert watch.look(800, [], saves=True, idle="no GPU used") is Action.NONE
    assert watch.look(822, [], saves=True, idle="no GPU used") is Action.KILL
