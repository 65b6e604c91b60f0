"""TOMG-Bench (S2-Bench): does the molecule that a model wrote do what was asked? Nine subtasks, one rule each.

The rule was read from ``evaluate.py`` and ``utils/evaluation.py`` of phenixace/S2-TOMG-Bench at commit df70b90d, and is
said here in our own words; that repository has no licence file. An answer succeeds, or not:

- AtomNum, FunctionalGroup: the counts of all 17 elements, of all 18 groups are those wanted, also where 0 is wanted;
- BondNum: the counts of the kinds of bonds of which some are wanted; the others are free;
- AddComponent, DelComponent: one group more, one less than the molecule given; SubComponent: both at once;
- LogP, MR, QED: below the given molecule's value where the instruction has the word lower or decrease, else above.

Differences, with reasons: a text without an atom is no molecule (RDKit takes the empty text for one, so upstream's silence is
valid); doubled quotes are made single ones only where the JSON cannot be read without (upstream does it always, because
its answers went through CSV, and so loses every answer with an empty text in it); what a molecule's value is must be text; a
property has to change by more than rounding (upstream takes the same molecule in another spelling for a lower MR).
Upstream's weighted success multiplies a subtask's rate of success by its mean similarity (MolEdit, MolOpt) or novelty
(MolCustom); the weights are in its paper only, and novelty needs 250,000 molecules of another collection: ``weighted`` here
is success times similarity of each answer of the six edited subtasks, and no part of the score unless the card asks for it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from hpc_trex.errors import UsageProblem
from hpc_trex.evaluation.metrics import Judged
from hpc_trex.evaluation.scorers import molecules
from hpc_trex.ftbench.molecules import molecule
from hpc_trex.models import MetricSpec

#: Columns that the card has to keep.
COLUMNS = ("subtask", "Instruction", "molecule", "added_group", "removed_group", "wanted")
CUSTOM = ("AtomNum", "BondNum", "FunctionalGroup")
EDITED = ("AddComponent", "DelComponent", "SubComponent", *molecules.PROPERTIES)

_OBJECT = re.compile(r"\{.*?\}", re.DOTALL)
_ARROWS = ("=>", "->")
#: A property is a sum over atoms: another spelling of the same molecule adds in another order.
_ROUNDING = 1e-9


def judge_tomg(answer: str, reference: str, spec: MetricSpec, row: Mapping[str, Any]) -> Judged:
    """Judge the molecule in ``answer`` by the task in ``row``: 1 where it does what was asked, else 0.

    ``also``: ``valid`` (it is a molecule), and of a valid answer to an edit ``similarity`` to the molecule that was given
    and ``weighted``, success times that. Flags ``invalid_smiles`` and, of a row that no answer can satisfy, ``odd_reference``.
    Raises :class:`UsageProblem` for a row without its task.
    """
    missing = [name for name in COLUMNS if name not in row]
    if missing:
        raise UsageProblem(
            f"the metric tomg needs the column {missing[0]}", hint="add it to metric.keep of the task card"
        )
    subtask = str(row["subtask"])
    if subtask not in (*CUSTOM, *EDITED):
        raise UsageProblem(f"the metric tomg knows no subtask {subtask!r}", hint="correct the rows of the task card")
    smiles = written(answer)
    found = molecule(smiles)
    edited, odd = subtask in EDITED, _is_odd(subtask, row)
    if found is None or odd:
        said = {"invalid_smiles": bool(answer) and found is None, "odd_reference": odd}
        flags = tuple(name for name, holds in said.items() if holds)
        also = [("valid", float(found is not None)), *([("weighted", 0.0)] if edited else [])]
        return Judged(0.0, smiles, reference, flags, tuple(also))
    if not edited:
        success = float(_has_counts(found, subtask, row["wanted"]))
        return Judged(success, smiles, reference, also=(("valid", 1.0),))
    given = str(row["molecule"])
    success = float(_edited(found, subtask, molecule(given), row))
    near = molecules.similarity(given, smiles)
    score = success * near if spec.options.get("score") == "weighted" else success
    return Judged(score, smiles, reference, also=(("valid", 1.0), ("weighted", success * near), ("similarity", near)))


def _is_odd(subtask: str, row: Mapping[str, Any]) -> bool:
    """Tell whether a row asks for what no answer can do: a molecule that is none is to be edited, or a group is unknown."""
    if subtask in CUSTOM:
        return subtask == "FunctionalGroup" and not all(_group(name) for name in row["wanted"])
    names = [str(row[column]) for column in _changes(subtask)]
    return molecule(str(row["molecule"])) is None or not all(map(_group, names))


def written(text: str) -> str:
    """Return the SMILES that an answer holds, which may be none at all.

    The first object in braces is taken, and its ``molecule``; without braces the whole text on one line. Of a reaction
    (``A => B``, ``A -> B``) it is the last part.
    """
    found = _OBJECT.search(text)
    if found is None:
        smiles = _product(text.replace("\n", " ").strip())
        return smiles[1:-1] if len(smiles) >= 2 and (smiles[0], smiles[-1]) == ("[", "]") else smiles
    return _product(_value(found.group())).strip()


def _value(inside: str) -> str:
    """Return ``molecule`` of a JSON object; of what is nearly one, the text between its first two colons, bared."""
    for spelling in (inside, inside.replace('""', '"')):
        try:
            value = json.loads(spelling)
        except (ValueError, RecursionError):
            continue
        named = value.get("molecule", "")
        return named if isinstance(named, str) else ""
    parts = inside.split(":")
    return parts[1].strip().strip("}").strip().strip('"').strip() if len(parts) > 1 else ""


def _product(text: str) -> str:
    for arrow in _ARROWS:
        text = text.rpartition(arrow)[2].strip() if arrow in text else text
    return text


def _has_counts(found: Any, subtask: str, wanted: Mapping[str, int]) -> bool:
    """Tell whether a molecule has the wanted counts; of bonds, 0 means any."""
    if subtask == "AtomNum":
        return all(molecules.atoms(found, name) == count for name, count in wanted.items())
    if subtask == "FunctionalGroup":
        return all(molecules.groups(found, _group(name)) == count for name, count in wanted.items())
    return all(molecules.bonds(found, kind) == count for kind, count in wanted.items() if count)


def _edited(found: Any, subtask: str, given: Any, row: Mapping[str, Any]) -> bool:
    if subtask in molecules.PROPERTIES:
        down = any(word in str(row["Instruction"]) for word in ("lower", "decrease"))
        before, after = molecules.measured(given, subtask), molecules.measured(found, subtask)
        return before - after > _ROUNDING if down else after - before > _ROUNDING
    return all(
        molecules.groups(found, name) == molecules.groups(given, name) + change
        for name, change in ((_group(str(row[column])), change) for column, change in _changes(subtask).items())
    )


def _changes(subtask: str) -> dict[str, int]:
    """Return by how much the group in each column is to change."""
    if subtask in molecules.PROPERTIES:
        return {}
    added = {"added_group": 1} if subtask != "DelComponent" else {}
    return added | ({"removed_group": -1} if subtask != "AddComponent" else {})


def _group(name: str) -> str:
    """Return the group of :data:`molecules.GROUPS` that a column or a row of upstream names; empty for another one."""
    name = "benzene ring" if name in ("benzene rings", "benzene_ring") else name
    return name if name in molecules.GROUPS else ""
