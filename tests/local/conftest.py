"""What the tests of jobs as real processes share: a folder, a base model that a job has made, and prepared rows."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from hpc_trex.builtin import builtin
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


@pytest.fixture(scope="session")
def one_thread() -> None:
    """Two threads on a busy machine of two cores are slower than one by far."""
    import torch

    torch.set_num_threads(1)


@pytest.fixture
def fresh_accelerator() -> Iterator[None]:
    """accelerate keeps the precision of a process for good; a job is one process, these tests are one for all."""
    from accelerate.state import AcceleratorState

    AcceleratorState._reset_state(reset_partial_state=True)
    yield
    AcceleratorState._reset_state(reset_partial_state=True)


@pytest.fixture(scope="session")
def untrained(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """An untrained tiny model with its tokenizer."""
    from hpc_trex.training.base_model import make_model, make_tokenizer
    from hpc_trex.training.data import Rows, read_rows

    folder = tmp_path_factory.mktemp("base")
    rows = read_rows(prepared_set(folder / "corpus", 200) / "rows")
    recipe = builtin("tiny-qwen3")._replace(vocab=400)
    tokenizer = make_tokenizer(Rows(*rows), recipe)
    make_model(recipe, tokenizer).save_pretrained(str(folder / "model"))
    tokenizer.save_pretrained(str(folder / "model"))
    return {"name": "tiny", "path": str(folder / "model")}
