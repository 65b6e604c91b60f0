"""The places that a card's data come from: a real git repository, a real HTTP server and a Hub on loopback."""

from __future__ import annotations

import hashlib
import io
import json
import os
import stat
import subprocess
import zipfile
from pathlib import Path

from tests.unit.staging.hub import FIRST, Hub, Repository
from tests.unit.staging.web import Web

#: What the card says; git is told by its own means (url.BASE.insteadOf) where that is, as a site with a mirror does.
UPSTREAM = "https://git.example.org/lab/visits"
SEALED = "note of the sealed visit"


def rows(part: str, count: int) -> str:
    word = SEALED if part == "test" else "note of"
    return "visit,dialogue,note\n" + "".join(
        f"{part}{n},what {part} {n} said,{word} {part} {n}\n" for n in range(count)
    )


class Upstream:
    """The three places that a card's data come from, and a folder with the card."""

    def __init__(self, folder: Path, hub: Hub, web: Web) -> None:
        self.folder, self.hub, self.web = folder, hub, web
        self.repository = folder / "visits.git"
        files = {f"data/{part}.csv": rows(part, count) for part, count in (("train", 30), ("test", 10))}
        files |= {
            "data/asr/test.csv": rows("asr", 10),
            "setup.py": "raise SystemExit",
            ".gitattributes": "* text eol=crlf\n",
        }
        for name, text in files.items():
            (self.repository / name).parent.mkdir(parents=True, exist_ok=True)
            (self.repository / name).write_text(text)
        self.git("init", "-q")
        self.git("add", "-A")
        self.commit = self.committed("first")
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w") as archive:
            archive.writestr("set/more.jsonl", json.dumps({"dialogue": "what was packed", "note": "unpacked"}) + "\n")
            archive.writestr("set/other.txt", "not asked for")
        web.files = {"/release/more.zip": packed.getvalue()}
        web.refused, web.cut, web.asked = {}, {}, []
        self.sha256 = hashlib.sha256(packed.getvalue()).hexdigest()
        dev = "".join(json.dumps({"dialogue": f"what dev {n} said", "note": f"note {n}"}) + "\n" for n in range(8))
        hub.repositories = {
            "datasets/lab/visits-dev": Repository({"dev.jsonl": dev.encode(), "load.py": b"raise SystemExit"})
        }
        hub.asked = []

    def git(self, *words: str) -> str:
        own = {"GIT_CONFIG_COUNT": "0", "GIT_AUTHOR_DATE": "2026-01-01T00:00:00Z"}
        who = ("-c", "user.name=a", "-c", "user.email=a@b")
        return subprocess.run(["git", "-C", self.repository, *who, *words], env=os.environ | own, check=True,
                              capture_output=True, text=True).stdout.strip()  # fmt: skip

    def committed(self, message: str) -> str:
        self.git("commit", "-q", "-a", "-m", message)
        return self.git("rev-parse", "HEAD")

    def card(self, **replaced: str) -> Path:
        """Write the card with some of its lines replaced, by what they begin with."""
        text = f"""
name = "visits"
licence = "CC-BY-4.0"
training_allowed = true
downloads.repo = {{ kind = "git", url = "{UPSTREAM}", revision = "{self.commit}", paths = ["data/*.csv"], licence = "CC-BY-4.0" }}
downloads.dev = {{ kind = "hub", id = "lab/visits-dev", revision = "{FIRST[:8]}", paths = ["dev.jsonl"], licence = "MIT" }}
downloads.more = {{ kind = "file", url = "{self.web.address}/release/more.zip", sha256 = "{self.sha256}", paths = ["set/*.jsonl"] }}
tables.train = {{ from = "repo", path = "data/train.csv" }}
tables.more = {{ from = "more" }}
tables.dev = {{ from = "dev" }}
tables.test = {{ from = "repo", path = "data/test.csv" }}
sources.train = {{ table = "train" }}
sources.more = {{ table = "more", licence = "CC0-1.0" }}
dev = {{ table = "dev" }}
test = {{ table = "test" }}
prompt = {{ prompt = "{{{{ dialogue }}}}", answer = "{{{{ note }}}}" }}
metric = {{ name = "rouge1", max_new_tokens = 8 }}
"""
        lines = [replaced.get(line.split(" =")[0], line) for line in text.strip().splitlines()]
        path = self.folder / "card.toml"
        path.write_text("\n".join(lines) + "\n")
        return path

    def line(self, key: str) -> str:
        return next(line for line in self.card().read_text().splitlines() if line.startswith(f"{key} ="))


def nothing_in_place(stage: Path) -> None:
    """After a refusal there is no table and no lock, and what was downloaded is in a folder that only its owner enters."""
    assert not list(stage.glob("ftbench/*/*/manifest.json"))
    assert not list(stage.rglob("*.claim"))
    for partial in stage.glob("ftbench/*/*.partial"):
        assert stat.S_IMODE(partial.stat().st_mode) == 0o700
