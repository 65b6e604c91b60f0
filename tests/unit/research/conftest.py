"""Each test has a cache of its own, and sees neither keys, proxies nor mirrors of the developer."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from hpc_trex.research.http import Web
from tests.unit.research.service import Service


@pytest.fixture(autouse=True)
def _apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith(("HPC_TREX_", "HF_")) or name.lower().endswith("_proxy") or name.endswith("_API_KEY"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("HPC_TREX_CACHE", str(tmp_path / "cache"))
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")


@pytest.fixture
def service() -> Iterator[Service]:
    made = Service()
    yield made
    made.close()


@pytest.fixture
def web(tmp_path: Path) -> Callable[..., Web]:
    """Make a session with short limits, so that what hangs is soon over."""

    def make(**options: object) -> Web:
        limits: dict[str, object] = {"connect_seconds": 0.4, "deadline_seconds": 1.5, "most_bytes": 300_000}
        return Web(tmp_path / "answers", **limits | options)  # type: ignore[arg-type]

    return make
