"""Single files and archives: whatever is wrong with one is a line that names it."""

from __future__ import annotations

import io
import os
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

from hpc_trex.errors import UsageProblem
from hpc_trex.staging.download import file_name, unpack
from tests.unit.staging.upstream import Upstream

Trex = Callable[..., Result]


def packed(kind: str) -> bytes:
    """Return an archive of one file that cannot be made much smaller."""
    raw, made = os.urandom(30_000), io.BytesIO()
    if kind == "zip":
        with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("set/a.jsonl", raw)
    else:
        with tarfile.open(fileobj=made, mode=f"w:{kind}") as tape:  # type: ignore[call-overload]
            entry = tarfile.TarInfo("set/a.jsonl")
            entry.size = len(raw)
            tape.addfile(entry, io.BytesIO(raw))
    return made.getvalue()


@pytest.mark.parametrize("kind", ["zip", "gz", "bz2", "xz"])
def test_an_archive_that_is_damaged_anywhere_is_said_to_be(tmp_path: Path, kind: str):
    whole = packed(kind)
    archive = tmp_path / ("a.zip" if kind == "zip" else f"a.tar.{kind}")
    seen = set()
    for start in range(12, len(whole) - 12, 1499):
        archive.write_bytes(whole[:start] + bytes(40) + whole[start + 40 :])
        try:
            unpack(archive, tmp_path, ())
        except UsageProblem as problem:
            seen.add(problem.message.split(":")[0])
    archive.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UsageProblem, match="cannot be unpacked"):
        unpack(archive, tmp_path, ())
    assert seen == {f"{archive.name} cannot be unpacked"}


def test_names_of_downloads_and_files_that_the_folders_of_a_fetch_have_too(upstream: Upstream, trex: Trex):
    upstream.web.files["/release/files"] = b"Split\tnothing that a reader knows"
    line = f'downloads.new = {{ kind = "file", url = "{upstream.web.address}/release/%s" }}'
    more = {"tables.more": 'tables.more = { from = "new", path = "set/*.jsonl" }'}
    refused = trex("ftbench", "fetch", upstream.card(**{"downloads.more": line % "files"} | more), code=2).stderr
    assert "no downloaded file is 'set/*.jsonl'; there are: files" in refused, "it came, and is another"
    trex("ftbench", "fetch", upstream.card(**{"downloads.more": line % "more.zip"} | more))
    urls = ("a/b%20c.csv?x=1", "", "a/..")
    assert [file_name(f"https://h/{url}") for url in urls] == ["b c.csv", "download", "download"]
