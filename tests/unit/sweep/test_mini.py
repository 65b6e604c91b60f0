"""The preset behind ``ftbench mini``."""

from __future__ import annotations

import pytest

from hpc_trex.errors import UsageProblem
from hpc_trex.ftbench.mini import SUITE
from hpc_trex.slurm import machine
from hpc_trex.sweep import mini
from hpc_trex.sweep.mini import mini_request
from tests.noop.sweeps import profiles


def test_all_ten_tasks_with_one_seed_and_a_small_budget_without_repeats():
    request = mini_request({})
    assert (request.tasks, request.seeds, request.researchers) == (SUITE, (0,), ("playbook",))
    assert (request.max_nodes, request.trials) == (mini.ROUNDS, mini.TRIALS)
    assert request.noise.floor_repeats == 0
    assert request.noise.final_candidates * request.noise.final_seeds == 1


def test_what_is_typed_wins_and_a_wrong_key_is_told():
    request = mini_request({"tasks": ("mini-forms",), "max_nodes": 1, "seeds": (3, 4), "throttle": 1})
    assert (request.tasks, request.max_nodes, request.seeds, request.throttle) == (("mini-forms",), 1, (3, 4), 1)
    with pytest.raises(UsageProblem, match="max_node"):
        mini_request({"max_node": 1})


def test_a_language_model_has_no_options_here_and_is_told_where_it_has():
    with pytest.raises(UsageProblem) as refused:
        mini_request({"researchers": ("playbook", "llm")})
    assert "sweep ftbench --suite ftbench-mini" in (refused.value.hint or "")


@pytest.mark.parametrize(
    ("cores", "given", "at_once"), [(2, {}, 2), (64, {}, 10), (1, {}, 1), (64, {"seeds": (0, 1)}, 20)]
)
def test_on_this_machine_as_many_searches_at_once_as_it_bears(monkeypatch, cores, given, at_once):
    monkeypatch.setattr(machine, "cores", lambda: cores)
    monkeypatch.setattr(machine, "memory_gb", lambda: 500.0)
    assert mini_request(given).throttle == at_once


def test_slurm_decides_by_itself_how_many_run(tmp_path):
    assert mini_request({"profile": profiles(tmp_path)["profile"]}).throttle is None
