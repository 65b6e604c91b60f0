"""``launch --llm-serve``: what is refused, what the search is given, and which server's words a job runs."""

from __future__ import annotations

from pathlib import Path

import pytest

from hpc_trex.agents.llm.endpoint import endpoint_of
from hpc_trex.agents.llm.keys import served_key
from hpc_trex.errors import CredentialsMissing, UsageProblem
from hpc_trex.job.server_command import server_for
from hpc_trex.launch_llm import endpoint_words, llm_settings
from hpc_trex.layout import SearchPaths
from hpc_trex.models import LlmSettings, Resources, ServeSpec
from hpc_trex.slurm.profiles import load_profile


@pytest.fixture
def model(tmp_path: Path) -> str:
    folder = tmp_path / "Qwen3-8B"
    folder.mkdir()
    for name in ("config.json", "model.safetensors", "tokenizer.json"):
        (folder / name).write_text("{}")
    return str(folder)


def profile(folder: Path, text: str = "") -> str:
    path = folder / "gpus.toml"
    path.write_text(f'scheduler = "slurm"\n[train]\nnodes = 2\ngpus_per_node = 4\nminutes = 90\n{text}')
    return str(path)


def served(serve: tuple[str, str], **llm: object) -> LlmSettings:
    settings = llm_settings("llm", llm, serve)
    assert settings is not None
    return settings


def test_without_a_section_of_its_own_the_server_asks_for_a_training_on_one_node(tmp_path, model):
    settings = served((profile(tmp_path), model))
    assert settings.model == "Qwen3-8B"
    assert settings.served is not None
    serve = settings.served.profile.serve
    assert serve is not None
    assert (serve.nodes, serve.gpus, serve.minutes, settings.served.model_path) == (1, 4, 90, model)
    assert endpoint_words(settings) == "Qwen3-8B, served by a job on gpus: 4 GPU(s), 90 min at a time"


def test_the_section_serve_says_it_otherwise_and_a_name_may_be_given(tmp_path, model):
    text = '[serve]\ngpus_per_node = 1\nminutes = 480\noptions = ["--max-model-len", "32768"]\n'
    settings = served((profile(tmp_path, text), model), model="ours")
    assert settings.model == "ours"
    assert settings.served is not None
    assert settings.served.profile.serve is not None
    assert settings.served.profile.serve.options == ("--max-model-len", "32768")


@pytest.mark.parametrize(
    ("serve", "llm", "words"),
    [
        ("", {"base_url": "http://127.0.0.1:1/v1"}, "--llm-base-url beside --llm-serve"),
        ("", {"key_file": "k"}, "--llm-key-file beside --llm-serve"),
        ("", {"reviewer": {"model": "strict"}}, "--llm-reviewer-model strict beside --llm-serve"),
        ("[serve]\nnodes = 2\n", {}, "stands on one node"),
        ("max_minutes = 60\n", {}, "serve.minutes = 90"),
    ],
)
def test_what_cannot_be_served_is_refused_before_anything_is_made(tmp_path, model, serve, llm, words):
    file = Path(profile(tmp_path, serve if serve.startswith("[") else ""))
    if not serve.startswith("["):
        file.write_text(serve + file.read_text())
    with pytest.raises(UsageProblem, match=words):
        served((str(file), model), **llm)


def test_a_built_in_model_and_another_researcher_are_refused(tmp_path, model):
    with pytest.raises(UsageProblem, match="answers no question"):
        served((profile(tmp_path), "builtin:tiny-qwen3"))
    with pytest.raises(UsageProblem, match="--llm-serve without --researcher llm"):
        llm_settings("playbook", {}, (profile(tmp_path), model))


def test_a_key_that_is_unknown_in_the_section_is_named_with_the_nearest(tmp_path):
    with pytest.raises(UsageProblem, match=r"unknown key serve\.idle_minute") as caught:
        load_profile(profile(tmp_path, "[serve]\nidle_minute = 3\n"))
    assert "idle_minutes" in caught.value.hint


def test_no_proxy_stands_before_a_server_of_our_own(tmp_path, model):
    settings = served((profile(tmp_path), model)).model_copy(update={"base_url": "http://node7:4000/v1"})
    assert endpoint_of(settings, "key").local
    assert not endpoint_of(LlmSettings(model="x", base_url="http://node7:4000/v1"), "key").local


def test_the_key_is_made_once_and_is_for_its_user_alone(tmp_path):
    paths = SearchPaths(tmp_path)
    key = served_key(paths)
    assert len(key) > 30
    assert served_key(paths) == key
    assert paths.server_key.stat().st_mode & 0o777 == 0o600
    paths.server_key.write_text("")  # a controller that died in between
    assert len(served_key(paths)) > 30
    paths.server_key.unlink()
    paths.server_key.mkdir()
    with pytest.raises(CredentialsMissing, match="cannot be read"):
        served_key(paths)


def spec(**changes: object) -> ServeSpec:
    given = {
        "token": "t",
        "attempt_dir": "/s/1",
        "model_path": "/m",
        "name": "ours",
        "key_file": "/s/key",
        "asked_file": "/s/asked",
        "idle_seconds": 1,
        "start_seconds": 1,
    }
    return ServeSpec.model_validate(given | changes)


def test_vllm_is_taken_where_it_is_on_the_path(tmp_path, monkeypatch):
    program = tmp_path / "vllm"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    server = server_for(spec(resources=Resources(gpus_per_node=4), options=("--max-model-len", "9000")), 4000)
    assert server.words == [
        *(str(program), "serve", "/m", "--host", "0.0.0.0", "--port", "4000", "--served-model-name", "ours"),
        *("--tensor-parallel-size", "4", "--max-model-len", "9000"),
    ]
    assert server.model == "ours"


def test_else_transformers_serve_behind_our_guard(monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    server = server_for(spec(loopback=True), 4000)
    assert server.words[1:] == [
        *("-m", "hpc_trex.job.guarded_serve", "serve", "/m", "--host", "127.0.0.1", "--port", "4000")
    ]
    assert server.model == "/m"


def test_the_sites_own_command_keeps_its_json():
    words = ("run", "{model}", "--at={host}:{port}", "{key_file}", "{name}", '{"thinking": false}')
    server = server_for(spec(command=words), 4000)
    assert server.words == ["run", "/m", "--at=0.0.0.0:4000", "/s/key", "ours", '{"thinking": false}']
    with pytest.raises(UsageProblem, match="prot"):
        server_for(spec(command=("{prot}",)), 4000)
