"""What the profile says of agents' code reaches every job, and a plan with such code is refused before there is a job."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from hpc_trex.files import read_record
from hpc_trex.layout import SearchPaths
from hpc_trex.models import DataRecipe, JobSandbox, JobSpec
from hpc_trex.models.operators import Python
from tests.unit.controller.conftest import drive
from tests.unit.controller.simulation import Cluster

CODE = Python(code="def transform(row): return row")


def profile(folder: Path, *lines: str) -> str:
    path = folder / "mine.toml"
    path.write_text("\n".join(('scheduler = "local"', *lines)))
    return str(path)


def specs(paths: SearchPaths) -> list[JobSpec]:
    found = [read_record(path, JobSpec) for path in paths.root.rglob("spec.json")]
    assert found
    return [spec for spec in found if spec is not None]


@pytest.mark.parametrize(
    ("lines", "told"),
    [
        ((), JobSandbox()),
        (("agent_code = true",), JobSandbox(allowed=True)),
        (
            ("agent_code = true", 'sandbox = "apptainer"', 'sandbox_image = "/images/py.sif"'),
            JobSandbox(allowed=True, means="apptainer", image="/images/py.sif"),
        ),
    ],
)
def test_every_job_is_told_what_the_profile_allows(
    search: Callable[..., SearchPaths], cluster: Cluster, tmp_path: Path, lines: tuple[str, ...], told: JobSandbox
) -> None:
    paths = search(profile=profile(tmp_path, *lines), max_nodes=1)
    with drive(paths, cluster):
        pass
    assert {spec.sandbox for spec in specs(paths)} == {told}


@pytest.mark.parametrize(
    ("lines", "word"), [((), "agent_code"), (("agent_code = true", 'sandbox = "none"'), "has no sandbox")]
)
def test_a_researcher_that_writes_code_where_it_may_not_gets_no_job(
    search: Callable[..., SearchPaths],
    cluster: Cluster,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    lines: tuple[str, ...],
    word: str,
) -> None:
    """Its plans are the playbook's, with a step of code in each."""
    from hpc_trex.agents.playbook import PlaybookResearcher

    proposed = PlaybookResearcher.propose

    def with_code(self, view, parent, *, seed):
        plan = proposed(self, view, parent, seed=seed)
        steps = plan.data.steps
        return plan.model_copy(update={"data": DataRecipe(steps=(*steps[:1], CODE, *steps[1:]))})

    monkeypatch.setattr(PlaybookResearcher, "propose", with_code)
    paths = search(profile=profile(tmp_path, *lines), max_nodes=1)
    with drive(paths, cluster) as controller:
        assert controller.store.node_ids() == [0]
    assert not [spec for spec in specs(paths) if spec.data is not None]
    refused = [line for line in paths.events.read_text().splitlines() if "the Reviewer refused a plan" in line]
    assert refused
    assert all(word in line for line in refused)
