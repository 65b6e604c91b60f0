"""The playbook's moves as data: what ``agents/playbook/*.toml`` may say, and the reading of it.

A move is a named change of a plan: of the training (``kind = "train"``) or of the data recipe (``kind = "data"``). What
it changes is declared, never programmed, so that a site can add moves of its own in ``agents/playbook/`` of its site
folder. ``apply.py`` carries a move out; nothing here decides when.
"""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import Field, TypeAdapter, ValidationError, model_validator

from hpc_trex.errors import UsageProblem
from hpc_trex.models import LoraSettings, Record, TrainConfig
from hpc_trex.models.operators import Step
from hpc_trex.site import site_files

STEP: TypeAdapter[Step] = TypeAdapter(Step)

#: Stands for the largest trusted source that the recipe loads.
TRUSTED = "$trusted"

#: The training fields that a move may change; fields of the adapter as ``lora.NAME``.
TRAIN_FIELDS = frozenset(TrainConfig.model_fields) - {"lora"} | {f"lora.{name}" for name in LoraSettings.model_fields}

FieldName = Annotated[str, Field(pattern=r"^[a-z0-9_.]+$")]
Scalar = bool | int | float | str


def _check_field(name: str) -> None:
    if name not in TRAIN_FIELDS:
        raise ValueError(f"unknown training field {name!r}; valid: {', '.join(sorted(TRAIN_FIELDS))}")


class Multiply(Record):
    """Multiply a number of the training configuration, within bounds. A field that is not set is passed over."""

    do: Literal["multiply"]
    field: FieldName
    by: float = Field(gt=0)
    min: float
    max: float
    unset: FieldName | None = None
    """The field whose value stands in where ``field`` is not set."""

    @model_validator(mode="after")
    def _sane(self) -> Multiply:
        _check_field(self.field)
        if self.unset is not None:
            _check_field(self.unset)
        if self.min > self.max:
            raise ValueError("min is greater than max")
        return self


class Assign(Record):
    """Give a training field a value."""

    do: Literal["set"]
    field: FieldName
    value: Scalar | tuple[str, ...]

    @model_validator(mode="after")
    def _sane(self) -> Assign:
        _check_field(self.field)
        return self


class Choose(Record):
    """Take the value that follows the present one in ``values``, the first one after the last."""

    do: Literal["choose"]
    field: FieldName
    values: tuple[Scalar, ...] = Field(min_length=2)

    @model_validator(mode="after")
    def _sane(self) -> Choose:
        _check_field(self.field)
        return self


class Weigh(Record):
    """Multiply the weight of the trusted sources in the trial's mixture (without one: their share of the rows)."""

    do: Literal["weigh"]
    trusted: float = Field(gt=0)


class Insert(Record):
    """Put a step into the recipe unless it has one of that kind: at its usual place, or as the last step."""

    do: Literal["insert"]
    step: dict[str, Any]
    at: Literal["usual", "last"] = "usual"

    @model_validator(mode="after")
    def _valid_step(self) -> Insert:
        STEP.validate_python(self.step)
        return self


class Replace(Record):
    """Put a step in the place of the one of that kind; nothing happens where there is none."""

    do: Literal["replace"]
    step: dict[str, Any]

    @model_validator(mode="after")
    def _valid_step(self) -> Replace:
        STEP.validate_python(self.step)
        return self


class Remove(Record):
    """Take the last step of a kind out."""

    do: Literal["remove"]
    op: str


class Scale(Record):
    """Multiply one number of the step of a kind, within bounds."""

    do: Literal["scale"]
    op: str
    param: str
    by: float = Field(gt=0)
    min: float
    max: float


class KeepSources(Record):
    """Load only the sources that are trusted, or only those that are not."""

    do: Literal["sources"]
    keep: Literal["trusted", "untrusted"]


TrainOp = Annotated[Multiply | Assign | Choose | Weigh, Field(discriminator="do")]
DataOp = Annotated[Insert | Replace | Remove | Scale | KeepSources, Field(discriminator="do")]


class When(Record):
    """What must hold for a move to be considered. An empty one always holds."""

    method: Literal["lora", "full"] | None = None
    trusted: bool | None = None
    """The recipe loads a trusted source."""
    untrusted: bool | None = None
    """The recipe loads a source that is not trusted."""
    min_sources: int = 0
    min_rows: int = 0
    """Rows of all loaded sources together."""
    step: str | None = None
    """The recipe has a step of this kind."""


class Prior(Record):
    """What the move is expected to gain before it was tried, as a share of the search's range of scores."""

    gain: float = Field(ge=-1, le=1)
    sd: float = Field(gt=0, le=1)


class Change(Record):
    """What moves and repairs share."""

    name: str = Field(pattern=r"^[a-z][a-z0-9-]{1,39}$")
    hypothesis: str = Field(min_length=10, max_length=500)
    """Printed as the round's hypothesis; ``{trusted}`` becomes the name of the trusted source."""
    expected: str = Field(min_length=10, max_length=500)
    train: tuple[TrainOp, ...] = ()
    data: tuple[DataOp, ...] = ()

    @model_validator(mode="after")
    def _texts_can_be_filled(self) -> Change:
        for text in (self.hypothesis, self.expected):
            try:
                text.format(trusted="")
            except (KeyError, IndexError, ValueError) as error:
                raise ValueError(f"the only place-holder is {{trusted}}; found {error} in {text!r}") from error
        return self


class Move(Change):
    """One kind of change that the playbook may try."""

    kind: Literal["train", "data"]
    when: When = When()
    prior: Prior
    probe: bool = False
    """Tried once by itself at the beginning of a search."""
    order: int = 100
    """Probes are tried in this order, data and training ones apart."""
    on: tuple[str, ...] = ()
    """Probes that this one is tried on top of, unless they were seen to do harm."""
    opposite: str = ""
    """The move that undoes this one: what is learned of one counts half, with the other sign, for the other."""
    group: str = ""
    """Of the moves of a group at most one is combined; default: the fields of a training move, the name of a data move."""

    @model_validator(mode="after")
    def _kind_fits(self) -> Move:
        if bool(self.train) == bool(self.data) or bool(self.train) != (self.kind == "train"):
            raise ValueError(f"a move of kind {self.kind!r} needs the list {self.kind!r}, and no other")
        return self

    @property
    def touches(self) -> frozenset[str]:
        """The training fields that the move changes; ``mixture`` for the weights."""
        return frozenset("mixture" if isinstance(op, Weigh) else op.field for op in self.train)

    def excludes(self, other: Move) -> bool:
        """Tell whether the two change the same thing, so that only one of them can be combined with others."""
        same_group = bool(self.group) and self.group == other.group
        return self.name == other.name or same_group or bool(self.touches & other.touches)


class Repair(Change):
    """What to do about a failure class, or about a symptom of the parent's answers. Rules are tried in order."""

    when: Literal["DIVERGED", "OOM", "TIMEOUT", "DATA", "bad-format", "over-fit", "cut-rows"]

    @model_validator(mode="after")
    def _changes_something(self) -> Repair:
        if not (self.train or self.data):
            raise ValueError("a repair needs a list train or data")
        return self


class FieldRange(Record):
    """A training field as a dimension: for ``tpe`` and ``random``, and for the distance of two plans."""

    name: FieldName
    low: float | None = None
    high: float | None = None
    log: bool = False
    integer: bool = False
    around: float | None = Field(default=None, gt=1)
    """Search only from the default divided by this to the default times this."""
    choices: tuple[Scalar, ...] = ()

    @model_validator(mode="after")
    def _range_or_choices(self) -> FieldRange:
        _check_field(self.name)
        bounded = self.low is not None and self.high is not None and self.low < self.high
        if bounded == bool(self.choices):
            raise ValueError("needs either low and high (low below high) or choices")
        return self


class Switch(Record):
    """A data step as a dimension of ``tpe`` and ``random``: off, or one of the options."""

    name: str = Field(pattern=r"^[a-z][a-z0-9_]*$")
    options: tuple[dict[str, Any], ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _valid_steps(self) -> Switch:
        for option in self.options:
            if STEP.validate_python(option).op != self.name:
                raise ValueError(f"options of switch {self.name!r} must be steps of that kind")
        return self


class PlaybookFile(Record):
    """One file of ``agents/playbook/``."""

    move: tuple[Move, ...] = ()
    repair: tuple[Repair, ...] = ()
    field: tuple[FieldRange, ...] = ()
    switch: tuple[Switch, ...] = ()


class Playbook(NamedTuple):
    """All files together."""

    moves: dict[str, Move]
    repairs: tuple[Repair, ...]
    fields: tuple[FieldRange, ...]
    switches: tuple[Switch, ...]

    def probes(self, kind: str) -> list[Move]:
        """Return the probes of one kind in their order."""
        return sorted((m for m in self.moves.values() if m.probe and m.kind == kind), key=lambda m: (m.order, m.name))


def read_file(path: Path) -> PlaybookFile:
    """Read one file of moves. Raises :class:`UsageProblem` naming the file, the key and what is wrong with it."""
    try:
        return PlaybookFile.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageProblem(f"{path} is not valid TOML: {error}", hint=f"correct {path}") from error
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        reason = first["msg"].removeprefix("Value error, ")
        raise UsageProblem(
            f"{path}: {key}: {reason}", hint="docs/researchers.md lists what a move may say (section Your own moves)"
        ) from error


def load_playbook() -> Playbook:
    """Read all files of moves, shipped and the site's own; a file of the same name hides the shipped one.

    Raises :class:`UsageProblem` for a bad file, a name that is given twice and a reference to an unknown move.
    """
    origin: dict[str, Path] = {}
    moves: dict[str, Move] = {}
    rest = PlaybookFile()
    for _, path in sorted(site_files("agents", "playbook/*.toml").items()):
        content = read_file(path)
        for move in content.move:
            if move.name in origin:
                raise UsageProblem(
                    f"{path}: move {move.name!r} is there already, in {origin[move.name]}",
                    hint="to change a shipped move, copy its file under the same name into your site folder",
                )
            origin[move.name], moves[move.name] = path, move
        rest = PlaybookFile(
            repair=rest.repair + content.repair, field=rest.field + content.field, switch=rest.switch + content.switch
        )
    for move in moves.values():
        for other in (*move.on, *filter(None, [move.opposite])):
            if other not in moves:
                raise UsageProblem(
                    f"{origin[move.name]}: move {move.name!r} names the unknown move {other!r}",
                    hint=f"known: {', '.join(sorted(moves))}",
                )
    return Playbook(moves, rest.repair, rest.field, rest.switch)
