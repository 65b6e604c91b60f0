"""Find the base model on disk, or bring it from the Hugging Face Hub, before any job is submitted.

Runs on the login node, without torch. Jobs are offline: what is not here when they start is not to be had.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from hpc_trex.builtin import BUILTIN_MODELS
from hpc_trex.errors import CredentialsMissing, EnvironmentProblem, NotFound, UsageProblem
from hpc_trex.models import digest
from hpc_trex.staging.manifests import find_staged

BUILTIN = "builtin:"


class StagedModel(NamedTuple):
    """A base model: ``path`` is empty for a built-in one, which the search's first job makes."""

    name: str
    path: str
    digest: str


def stage_model(name: str, *, network: str = "login") -> StagedModel:
    """Resolve what the user typed after ``--model``: ``builtin:NAME``, a folder, or a hub id (with ``@revision``).

    A hub id that was staged is taken from there, without asking the network; with ``network = "none"`` (the profile's
    class) it has to be on this machine.

    Raises UsageProblem (not a model folder), NotFound (exit 3), CredentialsMissing (exit 4) or EnvironmentProblem
    (no network, exit 8), each in one line.
    """
    if name.startswith(BUILTIN):
        return _builtin(name)
    folder = Path(name).expanduser()
    if folder.exists():
        return _folder(name, folder.absolute())
    if name.startswith((".", "/", "~")) or name.count("/") > 1:
        raise NotFound(f"model folder {name} does not exist", hint="give a folder with config.json, or a hub id")
    repository, _, revision = name.partition("@")
    found = find_staged("models", repository, revision)
    if found is not None:
        return _folder(name, found.paths.folder)
    return _hub(name, local_only=network == "none")


def _builtin(name: str) -> StagedModel:
    known = BUILTIN_MODELS
    if name.removeprefix(BUILTIN) not in known:
        raise NotFound(f"unknown built-in model {name}", hint=f"built in: {', '.join(BUILTIN + key for key in known)}")
    return StagedModel(name, "", digest({"builtin": name.removeprefix(BUILTIN)}))


def _folder(name: str, folder: Path) -> StagedModel:
    config = folder / "config.json"
    if not config.is_file():
        raise UsageProblem(
            f"{folder} is not a model folder: it has no config.json",
            hint="give the folder that save_pretrained wrote (config.json, *.safetensors, tokenizer files)",
        )
    weights = sorted(folder.glob("*.safetensors")) + sorted(folder.glob("*.bin"))
    if not weights:
        raise UsageProblem(f"{folder} has no weights (*.safetensors)", hint="was the download complete?")
    if not any((folder / file).is_file() for file in ("tokenizer.json", "tokenizer_config.json", "tokenizer.model")):
        raise UsageProblem(f"{folder} has no tokenizer files", hint="save the tokenizer into the same folder")
    # Hashing gigabytes on a login node is not polite: configuration, file names and sizes tell models apart.
    sizes = {file.name: file.stat().st_size for file in weights}
    return StagedModel(name, str(folder), digest({"config": config.read_text(), "weights": sizes}))


def _hub(name: str, *, local_only: bool) -> StagedModel:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import (
        GatedRepoError,
        HfHubHTTPError,
        HFValidationError,
        LocalEntryNotFoundError,
        OfflineModeIsEnabled,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    repository, _, revision = name.partition("@")
    wanted = ["*.json", "*.safetensors", "*.model", "*.txt", "*.jinja"]
    try:
        folder = snapshot_download(
            repository, revision=revision or None, allow_patterns=wanted, etag_timeout=5, local_files_only=local_only
        )
    except HFValidationError as error:
        raise UsageProblem(f"{name} is neither a folder nor a hub id", hint="e.g. Qwen/Qwen3-1.7B") from error
    except GatedRepoError as error:
        raise CredentialsMissing(f"{repository} is gated", hint="accept its terms, then: hf auth login") from error
    except RevisionNotFoundError as error:
        raise NotFound(f"{repository} has no revision {revision}") from error
    except RepositoryNotFoundError as error:
        raise NotFound(f"the hub has no model {repository}, or it is private", hint="hf auth login") from error
    except (LocalEntryNotFoundError, OfflineModeIsEnabled, HfHubHTTPError, OSError) as error:
        raise EnvironmentProblem(
            f"model {repository} is not on this machine and the Hugging Face Hub cannot be reached",
            hint=f"where there is network: hpc-trex stage --model {name} --into FOLDER; bring FOLDER here, then: "
            "export HPC_TREX_STAGE=FOLDER (docs/staging.md)",
        ) from error
    return _folder(name, Path(folder))
