"""oMeBench: which of Silver's made-up reactions are reactions of Gold in another spelling (task omebench)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from hpc_trex.ftbench.readers import read_jsonl
from hpc_trex.ftbench.upstream.files import json_of, wrong


def read_silver(paths: Sequence[Path]) -> Iterator[dict[str, Any]]:
    """Yield the rows of the ``.jsonl`` files (Silver) with ``gold``: the reaction of the ``.json`` files (Gold) that each is.

    Empty where it is none of them. Two reactions are the same when reactants and products are the same molecules; the steps
    between, the conditions and the spelling may differ. No check of texts sees that: of a molecule written in another order
    no word is the same. Raises :class:`UsageProblem` naming file and place, :class:`EnvironmentProblem` where rdkit lacks.
    """
    from hpc_trex.ftbench.molecules import same_set  # rdkit, of an extra

    def identity(columns: Mapping[str, Any], where: str) -> tuple[tuple[str, ...], ...]:
        return tuple(map(same_set, _sides(columns, where)))

    gold = {
        identity(row, f"{path} (entry {number})"): str(row["reaction_id"])
        for path in paths
        if path.suffix == ".json"
        for number, row in enumerate(_entries(path), start=1)
    }
    for path in paths:
        for row in read_jsonl(path) if path.suffix == ".jsonl" else ():
            yield {**row.columns, "gold": gold.get(identity(row.columns, row.where), "")}


def _entries(path: Path) -> list[dict[str, Any]]:
    value: list[Any] = json_of(path, list)
    if not all(isinstance(one, dict) for one in value):
        raise wrong(str(path), "not a JSON list of reactions")
    return value


def _sides(columns: Mapping[str, Any], where: str) -> list[list[str]]:
    """Return the molecules before and after a reaction."""
    sides = [columns.get(name) for name in ("reactants_smiles", "products_smiles")]
    if "reaction_id" not in columns or not all(isinstance(side, list) and all(map(_is_text, side)) for side in sides):
        raise wrong(where, "no reaction with reaction_id, reactants_smiles and products_smiles")
    return [list(side or ()) for side in sides]


def _is_text(value: Any) -> bool:
    return isinstance(value, str)
