"""The training pool of a launch: the card's sources, and rows that the user brings (``--source NAME=FILE``)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from hpc_trex.errors import UsageProblem
from hpc_trex.ftbench.built import at_hand, refuse_forbidden
from hpc_trex.ftbench.cards import FORMATS, LoadedCard, load_card
from hpc_trex.ftbench.readers import data_files, read_source
from hpc_trex.ftbench.render import Renderer, RowProblem
from hpc_trex.ftbench.sealed import refuse_sealed
from hpc_trex.models import Source
from hpc_trex.models.origin import SOURCE_NAME

#: Of rows that somebody brings without a word on it.
UNKNOWN = "unknown (brought with --source)"


def load_pool(task: str, brought: Sequence[str] = (), *, trains: bool = True) -> LoadedCard:
    """Return the card of a launch, with what the user brings among its sources.

    Raises what :func:`load_card` does; :class:`UsageProblem` for a file that cannot be a source and where there is
    nothing to train on, unless nothing is to be trained (``trains``); :class:`NotFound` where the task's tables are not
    fetched.
    """
    loaded = load_card(task)
    at_hand(loaded)
    sources = dict(loaded.card.sources)
    for words in brought:
        name, source = _brought(loaded, words)
        if name in sources:
            raise UsageProblem(f"--source {words}: there is a source {name} already", hint="choose another name")
        sources[name] = source
    if trains and not sources:
        raise UsageProblem(
            f"task {loaded.card.name} has no training rows of its own",
            hint=f"bring some: hpc-trex launch --task {task} --source NAME=FILE (docs/ftbench.md)",
        )
    return loaded._replace(card=loaded.card.model_copy(update={"sources": sources}))


def _brought(loaded: LoadedCard, words: str) -> tuple[str, Source]:
    name, equals, typed = words.partition("=")
    if not equals or not typed or not SOURCE_NAME.fullmatch(name):
        raise UsageProblem(
            f"--source {words}: not NAME=FILE", hint="e.g. --source mine=rows.jsonl; letters, digits, - and _ in NAME"
        )
    if name in ("dev", "test"):
        raise UsageProblem(f"--source {words}: {name} is what the rows to measure on are called", hint="another NAME")
    path = Path(typed).expanduser().absolute()
    if not path.exists():
        raise UsageProblem(f"--source {words}: no file {path}", hint="check the path")
    if path.suffix not in FORMATS and not path.is_dir():
        raise UsageProblem(f"--source {words}: {path.name} is neither {' nor '.join(FORMATS)} nor a folder")
    files = (path, *data_files(path))
    refuse_sealed(files, f"--source {name}")
    refuse_forbidden(files, f"--source {words}")
    source = Source(path=str(path), licence=UNKNOWN)
    first = next(read_source(source, loaded.origin), None)
    if first is None:
        raise UsageProblem(f"--source {words}: {path} has no rows", hint="name a file that has rows")
    try:
        Renderer(loaded.card.prompt, str(loaded.origin))(first.columns)
    except RowProblem as problem:
        if not {"prompt", "answer"} <= first.columns.keys():
            raise UsageProblem(
                f"--source {words}: {first.where}: {problem}",
                hint="rows need the columns of the card's templates, or prompt and answer",
            ) from None
        return name, source.model_copy(update={"rendered": True})
    return name, source
