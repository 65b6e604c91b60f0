"""The upstream of a card, and the command line inside this process."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from hpc_trex.cli.main import cli
from tests.unit.staging.hub import Hub
from tests.unit.staging.upstream import UPSTREAM, Upstream
from tests.unit.staging.web import Web


@pytest.fixture(scope="module")
def servers() -> Iterator[tuple[Hub, Web]]:
    hub, web = Hub(), Web()
    yield hub, web
    hub.close()
    web.close()


@pytest.fixture
def upstream(tmp_path: Path, servers: tuple[Hub, Web], monkeypatch: pytest.MonkeyPatch) -> Upstream:
    from huggingface_hub import constants

    hub, web = servers
    monkeypatch.setattr(constants, "ENDPOINT", hub.endpoint)
    monkeypatch.setattr(
        constants, "HUGGINGFACE_CO_URL_TEMPLATE", hub.endpoint + "/{repo_id}/resolve/{revision}/{filename}"
    )
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "no-token"))
    monkeypatch.setenv("HPC_TREX_STAGE", str(tmp_path / "stage"))
    monkeypatch.setenv("HPC_TREX_HOME", str(tmp_path / "searches"))
    made = Upstream(tmp_path, hub, web)
    for name, value in (("COUNT", "1"), ("KEY_0", f"url.file://{made.repository}.insteadOf"), ("VALUE_0", UPSTREAM)):
        monkeypatch.setenv(f"GIT_CONFIG_{name}", value)
    return made


@pytest.fixture
def trex() -> Callable[..., Result]:
    def run(*words: object, code: int = 0) -> Result:
        done = CliRunner().invoke(cli, [str(word) for word in words])
        assert done.exit_code == code, done.output
        assert "Traceback" not in done.output
        return done

    return run
