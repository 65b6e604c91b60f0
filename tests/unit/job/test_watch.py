"""When a job is stopped, and what that is called."""

from __future__ import annotations

from signal import SIGINT, SIGTERM, SIGUSR1, SIGUSR2, Signals

from hypothesis import given
from hypothesis import strategies as st

from hpc_trex.job.watch import SAVE_SECONDS, STOP_SECONDS, Action, Limits, Watch
from hpc_trex.models import FailureClass, JobSpec

HOUR = Limits(total=3600, margin=120, stall=600)


def watch(limits: Limits = HOUR) -> Watch:
    return Watch(limits, 1000.0)


def failure(one: Watch) -> FailureClass:
    assert one.verdict is not None
    return one.verdict.failure


def test_a_warning_signal_is_the_time_limit() -> None:
    one = watch()
    assert one.look(1100, [], saves=True) is Action.NONE
    assert one.look(1200, [SIGUSR2], saves=True) is Action.ASK
    assert failure(one) is FailureClass.TIMEOUT


def test_term_means_preemption_far_from_the_limit_and_the_limit_near_it() -> None:
    far, near = watch(), watch()
    near.progress(4500)
    far.look(1500, [SIGTERM], saves=True)
    near.look(4550, [SIGTERM], saves=True)
    assert failure(far) is FailureClass.PREEMPTED
    assert failure(near) is FailureClass.TIMEOUT


def test_warning_and_term_together_far_from_the_limit_are_a_preemption() -> None:
    one = watch()
    assert one.look(1200, [SIGUSR2], saves=True) is Action.ASK
    assert one.look(1201, [SIGUSR2, SIGTERM], saves=True) is Action.NONE
    assert failure(one) is FailureClass.PREEMPTED


def test_the_own_limit_asks_in_time_and_kills_at_the_limit() -> None:
    one = watch()
    one.progress(4400)
    assert one.look(4479, [], saves=True) is Action.NONE
    assert one.look(4480, [], saves=True) is Action.ASK
    assert one.look(4599, [], saves=True) is Action.NONE
    assert one.look(4600, [], saves=True) is Action.KILL
    assert failure(one) is FailureClass.TIMEOUT


def test_a_worker_that_has_something_to_save_gets_longer() -> None:
    for saves, grace in ((True, SAVE_SECONDS), (False, STOP_SECONDS)):
        one = watch()
        one.look(1100, [SIGTERM], saves=saves)
        assert one.look(1100 + grace - 1, [SIGTERM], saves=saves) is Action.NONE
        assert one.look(1100 + grace, [SIGTERM], saves=saves) is Action.KILL


def test_no_progress_is_a_hang() -> None:
    one = watch()
    one.progress(1300)
    assert one.look(1900, [], saves=True) is Action.NONE
    assert one.look(1901, [], saves=True) is Action.KILL
    assert one.verdict is not None
    assert "hung" in one.verdict.message
    assert failure(one) is FailureClass.TIMEOUT


def test_limits_of_a_spec_warn_a_tenth_or_two_minutes_before(tmp_path: object) -> None:
    fields = {
        "kind": "base",
        "token": "t",
        "search": "s",
        "node": 0,
        "trial": 0,
        "attempt": 1,
        "attempt_dir": "/a",
        "task_card": "/c",
        "base": {"name": "b", "path": "/b"},
        "cache_dir": "/cache",
    }
    short = JobSpec.model_validate(fields | {"resources": {"minutes": 1}})
    long = JobSpec.model_validate(fields | {"resources": {"minutes": 600}})
    assert Limits.of(short)[:2] == (60, 6)
    assert Limits.of(long)[:2] == (36000, 120)


looks = st.lists(
    st.tuples(
        st.floats(0.1, 400), st.lists(st.sampled_from([SIGUSR1, SIGUSR2, SIGTERM, SIGINT]), max_size=2), st.booleans()
    ),
    max_size=60,
)


@given(looks)
def test_a_stop_is_asked_for_at_most_once_and_never_forgotten(steps: list[tuple[float, list[Signals], bool]]) -> None:
    """Whatever comes when: one ASK, a verdict from then on, no life after the limit, nothing without a reason."""
    one, now, received = watch(), 1000.0, []
    asked, stopping = 0, False
    for pause, signals, progress in steps:
        now += pause
        received += signals
        if progress:
            one.progress(now)
        action = one.look(now, received, saves=progress)
        asked += action is Action.ASK
        stopping = stopping or action is not Action.NONE
        assert (one.verdict is not None) == stopping
        if now >= 1000 + HOUR.total and stopping and action is not Action.ASK:
            assert action is Action.KILL
        if received:
            assert stopping
    assert asked <= 1
