"""A metric whose library jobs do not have is refused before there is a job, where that can be known."""

import pytest

from hpc_trex.errors import EnvironmentProblem
from hpc_trex.evaluation.metrics import judge
from hpc_trex.evaluation.scorers import SCORERS
from hpc_trex.models import MetricSpec, Profile
from hpc_trex.staging import libraries
from hpc_trex.staging.libraries import LIBRARIES, require_library


@pytest.fixture
def bare(monkeypatch):
    """A Python without any library for metrics."""
    monkeypatch.setattr(libraries, "find_spec", lambda module: None)


@pytest.mark.parametrize("name", sorted(LIBRARIES))
def test_a_missing_library_is_named_with_what_to_install(bare, name):
    with pytest.raises(EnvironmentProblem, match=f"metric {name} needs") as caught:
        require_library(MetricSpec(name=name), Profile(name="here"))
    assert f"pip install {LIBRARIES[name][1]}" in caught.value.hint


def test_metrics_without_a_library_need_none(bare):
    require_library(MetricSpec(name="exact_match"), Profile(name="here"))


@pytest.mark.parametrize(
    "own",
    [{"python": "/opt/python"}, {"runner": ("x",)}, {"modules": ("python/3.12",)}, {"setup": ("x",)},
     {"container": {"image": "/a.sif"}}, {"environment": {"PYTHONPATH": "/x"}}],
)  # fmt: skip
def test_what_jobs_with_their_own_packages_have_is_not_judged_from_here(bare, own):
    require_library(MetricSpec(name="bleu"), Profile.model_validate({"name": "site"} | own))


@pytest.mark.parametrize("name", sorted(LIBRARIES.keys() - SCORERS.keys()))
def test_the_libraries_are_the_ones_that_score(name):
    require_library(MetricSpec(name=name), Profile(name="here"))
    assert judge("a b c d", "a b c d", MetricSpec(name=name)).score == pytest.approx(1)
