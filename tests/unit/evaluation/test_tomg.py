"""Molecules are scored as TOMG-Bench scores them: its rule, said once more here, on the same predictions.

The restatement follows ``evaluate.py`` and ``utils/evaluation.py`` of phenixace/S2-TOMG-Bench (df70b90d), without the code
under test.
"""

from __future__ import annotations

import json
import random
import re
import subprocess
import sys
from functools import cache

import pytest
from rdkit import Chem, DataStructs, rdBase
from rdkit.Chem import AllChem, Descriptors

from hpc_trex.errors import UsageProblem
from hpc_trex.evaluation.metrics import judge
from hpc_trex.evaluation.scorers import molecules
from hpc_trex.evaluation.scorers.tomg import written
from hpc_trex.ftbench.molecules import canonical, molecule, same_set
from hpc_trex.models import MetricSpec

TOMG = MetricSpec(name="tomg")
#: Of every kind: charges, rings, metals, all groups, salts, wildcards, what is none.
SMILES = [
    "CCO", "OCCCCl", "CC(=O)OC(C)=O", "CC=O", "O=CCC", "CC(C)=O", "CC(=O)O", "CC(=O)OC", "CC(N)=O", "CCN",
    "CNC", "C[N+](=O)[O-]", "O=[N+]([O-])c1ccccc1", "CC#N", "CS", "CSC", "CSSC", "CS(C)=O", "C[S+](C)[O-]",
    "CS(C)(=O)=O", "CB(C)C", "c1ccccc1", "c1ccncc1", "c1ccc2ccccc2c1", "FC(Cl)(Br)I", "C=C", "C#C", "CCCCCC",
    "[Na+].[Cl-]", "C[Se]C", "C[As](C)C", "CC(=O)Nc1ccc(O)cc1", "O=C(O)c1ccccc1OC(C)=O", "F/C=C\\F", "F/C=C/F",
    "*", "[*:1]C", "[CH3]", "[Cl]", "CSSSC",
]  # fmt: skip
NONE = ("", " ", "C1CC", "not one", "c1ccc", "C(C)(C)(C)(C)C", "\ud800", "分子")


@cache
def old_count(smiles: str, name: str) -> int:
    """``mol_prop`` of upstream for the functional groups, by the letter of its branches."""
    found = Chem.MolFromSmiles(smiles)

    def hits(smarts: str) -> int:
        return len(found.GetSubstructMatches(Chem.MolFromSmarts(smarts)))

    branches = {
        "benzene_ring": lambda: hits("[cR1]1[cR1][cR1][cR1][cR1][cR1]1"),
        "hydroxyl": lambda: hits("[OX2H]"),
        "anhydride": lambda: hits("[CX3](=[OX1])[OX2][CX3](=[OX1])"),
        "aldehyde": lambda: hits("[CX3H1](=O)[#6]"),
        "ketone": lambda: hits("[#6][CX3](=O)[#6]"),
        "carboxyl": lambda: hits("[CX3](=O)[OX2H1]"),
        "ester": lambda: hits("[#6][CX3](=O)[OX2H0][#6]"),
        "amide": lambda: hits("[NX3][CX3](=[OX1])[#6]"),
        "amine": lambda: hits("[NX3;H2,H1;!$(NC=O)]"),
        "nitro": lambda: hits("[$([NX3](=O)=O),$([NX3+](=O)[O-])][!#8]"),
        "halo": lambda: hits("[F,Cl,Br,I]"),
        "thioether": lambda: hits("[SX2][CX4]"),
        "nitrile": lambda: hits("[NX1]#[CX2]"),
        "thiol": lambda: hits("[#16X2H]"),
        "sulfide": lambda: hits("[#16X2H0]") - hits("[#16X2H0][#16X2H0]"),
        "disulfide": lambda: hits("[#16X2H0][#16X2H0]"),
        "sulfoxide": lambda: hits("[$([#16X3]=[OX1]),$([#16X3+][OX1-])]"),
        "sulfone": lambda: hits("[$([#16X4](=[OX1])=[OX1]),$([#16X4+2]([OX1-])[OX1-])]"),
        "borane": lambda: hits("[BX3]"),
    }
    return branches[name]()


OLD = ("benzene_ring", *(name for name in molecules.GROUPS if name != "benzene ring"))


@pytest.mark.parametrize("smiles", SMILES)
def test_atoms_bonds_groups_and_properties_of_a_molecule_are_those_of_upstream(smiles):
    found = molecule(smiles)
    assert {name: molecules.groups(found, name.replace("_", " ")) for name in OLD} == {
        name: old_count(smiles, name) for name in OLD
    }
    numbers = [atom.GetAtomicNum() for atom in found.GetAtoms()]
    table = Chem.GetPeriodicTable()
    for name, symbol in {"carbon": "C", "bromine": "Br", "selenium": "Se", "arsenic": "As", "boron": "B"}.items():
        assert molecules.atoms(found, name) == numbers.count(table.GetAtomicNumber(symbol)), name
    kinds = [str(bond.GetBondType()) for bond in found.GetBonds()]
    for kind in ("single", "double", "triple", "aromatic"):
        assert molecules.bonds(found, kind) == kinds.count(kind.upper()), kind
    assert molecules.bonds(found, "rotatable") == Descriptors.NumRotatableBonds(found)
    assert molecules.measured(found, "LogP") == Descriptors.MolLogP(found)
    assert molecules.measured(found, "MR") == Descriptors.MolMR(found)
    assert molecules.measured(found, "QED") == Descriptors.qed(found)


def test_the_elements_are_those_of_the_periodic_table():
    table = Chem.GetPeriodicTable()
    assert {name: table.GetElementName(number).lower() for name, number in molecules.ATOMS.items()} == {
        name: name for name in molecules.ATOMS
    }


def test_similarity_is_that_of_upstreams_fingerprint():
    with rdBase.BlockLogs():
        prints = [AllChem.GetMorganFingerprintAsBitVect(molecule(one), 2, nBits=2048) for one in SMILES]
    for left, one in zip(SMILES, prints, strict=True):
        for right, other in zip(SMILES, prints, strict=True):
            assert molecules.similarity(left, right) == DataStructs.TanimotoSimilarity(one, other)


@pytest.mark.parametrize("smiles", NONE)
def test_what_is_no_molecule_has_no_spelling_and_is_like_nothing(smiles, capfd):
    assert molecule(smiles) is None
    assert canonical(smiles) == ""
    assert molecules.similarity(smiles, "CCO") == 0
    assert capfd.readouterr() == ("", "")  # RDKit says nothing of it


def test_the_same_molecules_are_known_in_any_order_and_spelling():
    assert same_set(["OCC", "C1=CC=CC=C1"]) == same_set(["c1ccccc1", "CCO"])
    assert same_set(["CCO"]) != same_set(["CCO", "CCO"])
    assert same_set(["not one", "C"]) == ("C", "not one")


def old_text(text: str) -> str:
    """``correct_text`` of upstream."""
    match = re.search(r"\{.*?\}", text, re.DOTALL)
    if match:
        inside = match.group().replace('""', '"')
        try:
            found = json.loads(inside).get("molecule", inside)
        except ValueError:
            try:
                found = inside.split(":")[1].strip().strip("}").strip().strip('"').strip()
            except IndexError:
                return "None"
        if not isinstance(found, str):
            return "None"
    else:
        found = text.replace("\n", " ").strip()
    for arrow in ("=>", "->"):
        if arrow in found:
            found = found.split(arrow)[-1].strip()
    if not match and len(found) >= 2 and found[0] == "[" and found[-1] == "]":
        found = found[1:-1]
    return found.strip() if match else found


@pytest.mark.parametrize(
    "text",
    [
        '{"molecule": "CCO"}', 'Here: {"molecule": "CCO"} or {"molecule": "C"}', '```json\n{"molecule":\n"CCO"}\n```', "CCO", "C\nC",
        "CCC => CCO", "A -> B=> CCO", '{"molecule": "C => CO"}', "[CCO]", "[Na+].[Cl-]", "{'molecule': 'CCO'}", "{molecule: CCO}",
        '{""molecule"": ""CCO""}', '{"smiles": "CCO"}', "{}", '{"molecule": 3}', '{"molecule": null}', '{"molecule": ["CCO"]}',
        "I cannot do that.", "", "{", "答案是 CCO", "{CCO}", "CCO (ethanol)",
    ],
)  # fmt: skip
def test_the_molecule_in_an_answer_is_the_one_that_upstream_reads(text):
    """As molecules: where upstream is left with other words that are none, so are we."""
    assert canonical(written(text)) == canonical(old_text(text))


def test_an_empty_text_beside_the_molecule_does_not_lose_it():
    assert written('{"molecule": "CCO", "note": ""}') == "CCO"  # upstream: 'CCO", "note', which is none
    assert canonical(old_text('{"molecule": "CCO", "note": ""}')) == ""


def row(subtask: str, **more: object) -> dict[str, object]:
    empty = {"Instruction": "", "molecule": "", "added_group": "", "removed_group": "", "wanted": {}}
    return empty | {"subtask": subtask} | more


EDITS = {
    "AddComponent": lambda given, made, a, r: old_count(made, a) == old_count(given, a) + 1,
    "DelComponent": lambda given, made, a, r: old_count(made, r) == old_count(given, r) - 1,
    "SubComponent": lambda given, made, a, r: (
        old_count(made, r) == old_count(given, r) - 1 and old_count(made, a) == old_count(given, a) + 1
    ),
}


@pytest.mark.parametrize("subtask", EDITS)
def test_edits_succeed_as_upstream_counts(subtask):
    """All pairs of the molecules above, groups drawn."""
    draw, hits = random.Random(7), 0
    for given in SMILES:
        for made in SMILES:
            removed = draw.choice([name for name in OLD if old_count(given, name)] or OLD)
            added = draw.choice([name for name in OLD if old_count(made, name)] or OLD)
            right = EDITS[subtask](given, made, added, removed)
            columns = row(subtask, molecule=given, added_group=added.replace("_", " "), removed_group=removed)
            found = judge(json.dumps({"molecule": made}), "x", TOMG, columns)
            assert found.score == right, (given, made, added, removed)
            assert dict(found.also) == {
                "valid": 1, "similarity": molecules.similarity(given, made), "weighted": right * molecules.similarity(given, made)
            }  # fmt: skip
            hits += right
    assert hits > 5


@pytest.mark.parametrize(
    ("subtask", "value"), [("LogP", Descriptors.MolLogP), ("MR", Descriptors.MolMR), ("QED", Descriptors.qed)]
)
@pytest.mark.parametrize(
    ("words", "down"), [("lower", True), ("decrease", True), ("higher", False), ("improve", False)]
)
def test_properties_move_the_way_that_upstream_wants(subtask, value, words, down):
    before = value(Chem.MolFromSmiles("CCCO"))
    for made in SMILES:
        after = value(Chem.MolFromSmiles(made))
        columns = row(subtask, molecule="CCCO", Instruction=f"Please {words} it.")
        found = judge(json.dumps({"molecule": made}), "x", TOMG, columns)
        assert found.score == (after < before if down else after > before), made


@pytest.mark.parametrize("subtask", molecules.PROPERTIES)
@pytest.mark.parametrize("words", ["lower", "higher"])
def test_another_spelling_of_the_same_molecule_is_no_progress(subtask, words):
    """Properties are sums: of OCCC upstream finds a lower MR than of CCCO, in the sixteenth digit."""
    for spelling in ("CCCO", "OCCC", "C(C)CO", "C(CO)C"):
        assert judge(spelling, "x", TOMG, row(subtask, molecule="CCCO", Instruction=words)).score == 0
    assert Descriptors.MolMR(Chem.MolFromSmiles("OCCC")) < Descriptors.MolMR(Chem.MolFromSmiles("CCCO"))


def test_counts_are_all_wanted_but_bonds_of_which_none_is():
    atoms = {"carbon": 2, "oxygen": 1, "nitrogen": 0}
    assert [judge(one, "x", TOMG, row("AtomNum", wanted=atoms)).score for one in ("CCO", "NCCO", "CO")] == [1, 0, 0]
    groups = {"benzene rings": 1, "hydroxyl": 0}
    wanted = row("FunctionalGroup", wanted=groups)
    assert [judge(one, "x", TOMG, wanted).score for one in ("Cc1ccccc1", "Oc1ccccc1", "C")] == [1, 0, 0]
    bonds = row("BondNum", wanted={"single": 2, "double": 0, "rotatable": 0})
    assert [judge(one, "x", TOMG, bonds).score for one in ("CCC", "CCC=C", "CC")] == [1, 1, 0]


def test_a_card_can_ask_for_success_times_similarity():
    spec = MetricSpec(name="tomg", options={"score": "weighted"})
    found = judge("CCCO", "x", spec, row("AddComponent", molecule="CCC", added_group="hydroxyl"))
    assert found.score == molecules.similarity("CCC", "CCCO") == pytest.approx(1 / 3)
    assert judge("CCO", "x", spec, row("AtomNum", wanted={"carbon": 2})).score == 1
    with pytest.raises(ValueError, match=r"tomg knows score"):
        MetricSpec(name="tomg", options={"weight": 1})


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ({"subtask": "AtomNum"}, "needs the column Instruction"),
        (row("Melt"), "no subtask 'Melt'"),
    ],
)
def test_rows_that_are_none_are_named(columns, words):
    with pytest.raises(UsageProblem, match=words):
        judge("CC", "x", TOMG, columns)


def test_without_rdkit_one_line_says_what_to_install():
    """In a process of its own: here it is loaded."""
    code = """
import sys
sys.modules["rdkit"] = None
from hpc_trex.errors import EnvironmentProblem
from hpc_trex.evaluation.metrics import judge
from hpc_trex.models import MetricSpec
from hpc_trex.ftbench.upstream import READERS
work = [lambda name=name: judge("C", "x", MetricSpec(name=name), {}) for name in ("tomg", "omes")]
work += [lambda name=name: list(READERS[name]([])) for name in ("tomg", "openmolins", "omebench-silver")]
for one in work:
    try:
        one()
    except EnvironmentProblem as problem:
        print(problem.message, problem.hint, sep="|")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120)
    lines = done.stdout.splitlines()
    assert len(lines) == 5
    assert all("rdkit" in line and "hpc-trex[chem]" in line for line in lines)


@pytest.mark.parametrize(
    "columns",
    [
        row("DelComponent", molecule="CC", removed_group="soul"),
        row("LogP", molecule="C1CC"),
        row("FunctionalGroup", wanted={"soul": 0}),
    ],
)
def test_a_row_that_no_answer_can_satisfy_is_marked_and_stops_nothing(columns):
    found = judge("CC", "x", TOMG, columns)
    assert (found.score, found.flags, dict(found.also)["valid"]) == (0, ("odd_reference",), 1)
    assert judge("C1", "x", TOMG, columns).flags == ("invalid_smiles", "odd_reference")
