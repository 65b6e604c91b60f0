"""TOMG-Bench: one CSV a subtask, each with columns of its own, become rows of one shape (task tomg-bench)."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from hpc_trex.ftbench.upstream.files import wrong

#: File name -> the columns that say what is asked for beside ``Instruction``: counts of a new molecule, or an edit of one.
COUNTS = {
    "MolCustom_AtomNum": [
        "carbon",
        "oxygen",
        "nitrogen",
        "sulfur",
        "fluorine",
        "chlorine",
        "bromine",
        "iodine",
        "phosphorus",
        "boron",
        "silicon",
        "selenium",
        "tellurium",
        "arsenic",
        "antimony",
        "bismuth",
        "polonium",
    ],
    "MolCustom_BondNum": ["single", "double", "triple", "rotatable", "aromatic"],
    "MolCustom_FunctionalGroup": [
        "benzene rings",
        *[
            "hydroxyl",
            "anhydride",
            "aldehyde",
            "ketone",
            "carboxyl",
            "ester",
            "amide",
            "amine",
            "nitro",
            "halo",
            "nitrile",
            "thiol",
            "sulfide",
            "disulfide",
            "sulfoxide",
            "sulfone",
            "borane",
        ],
    ],
}
EDITS = {
    "MolEdit_AddComponent": ("molecule", "added_group"),
    "MolEdit_DelComponent": ("molecule", "removed_group"),
    "MolEdit_SubComponent": ("molecule", "added_group", "removed_group"),
    "MolOpt_LogP": ("molecule",),
    "MolOpt_MR": ("molecule",),
    "MolOpt_QED": ("molecule",),
}


def read_tomg(paths: Sequence[Path]) -> Iterator[dict[str, Any]]:
    """Yield the rows of the subtasks' files, each with the same columns, empty where a subtask has no such.

    ``subtask``, ``Instruction``, ``molecule`` (to be edited), ``added_group``, ``removed_group``, ``wanted`` (counts by name,
    also those of which there should be none), ``goal`` (all that in one line of text) and ``request``, the instruction with
    its molecules in RDKit's spelling. Raises :class:`UsageProblem` naming file and line for a file that is no subtask's, a
    missing column and a count that is no whole number, :class:`EnvironmentProblem` where rdkit lacks.
    """
    from hpc_trex.ftbench.molecules import respelled  # rdkit, of an extra

    for path in paths:
        if path.stem not in (*COUNTS, *EDITS):
            raise wrong(str(path), f"the file of no subtask; those are {', '.join((*COUNTS, *EDITS))}")
        subtask = path.stem.partition("_")[2]
        for where, row in _rows(path):
            columns = {name: _text(row, name, where) for name in ("Instruction", *EDITS.get(path.stem, ()))}
            wanted = {name: _count(row, name, where) for name in COUNTS.get(path.stem, ())}
            yield {
                "subtask": subtask,
                "molecule": "",
                "added_group": "",
                "removed_group": "",
                **columns,
                "wanted": wanted,
                "goal": _goal(subtask, columns, wanted),
                "request": respelled(columns["Instruction"]),
            }


def read_openmolins(paths: Sequence[Path]) -> Iterator[dict[str, Any]]:
    """Yield the training rows with ``request`` as :func:`read_tomg` makes it. Raises as that does."""
    from hpc_trex.ftbench.molecules import respelled  # rdkit, of an extra

    for path in paths:
        for where, row in _rows(path):
            columns = {name: _text(row, name, where) for name in ("SubTask", "Instruction", "molecule")}
            yield {**columns, "request": respelled(columns["Instruction"])}


def _rows(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield place and columns of each line of a CSV file. A column without a name is the row's number, as pandas writes it."""
    with path.open(encoding="utf-8-sig", newline="") as handle:
        table = csv.DictReader(handle, strict=True)
        try:
            for row in table:
                where = f"{path}:{table.line_num}"
                if None in row or None in row.values():
                    raise wrong(where, f"not {len(table.fieldnames or ())} values, as the header names")
                yield where, row
        except (csv.Error, UnicodeDecodeError) as error:
            raise wrong(f"{path}:{table.line_num}", f"not valid CSV: {error}") from None


def _goal(subtask: str, columns: Mapping[str, str], wanted: Mapping[str, int]) -> str:
    """Return what a person who reads a case wants to see instead of a right answer: there are many."""
    counts = [f"{count} {name}" for name, count in wanted.items() if count]
    edits = [f"{name} {value}" for name, value in columns.items() if name != "Instruction"]
    return f"{subtask}: {', '.join(counts or edits) or 'none of the counted'}"


def _text(columns: Mapping[str, Any], name: str, where: str) -> str:
    value = columns.get(name)
    if not isinstance(value, str) or not value.strip():
        raise wrong(where, f"no text in the column {name}; there are {', '.join(sorted(columns))}")
    return value


def _count(columns: Mapping[str, Any], name: str, where: str) -> int:
    text = _text(columns, name, where)
    try:
        return int(text.removesuffix(".0"))
    except ValueError:
        raise wrong(where, f"{text!r:.40} in the column {name} is no whole number") from None
