"""Gates on the simulated cluster: what waits for a person, what goes on meanwhile, what an answer leads to, and deaths."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hpc_trex.controller import Controller
from hpc_trex.controller.gates import plan_text
from hpc_trex.controller.requests import Request, place, waiting
from hpc_trex.errors import NotFound, UsageProblem
from hpc_trex.models import GATES, DataRecipe, JobKind, NodeState, RoundPlan, SearchState, TrialPlan
from hpc_trex.models.operators import Load, Python
from hpc_trex.tree.check import check
from hpc_trex.tree.events import GateAsked, GateDecided
from hpc_trex.tree.gates import gates, open_gate, person_time
from hpc_trex.tree.store import Store
from tests.unit.controller.conftest import drive, until
from tests.unit.controller.simulation import Killed
from tests.unit.controller.test_kill import Fuse

pytestmark = pytest.mark.slow

ALL = ("requirements", "strategy", "data")


def answer(view, action="approve", note=""):
    return Request(action=action, node=view.node, gate=view.gate, number=view.number, note=note, user="ada")


def to_gate(controller, cluster):
    """Tick until something waits for a person, and return that."""
    until(controller, cluster, lambda: open_gate(controller.store))
    return open_gate(controller.store)


def approve_all(paths, cluster, passes=300):
    """Run a search to its end with a person who approves everything; return what was asked."""
    asked = []
    with Controller(paths) as controller:
        controller.start()
        for _ in range(passes):
            report = controller.tick()
            if report.finished:
                assert report.state is SearchState.DONE, controller.store.state()
                return asked
            view = open_gate(controller.store)
            if view is not None:
                asked.append(view)
                controller.ask(answer(view))
            cluster.finish_all()
    raise AssertionError("the search does not come to its end")


def test_without_gates_nobody_is_asked(search, cluster):
    with drive(search(max_nodes=2), cluster) as controller:
        assert gates(controller.store) == []
        assert controller.store.status().person.decisions == 0


def test_each_gate_is_asked_in_its_order_and_what_was_approved_is_what_runs(search, cluster):
    paths = search(max_nodes=2, approve=ALL)
    asked = approve_all(paths, cluster)
    assert [(view.node, view.gate) for view in asked] == [
        (0, "requirements"), (1, "strategy"), (1, "data"), (2, "strategy"), (2, "data"),
    ]  # fmt: skip
    with Store.read(paths) as store:
        assert asked[0].text
        for view in asked[1:]:
            node = store.node(view.node)
            assert view.plan == node.plan
            assert view.parent == node.parent
            assert node.plan.hypothesis in view.text
        assert "learning_rate" in asked[2].text, "the trials are not told"
        assert store.status().person.decisions == 5
        assert {one.user for one in gates(store)} == {"ada"}
    assert check(paths) == []


@pytest.mark.parametrize("gate", ALL)
def test_one_gate_alone_is_asked_alone(search, cluster, gate):
    assert {view.gate for view in approve_all(search(max_nodes=1, approve=(gate,)), cluster)} == {gate}


def test_a_plan_that_waits_submits_nothing_and_does_not_end_the_search(search, cluster):
    with Controller(search(max_nodes=3, approve=("data",))) as controller:
        controller.start()
        to_gate(controller, cluster)
        cluster.finish_all()
        seq, polls = controller.store.last_seq(), cluster.polls
        for _ in range(20):
            report = controller.tick()
            assert (report.state, report.finished) == (SearchState.RUNNING, False)
        assert controller.store.last_seq() == seq, "waiting writes nothing"
        assert cluster.polls == polls, "waiting without a job asks the scheduler for nothing"
        assert controller.store.node_ids() == [0]


def test_jobs_go_on_and_are_collected_while_a_plan_waits(search, cluster):
    with Controller(search(max_nodes=3, parallel=4, trials=1, approve=("data",))) as controller:
        controller.start()
        controller.ask(answer(to_gate(controller, cluster)))
        controller.tick()
        second = open_gate(controller.store)
        assert second is not None
        assert second.node == 2, "another round is designed beside the first"
        until(controller, cluster, lambda: controller.store.node(1).state is NodeState.DONE)
        assert controller.store.node(1).report, "a finished round is read"
        assert open_gate(controller.store) == second


def test_a_rejected_plan_is_not_proposed_again(search, cluster):
    paths = search(max_nodes=1, approve=("data",))
    with Controller(paths) as controller:
        controller.start()
        first = to_gate(controller, cluster)
        controller.ask(answer(first, "reject", "too dear"))
        controller.tick()
        second = open_gate(controller.store)
        assert second is not None
        assert (second.node, second.gate, second.number) == (1, "data", 2)
        assert (second.plan.data, second.plan.trials) != (first.plan.data, first.plan.trials)
        controller.ask(answer(second))
    approve_all(paths, cluster)
    with Store.read(paths) as store:
        assert store.node(1).plan == second.plan
        assert [view.note for view in gates(store, 1)] == ["too dear", ""]


def test_the_claim_of_another_plan_is_asked_again_after_its_trials_were_rejected(search, cluster):
    with Controller(search(max_nodes=1, approve=("strategy", "data"))) as controller:
        controller.start()
        controller.ask(answer(to_gate(controller, cluster)))
        controller.ask(answer(to_gate(controller, cluster), "reject"))
        again = to_gate(controller, cluster)
        assert (again.gate, again.number) == ("strategy", 2)


def test_a_parent_from_which_all_was_rejected_is_left_for_another_one(search, cluster):
    paths = search(max_nodes=2, parallel=1, approve=("data",))
    with Controller(paths) as controller:
        controller.start()
        controller.ask(answer(to_gate(controller, cluster)))
        controller.tick()
        until(controller, cluster, lambda: controller.store.node(1).state is NodeState.DONE)
        parents = []
        for _ in range(4):
            view = to_gate(controller, cluster)
            parents.append(view.parent)
            controller.ask(answer(view, "reject"))
        assert parents[0] == parents[1] == parents[2] != parents[3]


def test_a_search_whose_proposals_are_all_rejected_pauses_and_proposes_others_after_resume(search, cluster):
    paths = search(max_nodes=1, approve=("data",))
    with Controller(paths) as controller:
        controller.start()
        seen = []
        for number in range(3):
            seen.append(to_gate(controller, cluster))
            controller.ask(answer(seen[-1], "reject", f"no {number}"))
        report = controller.tick()
        assert report.state is SearchState.PAUSED
        assert "no 2" in controller.store.state()[1]
        assert controller.store.chosen() is None, "the sealed test stays closed"
        controller.start()
        other = to_gate(controller, cluster)
        assert all(other.plan.trials != view.plan.trials or other.plan.data != view.plan.data for view in seen)
        controller.ask(answer(other))
    approve_all(paths, cluster)


def test_a_rejected_reading_of_the_baseline_pauses_the_search_with_the_note(search, cluster):
    paths = search(max_nodes=1, approve=("requirements",))
    with Controller(paths) as controller:
        controller.start()
        controller.ask(answer(to_gate(controller, cluster), "reject", "the metric is wrong"))
        assert controller.store.state() == (
            SearchState.PAUSED,
            "a person has rejected what was read from the baseline: the metric is wrong",
        )
        controller.start()
        again = to_gate(controller, cluster)
        assert (again.gate, again.number, again.text != "") == ("requirements", 2, True)
        controller.ask(answer(again))
    approve_all(paths, cluster)
    assert check(paths) == []


def test_an_answer_is_left_to_a_running_controller_and_obeyed_at_its_next_tick(search, cluster):
    paths = search(max_nodes=1, approve=("strategy",))
    with Controller(paths) as controller:
        controller.start()
        place(paths, answer(to_gate(controller, cluster)))
        controller.tick()
        assert not waiting(paths)
        assert controller.store.next_node() == 2


def test_a_second_answer_to_the_same_question_is_refused(search, cluster):
    paths = search(max_nodes=1, approve=("strategy",))
    with Controller(paths) as controller:
        controller.start()
        view = to_gate(controller, cluster)
        controller.ask(answer(view))
        with pytest.raises(UsageProblem, match="was approved before"):
            controller.ask(answer(view, "reject"))
        with pytest.raises(NotFound):
            controller.ask(answer(view.model_copy(update={"number": 9})))
        assert not waiting(paths)
        place(paths, answer(view, "reject"))  # by request it is a note in the history
        controller.tick()
        assert any("reject was refused" in text for _, text, _ in controller.store.notes())


def test_a_question_does_not_wait_any_more_when_the_search_has_used_up_its_hours(search, cluster):
    paths = search(max_nodes=2, approve=("data",))
    with Controller(paths) as controller:
        controller.start()
        to_gate(controller, cluster)
        controller.work.change_state(SearchState.FINISHING, "the budget is used up")
        assert open_gate(controller.store) is None
        assert controller.store.status().waits_for is None
        controller.tick()
        controller.work.change_state(SearchState.RUNNING)
        assert open_gate(controller.store) is not None, "with more budget it waits again"


def test_the_time_of_a_person_is_what_lies_between_question_and_answer_in_the_log(search, cluster, monkeypatch):
    paths = search(max_nodes=1, approve=("strategy", "data"))
    with Controller(paths) as controller:
        controller.start()
        monkeypatch.setattr("hpc_trex.tree.store._now", lambda: "2026-01-01T00:18:00.000+00:00")
        view = to_gate(controller, cluster)
        monkeypatch.setattr("hpc_trex.tree.store._now", lambda: "2026-01-01T00:30:00.000+00:00")
        controller.ask(answer(view))
        assert person_time(controller.store).model_dump() == {
            "seconds": 720.0, "decisions": 1, "by_gate": {"strategy": 720.0},
        }  # fmt: skip


def test_the_code_of_a_data_step_is_shown_to_the_person_who_judges_it():
    code = "def transform(row):\n    return row"
    plan = RoundPlan(
        hypothesis="h", data=DataRecipe(steps=(Load(source="crowd"), Python(code=code))), trials=(TrialPlan(),)
    )
    assert "  def transform(row):\n      return row" in plan_text("data", plan)
    assert "transform" not in plan_text("strategy", plan)


def test_a_controller_that_died_proposes_nothing_anew_while_a_plan_waits_and_when_it_was_approved(
    search, cluster, monkeypatch
):
    paths = search(max_nodes=1, approve=("strategy", "data"))
    with Controller(paths) as controller:
        controller.start()
        view = to_gate(controller, cluster)
    for _ in ("strategy", "data"):
        with Controller(paths) as controller:
            controller.start()
            monkeypatch.setattr(controller.work.researcher, "propose", None)  # whoever calls it fails
            controller.tick()
            view = open_gate(controller.store)
            controller.ask(answer(view))
    with Controller(paths) as controller:
        monkeypatch.setattr(controller.work.researcher, "propose", None)
        controller.start()
        controller.tick()
        assert controller.store.node(1).plan == view.plan


def run_with_kill(paths, cluster, monkeypatch, at, *, after):
    fuse = Fuse(at, after=after)
    with monkeypatch.context() as patch:
        patch.setattr(Store, "record", fuse.guard(Store.record))
        patch.setattr(type(cluster), "submit", fuse.guard(type(cluster).submit))
        controller = Controller(paths)
        try:
            controller.start()
            for _ in range(200):
                if controller.tick().finished:
                    break
                view = open_gate(controller.store)
                if view is not None:
                    place(paths, answer(view))
                cluster.finish_all()
        except Killed:
            pass
        finally:
            controller.close()
    return fuse.blown


@pytest.mark.parametrize(("at", "after"), [(at, at % 2 == 0) for at in range(8, 42)])
def test_a_kill_at_any_step_loses_no_question_and_asks_none_twice(search, cluster, monkeypatch, at, after):
    paths = search(max_nodes=2, trials=1, parallel=2, name="killed", approve=ALL)
    assert run_with_kill(paths, cluster, monkeypatch, at, after=after), "the fuse must blow, or this tests nothing"
    approve_all(paths, cluster)
    with Store.read(paths) as store:
        assert [(view.node, view.gate, view.number) for view in gates(store)] == [
            (0, "requirements", 1), (1, "strategy", 1), (1, "data", 1), (2, "strategy", 1), (2, "data", 1),
        ]  # fmt: skip
        assert all(view.plan == store.node(view.node).plan for view in gates(store) if view.node)
        assert all(item.attempt == 1 for item in store.attempts() if item.kind is not JobKind.TEST)
    assert max(cluster.starts.values()) == 1
    assert check(paths) == []


ACTIONS = st.lists(
    st.tuples(
        st.sampled_from(["approve", "reject", "leave an approval", "leave a rejection", "pause", "nothing"]),
        st.none() | st.tuples(st.integers(1, 12), st.booleans()),
    ),
    max_size=10,
)


class Person:
    """Does what was drawn at each look, then approves everything; a new controller follows each death and each pause."""

    def __init__(self, paths, cluster, monkeypatch):
        self.paths, self.cluster, self.monkeypatch = paths, cluster, monkeypatch

    def look(self, action, death):
        """Let one controller live for a few ticks; return whether the search is over."""
        with self.monkeypatch.context() as patch:
            if death is not None:
                fuse = Fuse(death[0], after=death[1])
                patch.setattr(Store, "record", fuse.guard(Store.record))
            controller = Controller(self.paths)
            try:
                controller.start()
                for _ in range(6):
                    report = controller.tick()
                    if report.finished:
                        return report.state in (SearchState.DONE, SearchState.FAILED)
                    self.act(controller, action)
                    self.cluster.finish_all()
            except Killed:
                pass
            finally:
                controller.close()
        return False

    def act(self, controller, action):
        view = open_gate(controller.store)
        if action == "pause":
            controller.ask(Request(action="pause"))
        elif view is None or action == "nothing":
            return
        elif action.startswith("leave"):
            place(self.paths, answer(view, "approve" if "approval" in action else "reject"))
        else:
            controller.ask(answer(view, action))


names = itertools.count()


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(chosen=st.sets(st.sampled_from(GATES), min_size=1), actions=ACTIONS)
def test_any_order_of_answers_pauses_deaths_and_resumes_leads_to_a_whole_search(
    search, cluster, monkeypatch, chosen, actions
):
    cluster.live.clear()
    cluster.starts.clear()
    paths = search(max_nodes=2, trials=1, parallel=2, name=f"any-{next(names)}", approve=tuple(chosen))
    person = Person(paths, cluster, monkeypatch)
    over = any(person.look(action, death) for action, death in actions)
    for _ in range(60):
        over = over or person.look("approve", None)
    assert over
    assert check(paths) == []
    with Store.read(paths) as store:
        assert store.state()[0] is SearchState.DONE
        assert len(store.node_ids()) == 3
        assert max(cluster.starts.values()) == 1
        asked = gates(store)
        assert all(view.approved is not None for view in asked)
        assert not waiting(paths)
        for name in set(GATES) & chosen:
            for node in [0] if name == "requirements" else [1, 2]:
                verdicts = [view.approved for view in asked if (view.node, view.gate) == (node, name)]
                assert verdicts[-1:] == [True], (node, name, verdicts)
        for node in (1, 2):
            last = [view.plan for view in asked if view.node == node and view.approved]
            assert all(plan == store.node(node).plan for plan in last[-1:])


def test_an_event_that_does_not_fit_is_refused(search, cluster):
    with Controller(search(max_nodes=1, approve=("data",))) as controller:
        controller.start()
        view = to_gate(controller, cluster)
        for event in (
            GateAsked(node=1, gate="data", number=2, text="beside another"),
            GateDecided(node=1, gate="strategy", number=1, approved=True),
            GateDecided(node=1, gate="data", number=2, approved=True),
        ):
            with pytest.raises(ValueError, match=r"waits|does not wait"):
                controller.store.record(event)
        controller.ask(answer(view, "reject"))
        for event in (
            GateAsked(node=1, gate="data", number=1, text="a number twice"),
            GateAsked(node=7, gate="data", number=1, text="a round far away"),
        ):
            with pytest.raises(ValueError, match=r"cannot follow|not the one"):
                controller.store.record(event)


def test_a_gate_that_nobody_answers_does_not_outlast_a_cap_on_the_time(search, cluster, monkeypatch):
    """Nothing comes in while it waits: the clock alone ends the search."""
    paths = search(max_nodes=2, approve=("data",), wall_minutes=60.0)
    with Controller(paths) as controller:
        controller.start()
        to_gate(controller, cluster)
        for _ in range(5):
            assert not controller.tick().finished
        controller.work.started -= 3601
        for _ in range(50):
            report = controller.tick()
            if report.finished:
                break
            cluster.finish_all()
        assert report.state is SearchState.DONE, controller.store.state()


def test_the_data_gate_shows_how_a_trial_mixes_the_data():
    plan = RoundPlan(
        hypothesis="more of one source",
        data=DataRecipe(steps=(Load(source="gold"), Load(source="crowd"))),
        trials=(TrialPlan(mixture={"gold": 0.01, "crowd": 0.99}),),
    )
    assert "mixture crowd 0.99, gold 0.01" in plan_text("data", plan)
