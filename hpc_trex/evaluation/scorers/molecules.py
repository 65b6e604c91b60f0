"""What a metric wants to know of molecules: how alike two are, what one is made of, what it would be like.

Only scorers that need it import this module, for it imports RDKit (:mod:`hpc_trex.ftbench.molecules`).
"""

from __future__ import annotations

from functools import cache, lru_cache
from typing import Any

from hpc_trex.ftbench.molecules import molecule, rdkit

_chem = rdkit("Chem")
_descriptors = rdkit("Chem.rdMolDescriptors")

#: Element -> its number, for the counts that a task asks for.
ATOMS = {
    "carbon": 6,
    "oxygen": 8,
    "nitrogen": 7,
    "sulfur": 16,
    "fluorine": 9,
    "chlorine": 17,
    "bromine": 35,
    "iodine": 53,
    "phosphorus": 15,
    "boron": 5,
    "silicon": 14,
    "selenium": 34,
    "tellurium": 52,
    "arsenic": 33,
    "antimony": 51,
    "bismuth": 83,
    "polonium": 84,
}

#: Functional group -> its SMARTS. The patterns are the definition of TOMG-Bench's counts, most of them known from
#: Daylight's collection: a better chemistry (phenols are hydroxyl groups here, anhydrides esters) would be another metric.
GROUPS = {
    "benzene ring": "[cR1]1[cR1][cR1][cR1][cR1][cR1]1",
    "hydroxyl": "[OX2H]",
    "anhydride": "[CX3](=[OX1])[OX2][CX3](=[OX1])",
    "aldehyde": "[CX3H1](=O)[#6]",
    "ketone": "[#6][CX3](=O)[#6]",
    "carboxyl": "[CX3](=O)[OX2H1]",
    "ester": "[#6][CX3](=O)[OX2H0][#6]",
    "amide": "[NX3][CX3](=[OX1])[#6]",
    "amine": "[NX3;H2,H1;!$(NC=O)]",
    "nitro": "[$([NX3](=O)=O),$([NX3+](=O)[O-])][!#8]",
    "halo": "[F,Cl,Br,I]",
    "thioether": "[SX2][CX4]",
    "nitrile": "[NX1]#[CX2]",
    "thiol": "[#16X2H]",
    "sulfide": "[#16X2H0]",
    "disulfide": "[#16X2H0][#16X2H0]",
    "sulfoxide": "[$([#16X3]=[OX1]),$([#16X3+][OX1-])]",
    "sulfone": "[$([#16X4](=[OX1])=[OX1]),$([#16X4+2]([OX1-])[OX1-])]",
    "borane": "[BX3]",
}

BONDS = ("single", "double", "triple", "aromatic", "rotatable")
PROPERTIES = ("LogP", "MR", "QED")
RADIUS, BITS = 2, 2048


@lru_cache(maxsize=4096)
def _fingerprint(smiles: str) -> Any | None:
    found = molecule(smiles)
    return None if found is None else _morgan().GetFingerprint(found)


def similarity(left: str, right: str) -> float:
    """Return the Tanimoto similarity (0 to 1) of two SMILES' Morgan fingerprints, radius 2, 2,048 bits.

    0 where one of them is no molecule.
    """
    one, other = _fingerprint(left), _fingerprint(right)
    return 0.0 if one is None or other is None else float(rdkit("DataStructs").TanimotoSimilarity(one, other))


def atoms(found: Any, element: str) -> int:
    """Return how many atoms of an element of :data:`ATOMS` stand in the SMILES (implicit hydrogen is no atom)."""
    return sum(atom.GetAtomicNum() == ATOMS[element] for atom in found.GetAtoms())


def groups(found: Any, name: str) -> int:
    """Return how often a functional group of :data:`GROUPS` occurs; a disulfide is one sulfide, not two."""
    count = len(found.GetSubstructMatches(_pattern(name)))
    return count - groups(found, "disulfide") if name == "sulfide" else count


def bonds(found: Any, kind: str) -> int:
    """Return how many bonds of a kind of :data:`BONDS` there are; those to implicit hydrogen do not count."""
    if kind == "rotatable":
        return int(_descriptors.CalcNumRotatableBonds(found))
    wanted = getattr(_chem.BondType, kind.upper())
    return sum(bond.GetBondType() == wanted for bond in found.GetBonds())


def measured(found: Any, name: str) -> float:
    """Return one of :data:`PROPERTIES`: Crippen's logP, Crippen's molar refractivity, or the drug-likeness QED."""
    if name == "QED":
        return float(rdkit("Chem.QED").qed(found))
    return float(_descriptors.CalcCrippenDescriptors(found)[("LogP", "MR").index(name)])


@cache
def _pattern(name: str) -> Any:
    return _chem.MolFromSmarts(GROUPS[name])


@cache
def _morgan() -> Any:
    return rdkit("Chem.rdFingerprintGenerator").GetMorganGenerator(radius=RADIUS, fpSize=BITS)
