"""What the tests of jobs as real processes share: a folder, a base model that a job has made, and prepared rows."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.jobs import prepared_set, run_job, spec_for


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("jobs")


@pytest.fixture(scope="module")
def base(place: Path) -> dict[str, str]:
    """A base model after a few steps, made by a real job."""
    spec = spec_for(place / "base", place / "cache", kind="base", train={"max_steps": 12})
    result, output = run_job(spec)
    assert result.state == "succeeded", output
    assert result.model is not None
    return result.model.model_dump()


@pytest.fixture(scope="module")
def rows(place: Path) -> str:
    return str(prepared_set(place / "rows"))
