"""What the storm's verdict takes for the weather, and what for a fault of the program."""

from __future__ import annotations

import pytest

from hpc_trex.models import AttemptState, AttemptView, FailureClass, JobKind, TrialState, TrialView
from tests.storm.verdict import wrong_end

DATA, TRAINING = "trex-1-n2-t0-a1", "trex-1-n2-t1-a1"


def trial(state: TrialState) -> TrialView:
    return TrialView(node=2, trial=1, state=state, kind=JobKind.TRAIN)


def attempt(failure: FailureClass) -> AttemptView:
    return AttemptView(
        node=2, trial=1, attempt=1, kind=JobKind.TRAIN, token=TRAINING, state=AttemptState.FAILED, failure=failure
    )


@pytest.mark.parametrize(("by_a_person", "fault"), [(set(), True), ({DATA}, False), ({TRAINING}, False)])
def test_a_trial_may_be_cancelled_only_where_a_person_ended_its_job_or_its_data(by_a_person, fault):
    mine = [attempt(FailureClass.CANCELLED)]
    assert bool(wrong_end(trial(TrialState.CANCELLED), mine, by_a_person, {DATA})) is fault


@pytest.mark.parametrize(("failure", "fault"), [(FailureClass.NODE_FAIL, False), (FailureClass.ENVIRONMENT, True)])
def test_a_trial_may_fail_only_of_what_the_weather_does(failure, fault):
    assert bool(wrong_end(trial(TrialState.FAILED), [attempt(failure)], set(), {DATA})) is fault


def test_a_trial_that_is_still_open_behind_the_storm_is_a_fault():
    assert wrong_end(trial(TrialState.ACTIVE), [], set(), set())
