"""The language model of a launch: which is asked, or served by a job of the search, from the options ``--llm-*``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from hpc_trex.agents.llm.endpoint import plain
from hpc_trex.controller.serve_spec import serving_of
from hpc_trex.errors import UsageProblem
from hpc_trex.models import LlmSettings, ServedLlm
from hpc_trex.models.llm import AGENTS
from hpc_trex.slurm.containers import check_image
from hpc_trex.slurm.environment import is_secret
from hpc_trex.slurm.preflight import check_limits
from hpc_trex.slurm.profiles import load_profile
from hpc_trex.staging import stage_model


def llm_settings(researcher: str, llm: Mapping[str, Any], serve: tuple[str, str] | None) -> LlmSettings | None:
    """Return the settings of the language model; None where no agent asks one. Raises UsageProblem where it is not named."""
    if researcher != "llm":
        given = ["serve"] if serve else list(llm)
        if given:
            raise UsageProblem(
                f"--llm-{given[0].replace('_', '-')} without --researcher llm",
                hint="add --researcher llm",
            )
        return None
    if serve is not None:
        return _served(llm, *serve)
    if not llm.get("model"):
        raise UsageProblem(
            "--researcher llm needs a model",
            hint="--llm-model NAME [--llm-base-url URL]; docs/llm.md says which servers work",
        )
    return _settings(llm)


def _settings(given: Mapping[str, Any]) -> LlmSettings:
    """Return checked settings: what a controller could not work with is refused before a search is made."""
    values = _endpoint(given, "")
    for role in AGENTS:
        if given.get(role):
            values[role] = _endpoint(given[role], f"{role}-")
    if values.get("money_cap") and None in (values.get("price_in"), values.get("price_out")):
        raise UsageProblem("--llm-money needs both prices", hint="--llm-price-in and --llm-price-out, or --llm-tokens")
    try:
        return LlmSettings.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        name = "-".join(str(part) for part in first["loc"]).replace("_", "-")
        raise UsageProblem(f"--llm-{name}: {first['msg']}", hint="hpc-trex launch --help") from error


def _endpoint(given: Mapping[str, Any], whose: str) -> dict[str, Any]:
    """Return what was given of one endpoint, its file as a whole path. Raises UsageProblem for an address that is none,
    and for a variable that the jobs would inherit.
    """
    values = dict(given)
    url = values.get("base_url")
    if url and not str(url).startswith(("http://", "https://")):
        raise UsageProblem(f"--llm-{whose}base-url {url} is no address", hint="e.g. https://llm.example.edu/v1")
    name = values.get("key_variable")
    if name and not is_secret(str(name)):
        raise UsageProblem(
            f"--llm-{whose}key-variable {name}: jobs would be given it, for its name is not that of a secret",
            hint=f"a name that ends in _KEY or _TOKEN, e.g. {name}_KEY",
        )
    if values.get("key_file"):
        values["key_file"] = str(Path(values["key_file"]).expanduser().absolute())
    return values


def _served(llm: Mapping[str, Any], profile_name: str, model: str) -> LlmSettings:
    """Return the settings of a language model that a job of the search serves.

    Raises UsageProblem for options that would name another server, for several nodes, and for a model that is no folder.
    """
    for name in ("base_url", "key_file"):
        if name in llm:
            raise UsageProblem(
                f"--llm-{name.replace('_', '-')} beside --llm-serve: the search's own server is asked",
                hint="give one of them",
            )
    for role in AGENTS:
        own = llm.get(role) or {}
        if "model" in own and "base_url" not in own:
            raise UsageProblem(
                f"--llm-{role}-model {own['model']} beside --llm-serve: the search's own server has one model",
                hint=f"--llm-{role}-base-url of the server that has it, or without --llm-{role}-model",
            )
    profile = load_profile(profile_name)
    profile = profile.model_copy(update={"serve": serving_of(profile)})
    check_limits(profile, ("serve",))
    check_image(profile)
    if profile.serve is not None and profile.serve.nodes > 1:
        raise UsageProblem(
            f"profile {profile.name}: serve.nodes = {profile.serve.nodes}; a server stands on one node",
            hint="serve.nodes = 1 and as many GPUs as the model needs",
        )
    staged = stage_model(model, network=profile.network)
    if not staged.path:
        raise UsageProblem(
            f"--llm-serve {profile_name} {model}: a built-in model answers no question",
            hint="give a folder, or a hub id that was staged (hpc-trex stage --model)",
        )
    name = llm.get("model") or Path(model.partition("@")[0]).name
    served = ServedLlm(profile=profile, model=model, model_path=staged.path)
    return _settings({**llm, "model": name, "served": served})


def endpoint_words(llm: LlmSettings) -> str:
    """Return which model is asked, and where; of a served one what its job asks for."""
    words = f"{llm.model} at {_where(llm)}"
    if llm.served is not None:
        serve = serving_of(llm.served.profile)
        size = f"{serve.gpus} GPU(s)" if serve.gpus else f"{serve.cpus_per_task} CPU(s)"
        words = f"{llm.model}, served by a job on {llm.served.profile.name}: {size}, {serve.minutes} min at a time"
    for role in AGENTS:
        own = llm.of(role)
        if (own.model, own.base_url) != (llm.model, llm.base_url):
            there = f" at {_where(own)}" if own.base_url != llm.base_url else ""
            words += f"; {role}: {own.model}{there}"
    return words


def _where(llm: LlmSettings) -> str:
    return plain(llm.base_url) if llm.base_url else "the default endpoint"
