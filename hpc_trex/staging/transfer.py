"""The bytes of one file, from where an earlier run stopped.

The Hub's client goes on after a broken connection, but not after a killed process: it downloads to names that nobody
finds again, because locks cannot be trusted on shared disks. The claim of :mod:`hpc_trex.staging.fetch` makes one
writer, so here the name is fixed.
"""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlparse

from hpc_trex.staging.hub import RemoteFile, Wish


def bring(wish: Wish, commit: str, file: RemoteFile, folder: Path) -> None:
    """Fetch one file into ``folder`` under its own name. Raises what the Hub's client raises."""
    from huggingface_hub import constants, hf_hub_download

    target = folder / file.name
    target.parent.mkdir(parents=True, exist_ok=True)
    if file.size > constants.MAX_HTTP_DOWNLOAD_SIZE:  # only the client's own protocol takes such
        kind = "dataset" if wish.kind == "datasets" else "model"
        hf_hub_download(wish.repository, file.name, repo_type=kind, revision=commit, local_dir=folder)
        return
    part = target.with_name(f"{target.name}.part")
    if part.exists() and part.stat().st_size > file.size:
        part.unlink()
    _get(wish, commit, file, part)
    part.replace(target)


def _get(wish: Wish, commit: str, file: RemoteFile, part: Path) -> None:
    from huggingface_hub import get_hf_file_metadata, hf_hub_url
    from huggingface_hub.file_download import http_get
    from huggingface_hub.utils import build_hf_headers  # type: ignore[attr-defined] # it is in the client's own docs

    kind = "dataset" if wish.kind == "datasets" else "model"
    url = hf_hub_url(wish.repository, file.name, repo_type=kind, revision=commit)
    found = get_hf_file_metadata(url, timeout=30, retry_on_errors=True)
    headers = build_hf_headers()
    if urlparse(found.location).netloc != urlparse(url).netloc:  # large files lie elsewhere: the token is not for them
        headers.pop("authorization", None)
    with part.open("ab") as handle:
        http_get(
            found.location or url,
            handle,
            resume_size=handle.tell(),
            headers=headers,
            expected_size=file.size,
            displayed_filename=file.name,
        )
