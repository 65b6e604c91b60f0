"""``hpc-trex data export`` and ``gc --steps``: what is written can be read by others, what is deleted is nobody's."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import tomli_w
from click.testing import Result

from tests.unit.cli.conftest import read_json

Trex = Callable[..., Result]


@pytest.fixture
def kept(trex: Trex, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HPC_TREX_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    rows = [{"prompt": f"question {n} \u00e9", "answer": "yes|no"} for n in range(20)]
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    steps = [{"op": "load", "source": "a"}, {"op": "dedup"}, {"op": "split", "holdout_fraction": 0.2}]
    source = {"path": "a.jsonl", "licence": "CC-BY-4.0"}
    (tmp_path / "r.toml").write_text(tomli_w.dumps({"sources": {"a": source}, "steps": steps}))
    assert trex("data", "run", "r.toml", "--out", "kept").exit_code == 0
    return tmp_path / "kept"


@pytest.mark.parametrize("kind", ["parquet", "jsonl"])
def test_an_exported_set_is_read_by_datasets_as_its_card_says(trex: Trex, kept: Path, kind: str) -> None:
    from datasets import load_dataset, load_from_disk

    told = read_json(trex("data", "export", kept, "--to", "out", "--format", kind, "--json"))
    assert told["rows"] == {"train": 16, "validation": 4}
    read = load_dataset("out", cache_dir=str(kept.parent / "hf"))
    assert read["train"].to_list() == load_from_disk(str(kept / "rows")).to_list()
    assert read["validation"].to_list() == load_from_disk(str(kept / "holdout")).to_list()
    card = Path("out/README.md").read_text()
    assert card.startswith("---\n")
    assert "license: cc-by-4.0\n" in card
    assert "| 2 dedup | 20 | 20 | - |" in card
    assert "| a | 16 | a.jsonl | CC-BY-4.0 |" in card
    assert json.loads(Path("out/manifest.json").read_text()) == json.loads((kept / "manifest.json").read_text())


def test_an_export_is_whole_or_not_there(trex: Trex, kept: Path) -> None:
    assert trex("data", "export", "nowhere", "--to", "out").exit_code == 3
    assert trex("data", "export", kept, "--to", kept).exit_code == 2
    (kept / "holdout" / "state.json").write_text("{")
    cut = trex("data", "export", kept, "--to", "out")
    assert (cut.exit_code, "cannot be read" in cut.stderr) == (1, True)
    assert not Path("out").exists()
    assert not [path.name for path in kept.parent.iterdir() if path.name.startswith(".")]


def test_gc_tells_and_trims_the_cache_of_steps(trex: Trex, kept: Path) -> None:
    root = kept.parent / "cache" / "steps"
    entries = sorted(root.glob("*/*/entry.json"))
    assert len(entries) == 3
    looked = trex("gc", "--steps", "--steps-gb", "0", "--dry-run")
    assert looked.exit_code == 0, looked.output
    assert "beyond 0 B" in looked.stdout
    assert " 0 files" in looked.stdout.splitlines()[2], "used within the hour"
    for path in entries[:2]:
        os.utime(path, (time.time() - 7200, time.time() - 7200))
    assert "nothing was deleted" in trex("gc", "--steps", "--steps-gb", "0", "-n").stdout
    assert len(list(root.glob("*/*/entry.json"))) == 3
    done = trex("gc", "--steps", "--steps-gb", "0", "-y")
    assert (done.exit_code, "2 cached steps" in done.stdout) == (0, True)
    assert sorted(root.glob("*/*/entry.json")) == entries[2:]
    assert "there is nothing to remove" in trex("gc", "--steps").stdout
    assert trex("gc", "--steps", "--all").exit_code == 2
    assert trex("data", "run", "r.toml").exit_code == 0, "what is gone is made again"
