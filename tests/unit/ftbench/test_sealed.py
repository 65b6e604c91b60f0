"""The sealed test: what of a search, or of a recipe by hand, may read it. Each way that leads there is tried."""

from __future__ import annotations

import json
import os
import shutil
import stat
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

import pytest

from hpc_trex.data.by_hand import read_recipe, run_alone
from hpc_trex.data.errors import DataProblem
from hpc_trex.data.prepare import prepare
from hpc_trex.errors import UsageProblem
from hpc_trex.files import read_record
from hpc_trex.ftbench.cards import load_card
from hpc_trex.ftbench.materialise import materialise
from hpc_trex.ftbench.sealed import is_sealed
from hpc_trex.job.files import Outcome, outcome_path
from hpc_trex.job.worker import work
from hpc_trex.layout import AttemptPaths, SearchPaths
from hpc_trex.models import DataRecipe, FailureClass, JobKind, JobSandbox, JobSpec, ModelRef

SPLITS = ("curated", "dev", "test")
MINE = """name = "mine"
sources = { curated = { path = "curated.jsonl" } }
dev = { path = "dev.jsonl" }
test = { path = "test.jsonl" }
"""


def written(root: Path) -> SearchPaths:
    """Return a search with a task of three rows a split."""
    (root / "task").mkdir(parents=True)
    for split in SPLITS:
        rows = [json.dumps({"prompt": f"{split} {number}", "answer": "yes"}) for number in range(3)]
        (root / "task" / f"{split}.jsonl").write_text("\n".join(rows))
    (root / "task" / "card.toml").write_text(MINE)
    paths = SearchPaths(root / "search")
    materialise(load_card(str(root / "task" / "card.toml")), paths)
    return paths


class World(NamedTuple):
    """A search with its task, and the ways to its sealed test."""

    paths: SearchPaths
    outside: Path

    def way(self, kind: str) -> Path:
        """Return a path that leads to the test: itself, or a link outside the search."""
        test, link = self.paths.test, self.outside / f"{kind}.jsonl"
        if kind == "itself":
            return test
        if kind == "dots":
            return self.paths.root / "task" / ".." / "sealed" / test.name
        if kind == "symbolic":
            link.symlink_to(test)
        elif kind == "folder":
            (self.outside / "rows").symlink_to(test.parent)
            return self.outside / "rows" / test.name
        else:
            os.link(test, link)
        return link

    def spec(self, **fields: object) -> JobSpec:
        attempt = self.outside / "attempt"
        attempt.mkdir(exist_ok=True)
        given = {
            "kind": JobKind.PREPARE,
            "token": "t",
            "search": "s",
            "node": 1,
            "trial": 0,
            "attempt": 1,
            "attempt_dir": str(attempt),
            "task_card": str(self.paths.card),
            "sources": {path.stem: str(path) for path in self.paths.sources.iterdir()},
            "block_rows": (str(self.paths.block),),
            "base": ModelRef(name="none", path=str(self.outside)),
            "data": DataRecipe(steps=({"op": "load", "source": "curated"},)),
            "data_dir": str(self.outside / "data"),
            "cache_dir": str(self.outside / "cache"),
        }
        return JobSpec.model_validate(given | fields)


@pytest.fixture
def world(tmp_path: Path) -> World:
    paths = written(tmp_path)
    (tmp_path / "outside").mkdir()
    return World(paths, tmp_path / "outside")


WAYS = ("itself", "dots", "symbolic", "folder", "hard")


@pytest.mark.parametrize("way", WAYS)
def test_every_way_to_the_file_is_known(world: World, way: str) -> None:
    assert is_sealed(world.way(way), world.paths.test)
    assert not is_sealed(world.paths.dev, world.paths.test)
    assert not is_sealed(world.outside / "nothing", world.paths.test)


def test_a_folder_that_happens_to_have_the_name_is_nobodys_test(tmp_path: Path) -> None:
    (tmp_path / "sealed").mkdir()
    (tmp_path / "sealed" / "rows.jsonl").write_text("{}\n")
    assert not is_sealed(tmp_path / "sealed" / "rows.jsonl")


def outcome(world: World, spec: JobSpec) -> Outcome:
    work(spec, 0)
    found = read_record(outcome_path(AttemptPaths(Path(spec.attempt_dir))), Outcome)
    assert found is not None
    return found


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("field", ["sources", "eval_rows", "data_dir"])
def test_a_job_whose_spec_leads_there_is_refused_before_it_reads(world: World, way: str, field: str) -> None:
    """Whoever writes a spec by hand: an operator, a repair, an edited file."""
    place = str(world.way(way))
    kind = JobKind.BASELINE if field == "eval_rows" else JobKind.PREPARE
    spec = world.spec(kind=kind, **{field: {"curated": place} if field == "sources" else place})
    result = outcome(world, spec).result
    assert (result.state, result.failure) == ("failed", FailureClass.CONFIG)
    assert "is a sealed test, which is read by the final evaluation only" in result.message


def test_only_the_job_of_the_final_evaluation_is_let_in(world: World) -> None:
    """It gets as far as the model, of which there is none here."""
    spec = world.spec(kind=JobKind.TEST, eval_rows=str(world.paths.test), data=None)
    assert "sealed" not in outcome(world, spec).result.message


@pytest.mark.parametrize("name", ["itself", "sealed", "../sealed/test", "test"])
def test_a_recipe_loads_sources_by_their_names_and_nothing_by_a_path(world: World, name: str) -> None:
    source = str(world.paths.test) if name == "itself" else name
    spec = world.spec(data=DataRecipe(steps=({"op": "load", "source": source},)))
    with pytest.raises(DataProblem, match="no training source"):
        prepare(spec, lambda _: None)


def test_code_of_an_agent_does_not_find_it(world: World) -> None:
    code = f"def transform(row):\n    return {{**row, 'answer': open({str(world.paths.test)!r}).read()}}\n"
    steps = ({"op": "load", "source": "curated"}, {"op": "python", "code": code})
    spec = world.spec(data=DataRecipe(steps=steps), sandbox=JobSandbox(allowed=True))
    with pytest.raises(DataProblem, match="FileNotFoundError"):
        prepare(spec, lambda _: None)


CARD = """name = "thief"
sources = {{ curated = {{ path = "{source}" }} }}
dev = {{ path = "{dev}" }}
test = {{ path = "{test}" }}
"""


@pytest.mark.parametrize("part", ["source", "dev", "test"])
@pytest.mark.parametrize("way", ["itself", "symbolic", "folder"])
def test_a_card_cannot_name_the_test_of_a_search(world: World, part: str, way: str) -> None:
    """Not as its test either: that would be an opening that nobody records."""
    places = {name: str(world.paths.dev) for name in ("source", "dev", "test")}
    places[part] = str(world.way(way))
    (world.outside / "card.toml").write_text(CARD.format(**places))
    with pytest.raises(UsageProblem, match="is a sealed test"):
        load_card(str(world.outside / "card.toml"))


def test_a_card_cannot_name_a_folder_that_the_test_is_in(world: World) -> None:
    (world.outside / "card.toml").write_text(
        CARD.format(source=world.paths.root, dev=world.paths.dev, test=world.paths.dev)
    )
    with pytest.raises(UsageProblem, match="is a sealed test"):
        load_card(str(world.outside / "card.toml"))


def test_a_recipe_by_hand_cannot_either(world: World) -> None:
    recipe = world.outside / "recipe.toml"
    recipe.write_text(
        f'steps = [{{ op = "load", source = "a" }}]\n[sources.a]\npath = "{world.way("symbolic")}"\n', encoding="utf-8"
    )
    with pytest.raises(UsageProblem, match="is a sealed test"):
        run_alone(read_recipe(recipe, None), base=None, sample=None, out=None, watch=None, beat=lambda _: None)


def test_its_folder_is_closed_to_other_users(world: World) -> None:
    assert stat.S_IMODE(world.paths.test.parent.stat().st_mode) == 0o700
    assert stat.S_IMODE(world.paths.test.stat().st_mode) == 0o600


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can try it as another user; the modes are tested above")
def test_another_user_is_refused_by_the_system() -> None:
    """In a folder that everybody may enter: the one wall is that of the sealed folder."""
    root = Path(tempfile.mkdtemp(prefix="hpc-trex-sealed-"))
    try:
        root.chmod(0o755)
        paths = written(root)
        for folder in (paths.root, paths.card.parent):
            folder.chmod(0o755)
        paths.dev.chmod(0o644)
        read = "import os, sys; os.setgid(65534); os.setuid(65534); open(sys.argv[1]).read()"
        ran = [
            subprocess.run([sys.executable, "-c", read, str(path)], capture_output=True, text=True, check=False)
            for path in (paths.dev, paths.test)
        ]
        assert ran[0].returncode == 0, ran[0].stderr
        assert "PermissionError" in ran[1].stderr
    finally:
        shutil.rmtree(root)
