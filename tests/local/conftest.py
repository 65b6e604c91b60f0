"""What the tests of jobs as real processes share: a folder, a base model that a job has made, and prepared rows."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.jobs import prepared_set, run_job, spec_for


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("jobs")


@pytest.fixture(scope="session")
def base_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The cache that the base model's job has filled."""
    return tmp_path_factory.mktemp("base") / "cache"


@pytest.fixture(scope="session")
def base(base_cache: Path) -> dict[str, str]:
    """A base model after a few steps, made by a real job."""
    spec = spec_for(base_cache.parent / "base", base_cache, kind="base", train={"max_steps": 12})
    result, output = run_job(spec)
    assert result.state == "succeeded", output
    assert result.model is not None
    return result.model.model_dump()


@pytest.fixture(scope="session")
def rows(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(prepared_set(tmp_path_factory.mktemp("rows") / "rows"))
