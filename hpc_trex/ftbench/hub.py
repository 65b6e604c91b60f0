"""Hugging Face data sets, always at a pinned commit and always read from the snapshot's folder.

``datasets.load_dataset`` is not used: offline it silently serves another revision than the one that was asked for.
"""

from __future__ import annotations

import re
import ssl
import urllib.error
import urllib.request
from pathlib import Path

from hpc_trex.errors import CredentialsMissing, EnvironmentProblem, NotFound, UsageProblem
from hpc_trex.layout import staged_folder
from hpc_trex.models import Source

#: Only data and its description are fetched, never scripts or weights.
WANTED = ["*.parquet", "*.jsonl", "README.md"]


def split_files(source: Source) -> list[Path]:
    """Return the files of ``source.split`` in the snapshot of the pinned commit, in the order of their shards.

    Raises :class:`EnvironmentProblem` without network, :class:`CredentialsMissing` for a gated data set,
    :class:`NotFound` for an unknown one and :class:`UsageProblem` where the split cannot be told from the file names.
    """
    folder = _snapshot(source)
    files = sorted(path for path in folder.rglob("*") if path.suffix in (".parquet", ".jsonl"))
    token = re.compile(rf"(^|[/_.-]){re.escape(source.split or '')}([/_.-]|$)")
    found = [path for path in files if token.search(path.relative_to(folder).as_posix())]
    # ``test`` is not ``test_hard``: files that are named exactly so are the split, where there are such.
    exact = re.compile(rf"{re.escape(source.split or '')}(-\d+-of-\d+(-[0-9a-f]+)?)?")
    found = [path for path in found if exact.fullmatch(path.stem)] or found
    names = ", ".join(path.relative_to(folder).as_posix() for path in files[:8]) or "no parquet or jsonl file"
    if not found:
        raise UsageProblem(
            f"data set {source.hub}: no file of the split {source.split!r}; it has: {names}",
            hint="correct split, or fetch and convert the data and name the file with path",
        )
    if len({(path.parent, path.suffix) for path in found}) > 1:
        raise UsageProblem(
            f"data set {source.hub}: several configurations have a split {source.split!r}: {names}",
            hint="fetch it (hf download) and name the one file with path",
        )
    return found


def _snapshot(source: Source) -> Path:
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

    name = f"data set {source.hub} at {(source.revision or '')[:12]}"
    assert source.hub is not None
    found = local_folder(source)
    if found is not None:
        return found
    try:
        folder = snapshot_download(
            source.hub,
            repo_type="dataset",
            revision=source.revision,
            allow_patterns=WANTED,
            local_files_only=not reachable(),
        )
    except HFValidationError as error:
        raise UsageProblem(f"{source.hub!r} is no data set id: {error}", hint="an id looks like owner/name") from None
    except GatedRepoError:
        raise CredentialsMissing(
            f"{name} is gated: its terms must be accepted first",
            hint=f"accept them at https://huggingface.co/datasets/{source.hub}, then: hf auth login",
        ) from None
    except RepositoryNotFoundError:
        raise NotFound(f"{name} does not exist or is private", hint="check the id; if private: hf auth login") from None
    except RevisionNotFoundError:
        raise NotFound(f"{name}: no such commit", hint="take the 40-digit commit from the page's history") from None
    except (LocalEntryNotFoundError, OfflineModeIsEnabled, HfHubHTTPError, OSError) as error:
        raise EnvironmentProblem(
            f"cannot fetch {name}: {_first_line(error)}",
            hint=f"fetch it where there is network: hpc-trex stage --dataset {source.hub}@{source.revision}",
        ) from None
    path = Path(folder)
    if path.name != source.revision:
        raise EnvironmentProblem(f"{name}: the cache served {path.name} instead", hint=f"remove {path} and try again")
    return path


def local_folder(source: Source) -> Path | None:
    """Return the folder of the pinned commit that is on this machine: staged, or whole in the Hub client's cache.

    The network is not asked: a commit never changes.
    """
    assert source.hub is not None
    assert source.revision is not None
    staged = staged_folder("datasets", source.hub, source.revision)
    if staged is not None:
        return staged
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

    try:
        folder = snapshot_download(
            source.hub, repo_type="dataset", revision=source.revision, allow_patterns=WANTED, local_files_only=True
        )
    except (HFValidationError, LocalEntryNotFoundError, OSError):
        return None
    return Path(folder) if Path(folder).name == source.revision else None


def reachable() -> bool:
    """Return whether the Hub answers at all. Its own client tries for half a minute before it gives up."""
    from huggingface_hub import constants

    request = urllib.request.Request(constants.ENDPOINT, method="HEAD")  # noqa: S310 - the user's HF_ENDPOINT
    try:
        with urllib.request.urlopen(request, timeout=5):  # noqa: S310
            return True
    except urllib.error.HTTPError:
        return True
    except urllib.error.URLError as error:
        # Somebody answers, with a certificate that only the Hub's client may know.
        return isinstance(error.reason, ssl.SSLError)
    except OSError:
        return False


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
