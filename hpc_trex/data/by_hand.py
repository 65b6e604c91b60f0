"""Run a data recipe without a search: its sources from a task card, or from the recipe's own file.

A recipe file is TOML or JSON with ``steps`` and ``seed`` and, where no card is given, ``sources`` as in a card and,
if wanted, ``prompt``, ``dev``, ``test`` and ``licence``. Sources are read and rendered row by row, so that a set larger
than memory passes; what stands in dev or test is dropped by the decontamination at the end, as in a search.
"""

from __future__ import annotations

import contextlib
import json
import secrets
import shutil
import tempfile
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from hpc_trex.data.errors import DataProblem, NeedsAnswers
from hpc_trex.errors import NotFound, UsageProblem
from hpc_trex.files import write_record
from hpc_trex.ftbench.built import at_hand, refuse_forbidden
from hpc_trex.ftbench.cards import LoadedCard, load_card, source_path
from hpc_trex.ftbench.materialise import block_text, kind_of
from hpc_trex.ftbench.options import Options
from hpc_trex.ftbench.problems import read_toml, validated
from hpc_trex.ftbench.readers import data_files, read_source
from hpc_trex.ftbench.render import Renderer, RowProblem
from hpc_trex.ftbench.rows import Row
from hpc_trex.ftbench.sealed import refuse_sealed
from hpc_trex.ftbench.splits import read_split
from hpc_trex.layout import cache
from hpc_trex.models import DataRecipe, Heartbeat, JobKind, JobSandbox, JobSpec, ModelRef, Prompt, Source, TaskCard
from hpc_trex.models.asking import RowQuestion
from hpc_trex.models.operators import FilterSimilar, Load, Mix

Ask = Callable[[tuple[RowQuestion, ...]], Path]

#: Keys of a recipe file that belong to a card; with a card of its own none of them may stand there.
CARD_KEYS = ("name", "licence", "sources", "prompt", "dev", "test")


class Alone(NamedTuple):
    """A recipe, and the card that its sources come from."""

    recipe: DataRecipe
    loaded: LoadedCard
    guarded: bool
    """There is a dev and a test split to keep apart from."""


def read_recipe(path: Path, task: str | None) -> Alone:
    """Return a recipe file's recipe and card.

    Raises :class:`NotFound` for a file that is not there and :class:`UsageProblem` for one that is wrong, naming the key.
    """
    raw = _read(path)
    own = {key: raw.pop(key) for key in CARD_KEYS if key in raw}
    recipe = validated(DataRecipe, raw, str(path))
    if task is not None:
        if "sources" in own:
            raise UsageProblem(f"{path}: sources stand here and in the card {task}", hint="leave --task out, or them")
        loaded, guarded = load_card(task), True
    else:
        loaded, guarded = _own_card(own, path)
    _check_names(recipe, loaded.card, path)
    return Alone(recipe, loaded, guarded)


def first_rows(alone: Alone) -> dict[str, Row]:
    """Return the first row of each source that is loaded: that it is there and fits the templates."""
    render = Renderer(alone.loaded.card.prompt, str(alone.loaded.origin))
    sources = at_hand(alone.loaded).sources
    found = {}
    for name in _loaded(alone.recipe):
        rows = _rendered(name, sources[name], render, alone.loaded.origin)
        first = next(rows, None)
        if first is None:
            raise UsageProblem(f"{alone.loaded.origin}: {name} has no rows", hint="name a file or split that has rows")
        found[name] = first
    return found


def run_alone(
    alone: Alone,
    *,
    base: str | None,
    sample: int | None,
    out: Path | None,
    watch: Any,
    beat: Callable[[Heartbeat], None],
    ask: Ask | None = None,
) -> dict[str, object]:
    """Run a recipe on the first ``sample`` rows of each source, or all; write the set to ``out``, or nowhere.

    ``base``: folder of the model that some steps ask. ``ask`` has a language model answer the questions of others, and
    returns the file of its answers. Returns the manifest.
    """
    from hpc_trex.data.operators import judged

    asks = next((step for step in alone.recipe.steps if judged(step)), None)
    if asks is not None and base is None:
        raise UsageProblem(f"{asks.op} asks the base model", hint="name its folder: --base FOLDER")
    if base is not None and not (Path(base).expanduser() / "config.json").is_file():
        raise NotFound(f"no model in {base}", hint="a folder in transformers' format: config.json, tokenizer, weights")
    if out is not None and out.exists():
        raise UsageProblem(f"{out} exists", hint="name a new folder")
    with _work(out) as work:
        spec = _spec(alone, work, base, sample, out or work / "set")
        return _answered(spec, watch, beat, ask)


def _answered(spec: JobSpec, watch: Any, beat: Callable[[Heartbeat], None], ask: Ask | None) -> dict[str, object]:
    """Run the recipe as often as it has questions; a step that was told once is not told again."""
    from hpc_trex.data.prepare import prepare

    told = 0

    def new(seen: Any) -> None:
        nonlocal told
        if seen.entry["step"] > told:
            told = seen.entry["step"]
            watch(seen)

    while True:
        try:
            return prepare(spec, beat, None if watch is None else new)
        except NeedsAnswers as wanted:
            if ask is None:
                raise UsageProblem(wanted.message, hint="name it: --llm-model NAME --llm-base-url URL") from None
            spec = spec.model_copy(update={"answers": (*spec.answers, str(ask(wanted.questions)))})


def _read(path: Path) -> dict[str, Any]:
    if path.suffix != ".json":
        return read_toml(path)
    try:
        value = json.loads(path.read_bytes().decode("utf-8"))
    except FileNotFoundError:
        raise NotFound(f"no file {path}", hint="check the path") from None
    except OSError as error:
        raise UsageProblem(f"cannot read {path}: {error.strerror}", hint="check the path and its mode") from None
    except UnicodeDecodeError as error:
        raise UsageProblem(f"{path}: not UTF-8 text (byte {error.start})", hint="save it as UTF-8") from None
    except (ValueError, RecursionError) as error:
        raise UsageProblem(f"{path}: not valid JSON: {error}", hint="see docs/data-recipes.md") from None
    if not isinstance(value, dict):
        raise UsageProblem(f"{path}: a JSON {type(value).__name__}, not an object", hint='{"steps": [...], "seed": 0}')
    return value


def _own_card(own: dict[str, Any], path: Path) -> tuple[LoadedCard, bool]:
    if "sources" not in own:
        raise UsageProblem(f"{path} names no sources", hint="add [sources.NAME] with path, or give a card: --task CARD")
    if ("dev" in own) != ("test" in own):
        raise UsageProblem(f"{path}: dev and test go together", hint="give both, or neither")
    guarded = "dev" in own
    if not guarded:  # a card has both; they are not read
        own = {**own, "dev": {"path": "none"}, "test": {"path": "none"}}
    card = validated(TaskCard, {"name": "recipe", **own}, str(path))
    for name in card.sources:
        if not name.replace("-", "").replace("_", "").isalnum():
            raise UsageProblem(
                f"{path}: sources.{name}: the name of a source becomes a file name", hint="letters, digits, - and _"
            )
    return LoadedCard(card, path.absolute()), guarded


def _check_names(recipe: DataRecipe, card: TaskCard, path: Path) -> None:
    """Refuse a source that the card does not have, before anything is read."""
    for number, step in enumerate(recipe.steps, start=1):
        named: list[str] = []
        if isinstance(step, Load):
            named = [step.source]
        elif isinstance(step, FilterSimilar):
            named = [step.reference]
        elif isinstance(step, Mix):
            named = [*step.weights, *(step.caps or {})]
        for name in named:
            if name not in card.sources:
                raise UsageProblem(
                    f"{path}: step {number} ({step.op}): no source {name!r}",
                    hint=f"sources: {', '.join(sorted(card.sources))}",
                )


def _loaded(recipe: DataRecipe) -> list[str]:
    names = [step.source for step in recipe.steps if isinstance(step, Load)]
    names += [step.reference for step in recipe.steps if isinstance(step, FilterSimilar)]
    return list(dict.fromkeys(names))


def _rendered(name: str, source: Source, render: Renderer, origin: Path) -> Iterator[Row]:
    if source.rendered:
        render = Renderer(Prompt(), str(origin))
    _refuse(name, source, origin)
    for raw in read_source(source, origin):
        try:
            prompt, answer = render(raw.columns)
        except RowProblem as problem:
            raise UsageProblem(
                f"{raw.where}: {problem}", hint="mend the row, the templates under prompt, or the source's shape"
            ) from None
        yield Row(f"{name}:{raw.line}", prompt, answer, name)


def _refuse(name: str, source: Source, origin: Path) -> None:
    """Raise :class:`UsageProblem` for files that are not for this use."""
    if source.path is None or name == "test":
        return
    files = data_files(source_path(source, origin))
    refuse_sealed(files, f"{origin}: {name}")
    if name != "dev":
        refuse_forbidden(files, f"{origin}: {name}")


def _guard(card: TaskCard, readable: TaskCard, render: Renderer, origin: Path) -> str:
    """Return the block list of the card's dev and test."""
    _refuse("dev", readable.dev, origin)
    options = Options(card.metric, str(origin))
    placed = [
        *read_split("dev", readable.dev, render, origin, options),
        *read_split("test", readable.test, render, origin, options),
    ]
    kinds = [kind_of(one.more, card.metric) for one in placed]
    return block_text([one.row for one in placed], kinds, similar=card.contamination.similar)


@contextlib.contextmanager
def _work(out: Path | None) -> Iterator[Path]:
    """Give a folder for the rendered sources: beside the set, where there is room for it, else a temporary one."""
    if out is None:
        with tempfile.TemporaryDirectory(prefix="hpc-trex-data-") as folder:
            yield Path(folder)
        return
    work = out.absolute().with_name(f".{out.name}-work-{secrets.token_hex(4)}")
    try:
        work.mkdir(parents=True)
    except (FileNotFoundError, NotADirectoryError, FileExistsError) as error:
        raise UsageProblem(f"no folder can be made at {out}: {error.strerror}", hint="name another --out") from None
    try:
        yield work
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _spec(alone: Alone, work: Path, base: str | None, sample: int | None, target: Path) -> JobSpec:
    card, origin = alone.loaded
    readable = at_hand(alone.loaded)
    render = Renderer(card.prompt, str(origin))
    sources = {}
    for name in _loaded(alone.recipe):
        path = work / f"{name}.jsonl"
        with path.open("w", encoding="utf-8", newline="\n") as handle:
            for row in islice(_rendered(name, readable.sources[name], render, origin), sample):
                handle.write(json.dumps(row._asdict(), ensure_ascii=False) + "\n")
        if not path.stat().st_size:
            raise DataProblem(f"{origin}: {name} has no rows", hint="name a file or split that has rows")
        sources[name] = str(path)
    block = []
    if alone.guarded:
        block = [work / "block.txt"]
        block[0].write_text(_guard(card, readable, render, origin), encoding="utf-8")
    write_record(work / "card.json", card)
    model = Path(base).expanduser().absolute() if base else work / "no-model"
    return JobSpec(
        kind=JobKind.PREPARE,
        token="by-hand",  # noqa: S106 - a job's name, no secret
        search="by-hand",
        node=0,
        trial=0,
        attempt=1,
        attempt_dir=str(work),
        task_card=str(work / "card.json"),
        sources=sources,
        block_rows=tuple(map(str, block)),
        base=ModelRef(name=base or "none", path=str(model)),
        data=alone.recipe,
        data_dir=str(target.absolute()),
        cache_dir=str(cache()),
        sandbox=JobSandbox(allowed=True),  # whoever types the command has read the recipe; the walls stand all the same
    )
