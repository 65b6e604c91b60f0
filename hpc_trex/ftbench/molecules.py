"""Molecules written as SMILES: is a text one, and are two texts the same one? RDKit says so.

Imported only where a task needs it. RDKit writes a line for each SMILES that is none, and models write many: its log is
switched off. Raises :class:`EnvironmentProblem` at import where RDKit lacks.
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from hpc_trex.errors import EnvironmentProblem


def rdkit(name: str) -> Any:
    """Return a module of RDKit by its name below ``rdkit``. Raises :class:`EnvironmentProblem` where RDKit lacks."""
    try:
        return importlib.import_module(f"rdkit.{name}")
    except ImportError as error:
        raise EnvironmentProblem(
            f"this task has molecules, which rdkit reads: {error}",
            hint='pip install "hpc-trex[chem]" here and where jobs run (the images have it)',
        ) from error


_AROUND = ".,:;!?'\"`"
"""Signs that stand around a molecule in a sentence and are no part of one at its ends."""

_chem = rdkit("Chem")
rdkit("rdBase").DisableLog("rdApp.*")


@lru_cache(maxsize=4096)
def molecule(smiles: str) -> Any | None:
    """Return the molecule of a SMILES; None for text that is none, and for a text without a single atom.

    RDKit reads the empty text as a molecule of no atoms, which would make silence a valid answer. As RDKit does, words
    after a blank are taken for the molecule's name.
    """
    try:
        found = _chem.MolFromSmiles(smiles)
    except UnicodeEncodeError:  # half a character
        return None
    return found if found is not None and found.GetNumAtoms() else None


@lru_cache(maxsize=4096)
def canonical(smiles: str) -> str:
    """Return the one spelling of a molecule that RDKit gives it, empty for a text that is no molecule."""
    found = molecule(smiles)
    return "" if found is None else str(_chem.MolToSmiles(found))


def respelled(text: str) -> str:
    """Return a text in which each word that is a molecule is written as RDKit writes it, whatever stands around the word.

    Two requests about the same molecules are the same text then. Words that happen to be molecules too (I, CO, No) are
    treated alike wherever they stand, so nothing becomes the same by them.
    """
    return " ".join(map(_respelled_word, text.split()))


def _respelled_word(word: str) -> str:
    bare = word.strip(_AROUND)
    known = canonical(bare) if bare else ""
    return word.replace(bare, known, 1) if known else word


def same_set(smiles: Sequence[str]) -> tuple[str, ...]:
    """Return what two lists of molecules have in common when they are the same ones, in any order and any spelling.

    A text that is no molecule stands for itself.
    """
    return tuple(sorted(canonical(one) or one for one in smiles))
