"""TOMG-Bench, oMeBench and GTA: files in upstream's shape, written by us, become tables, prompts and answers that score."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from hpc_trex.errors import UsageProblem
from hpc_trex.evaluation.metrics import judge
from hpc_trex.ftbench.build import build_tables
from hpc_trex.ftbench.cards import LoadedCard, load_card
from hpc_trex.ftbench.materialise import read_card
from hpc_trex.ftbench.molecules import respelled
from hpc_trex.ftbench.options import Options
from hpc_trex.ftbench.render import Renderer
from hpc_trex.ftbench.shapes import Shaper
from hpc_trex.ftbench.upstream.gta import read_gta
from hpc_trex.ftbench.upstream.omebench import read_silver
from hpc_trex.ftbench.upstream.tomg import COUNTS, EDITS, read_openmolins, read_tomg
from hpc_trex.models import TaskCard

FOLDER = Path(__file__).resolve().parents[3] / "ftbench"


def card(name: str, **rows: int) -> TaskCard:
    """Return the real card, with as many rows for the carved tables as a test has."""
    real = load_card(str(FOLDER / name / "card.toml")).card
    tables = {
        key: one.model_copy(update={"rows": rows[key]} if key in rows else {}) for key, one in real.tables.items()
    }
    return real.model_copy(update={"tables": tables})


def tables(of: TaskCard, files: dict[str, Path]) -> dict[str, list[dict]]:
    return {name: [json.loads(line) for line in lines] for name, lines in build_tables(of, files)}


def asked(of: TaskCard, table: str, rows: list[dict]) -> list[tuple[str, str, dict]]:
    """Return prompt, answer and kept columns of the rows of dev or test."""
    source = of.dev if of.dev.table == table else of.test
    render, options, found = Renderer(of.prompt, "card"), Options(of.metric, "card"), []
    for row in rows:
        for columns in Shaper(source.shape, "card")(row, "here") if source.shape else [row]:
            prompt, answer = render(columns)
            found.append((prompt, answer, options(columns, answer)["row"]))
    return found


@pytest.fixture
def bench(tmp_path):
    """The nine files, four rows each, in upstream's columns (``index`` is one of them)."""
    for stem in (*COUNTS, *EDITS):
        columns = ["index", "Instruction", *COUNTS.get(stem, ()), *EDITS.get(stem, ())]
        with (tmp_path / f"{stem}.csv").open("w", newline="") as handle:
            writer = csv.DictWriter(handle, columns)
            writer.writeheader()
            for number in range(4):
                told = {"Instruction": f"{stem}, no. {number}, please, lower", "index": number}
                edit = {"molecule": "CC(O)CN", "added_group": "thiol", "removed_group": "amine"}
                counts = {name: int(place == number) for place, name in enumerate(COUNTS.get(stem, ()))}
                writer.writerow({name: (told | edit | counts)[name] for name in columns})
    return tmp_path


def test_nine_files_become_requests_that_can_be_asked_and_judged(bench, tmp_path_factory):
    light = tmp_path_factory.mktemp("light")
    (light / "train.csv").write_text('SubTask,Instruction,molecule\nLogP,"Make F/C=C\\F, please, better.",F/C=C\\CO\n')
    of = card("tomg-bench", dev=5, test=9)
    made = tables(of, {"bench": bench, "light": light})
    assert {name: len(rows) for name, rows in made.items()} == {"light": 1, "dev": 5, "test": 9, "bench": 22}
    assert sorted({row["subtask"] for rows in made.values() for row in rows if "subtask" in row}) == sorted(
        stem.partition("_")[2] for stem in (*COUNTS, *EDITS)
    )
    shape = of.sources["light"].shape
    assert shape is not None
    (columns,) = Shaper(shape, "card")(made["light"][0], "here")
    rendered = Renderer(of.prompt, "card")(columns)
    assert json.loads(rendered.answer) == {"molecule": "F/C=C\\CO"}
    assert rendered.prompt.startswith("Make F/C=C\\F, please, better.\nAnswer with a JSON object")
    right = {
        "AddComponent": "CC(O)C(S)N", "DelComponent": "CC(O)C", "SubComponent": "CC(O)CS", "LogP": "OCC(O)CN", "MR": "C",
        "QED": "C", "AtomNum": "C", "BondNum": "CC", "FunctionalGroup": "c1ccccc1",
    }  # fmt: skip
    first = [row for row in read_tomg(sorted(bench.glob("*.csv"))) if "no. 0" in row["Instruction"]]
    for (prompt, goal, kept), row in zip(asked(of, "test", first), first, strict=True):
        assert row["Instruction"] in prompt
        assert goal.startswith(row["subtask"])
        assert judge(right[row["subtask"]], goal, of.metric, kept).score == 1, row["subtask"]


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("MolOpt_Weight.csv", "Instruction,molecule\na,C\n", "the file of no subtask"),
        ("MolOpt_LogP.csv", "Instruction,smiles\na,C\n", r"LogP.csv:2: no text in the column molecule; there are Instruction, smiles"),
        ("MolOpt_QED.csv", 'Instruction,molecule\na,""\n', "no text in the column molecule"),
        ("MolOpt_QED.csv", "Instruction,molecule\na\n", "QED.csv:2: not 2 values, as the header names"),
        ("MolOpt_QED.csv", 'Instruction,molecule\n"a,C\n', "not valid CSV"),
        ("MolCustom_BondNum.csv", "Instruction,single,double,triple,rotatable,aromatic\na,1,x,0,0,0\n", "'x' in the column double"),
    ],
)  # fmt: skip
def test_changed_files_of_tomg_bench_are_named(tmp_path, name, text, words):
    (tmp_path / name).write_text(text)
    with pytest.raises(UsageProblem, match=words):
        list(read_tomg([tmp_path / name]))


def test_counts_may_be_written_as_what_pandas_makes_of_them(tmp_path):
    path = tmp_path / "MolCustom_BondNum.csv"
    path.write_text(",Instruction,single,double,triple,rotatable,aromatic\n0,a,1.0,0,0.0,2,0\n")
    (row,) = read_tomg([path])
    assert row["wanted"] == {"single": 1, "double": 0, "triple": 0, "rotatable": 2, "aromatic": 0}
    assert row["goal"] == "BondNum: 1 single, 2 rotatable"


def test_the_same_request_about_the_same_molecule_is_one_item_however_it_is_spelled(tmp_path, bench, tmp_path_factory):
    """The pool's row and one of the test's differ as texts, and as prompts; as requests they do not."""
    (bench / "MolEdit_DelComponent.csv").write_text(
        "Instruction,molecule,removed_group\nDrop an amine of CC(O)CN.,CC(O)CN,amine\n"
    )
    light = tmp_path_factory.mktemp("light")
    rows = [
        "Drop an amine of NCC(C)O.",
        "drop an amine of CC(O)CN.",
        "Drop an amine of NCCO.",
        "Drop an amine of OCCCN.",
    ]
    text = "".join(f"DelComponent,{one},CC(C)O\n" for one in rows)
    (light / "train.csv").write_text(f"SubTask,Instruction,molecule\n{text}")
    real = card("tomg-bench")
    written_as = {"light": read_openmolins([light / "train.csv"]), "test": read_tomg([bench / "MolEdit_DelComponent.csv"]),
                  "dev": read_tomg([bench / "MolOpt_QED.csv"])}  # fmt: skip
    for name, made in written_as.items():
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in made))
    places = {name: {"path": f"{name}.jsonl", "shape": real.dev.shape} for name in ("dev", "test")}
    places["sources"] = {"light": {"path": "light.jsonl", "shape": real.sources["light"].shape}}
    local = TaskCard.model_validate({"name": "x", "prompt": real.prompt, "metric": real.metric} | places)
    splits = read_card(LoadedCard(local, tmp_path / "card.toml"), drop_overlap=True)
    assert splits.dropped == {"light": 2}
    assert [row.prompt.splitlines()[0] for row in splits.sources["light"]] == rows[2:]
    with pytest.raises(
        UsageProblem, match=r"light.jsonl:1: row light:1 has a prompt that also stands in test \(.*test.jsonl:1\)"
    ):
        read_card(LoadedCard(local, tmp_path / "card.toml"))


def test_words_of_a_request_are_left_as_they_are():
    assert (
        respelled("Add  it to OCC. I say (no) C1=CC=CC=C1; CO, not F/C=C\\F!")
        == "Add it to CCO. I say (no) c1ccccc1; CO, not F/C=C\\F!"
    )
    assert respelled("") == ""


def reaction(name: str, left: list[str], right: list[str], *weights: float) -> dict[str, object]:
    step = {"type": "addition", "subtype": "nucleophilic_addition", "intermediate_smiles": right[0], "rationale": "so"}
    steps = [{"step": place, **step, "step_weight": weight} for place, weight in enumerate(weights, start=1)] or [
        {"step": 1, **step}
    ]
    return {
        "reaction_id": name, "name": "made up", "level": "easy", "reactants_smiles": left, "products_smiles": right,
        "conditions": "H3O+", "mechanism": steps,
    }  # fmt: skip


@pytest.fixture
def repository(tmp_path):
    gold = [reaction("NR-001", ["CC=O", "CCO"], ["CC(O)OCC"], 0.4, 0.6)]
    silver = [
        reaction("NR-001_1-C", ["OCC", "O=CC"], ["OC(C)OCC"]),  # Gold's, spelled otherwise and in another order
        reaction("NR-001_1-CC", ["CCC=O", "CCO"], ["CCC(O)OCC"]),
        *(reaction(f"NG-00{place}_1-C", ["C" * place], ["C" * place + "O"]) for place in (2, 3)),
        *(reaction(f"NG-00{place}_1-CC", ["C" * place], ["C" * place + "N"]) for place in (2, 3)),
    ]
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "oMe_Gold.json").write_text(json.dumps(gold))
    (tmp_path / "data" / "oMe_Silver.jsonl").write_text("".join(json.dumps(row) + "\n" for row in silver))
    return tmp_path


def test_a_reaction_of_the_test_is_no_training_row_in_any_spelling(repository):
    made = tables(card("omebench", dev=2), {"repo": repository})
    ids = {name: {row["reaction_id"] for row in rows} for name, rows in made.items()}
    assert (len(ids["dev"]) >= 2, len(ids["dev"] | ids["silver"]), ids["gold"]) == (True, 5, {"NR-001"})
    assert "NR-001_1-C" not in ids["dev"] | ids["silver"]
    templates = [{one.split("_")[0] for one in ids[name]} for name in ("dev", "silver")]
    assert not templates[0] & templates[1]


def test_the_true_mechanism_is_a_full_answer(repository):
    of = card("omebench", dev=2)
    made = tables(of, {"repo": repository})
    for table in ("dev", "gold"):
        for prompt, answer, kept in asked(of, table, made[table]):
            assert "Conditions: H3O+" in prompt
            assert "rationale" not in answer
            found = judge(answer, answer, of.metric, kept)
            assert (found.score, set(dict(found.also).values())) == (1, {1})
    (_, answer, kept), = asked(of, "gold", made["gold"])  # fmt: skip
    half = answer.replace("CC(O)OCC", "C", 1)
    assert judge(half, answer, of.metric, kept).score == 0.6


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("oMe_Gold.json", "{}", "oMe_Gold.json: a JSON dict, not a list"),
        ("oMe_Gold.json", "[", "not valid JSON"),
        ("oMe_Gold.json", '[{"reaction_id": "a"}]', r"\(entry 1\): no reaction with"),
        (
            "oMe_Silver.jsonl",
            '{"reaction_id": "a", "reactants_smiles": "C", "products_smiles": []}\n',
            r"Silver.jsonl:1: no reaction",
        ),
    ],
)
def test_changed_files_of_omebench_are_named(repository, name, text, words):
    (repository / "data" / name).write_text(text)
    with pytest.raises(UsageProblem, match=words):
        list(read_silver(sorted((repository / "data").iterdir(), reverse=True)))


def tool(name: str, *inputs: dict[str, object]) -> dict[str, object]:
    return {"name": name, "description": f"Does {name}.", "inputs": list(inputs), "outputs": []}


def called(name: str, **arguments: object) -> dict[str, object]:
    return {
        "role": "assistant",
        "tool_calls": [{"type": "function", "function": {"name": name, "arguments": arguments}}],
    }


def dialogue(answer: str, gt_answer: object, query: str = "How much is it?") -> dict[str, object]:
    image = {"type": "image", "name": "image", "description": None, "optional": False}
    size = {"type": "int", "name": "size", "description": "in dots", "optional": True}
    return {
        "tools": [tool("OCR", image), tool("DrawBox", image, size), tool("Odd", {"type": "text", "name": None})],
        "files": [{"type": "image", "path": "image/image_1.jpg", "url": None}],
        "dialogs": [
            {"role": "user", "content": query},
            called("OCR", image="image/image_1.jpg") | {"thought": "not shown"},
            {"role": "tool", "name": "OCR", "content": {"type": "text", "content": "Preis: 4 €"}},
            called("DrawBox", image="image/image_1.jpg", size=2),
            {"role": "tool", "name": "DrawBox", "content": {"type": "image", "content": "image/out.jpg"}},
            {"role": "assistant", "content": answer},
        ],
        "gt_answer": gt_answer,
    }


def written(folder: Path, **dialogues: object) -> Path:
    (folder / "dataset.json").write_text(json.dumps(dialogues, ensure_ascii=False), encoding="utf-8")
    return folder


def test_a_dialogue_becomes_its_steps_each_with_what_was_said_before(tmp_path):
    folder = written(tmp_path, **{"7": dialogue("It is 4 €.", {"whitelist": [["4"]], "blacklist": None})})
    first, second, last = read_gta([folder / "dataset.json"])
    assert [(row["step"], row["kind"], row["unseen"]) for row in (first, second, last)] == [
        (1, "tool", 0), (2, "tool", 0), (3, "answer", 1)
    ]  # fmt: skip
    assert first["tool_list"].splitlines() == [
        "- OCR: Does OCR. Arguments: image (image).",
        "- DrawBox: Does DrawBox. Arguments: image (image); size (int, optional, in dots).",
        "- Odd: Does Odd. Arguments: argument (text).",
    ]
    assert first["tools"] == {"OCR": {"image": "image"}, "DrawBox": {"image": "image", "size": "int"}, "Odd": None}
    assert (first["files"], first["paths"]) == ("image/image_1.jpg", ["image/image_1.jpg"])
    assert last["paths"] == ["image/image_1.jpg", "image/out.jpg"]
    assert first["history"] == "User: How much is it?"
    assert first["gold"] == 'Action: OCR\nAction Input: {"image": "image/image_1.jpg"}'
    assert last["history"].splitlines() == [
        "User: How much is it?",
        "Action: OCR",
        'Action Input: {"image": "image/image_1.jpg"}',
        "Response: Preis: 4 €",
        "Action: DrawBox",
        'Action Input: {"image": "image/image_1.jpg", "size": 2}',
        "Response: [image](image/out.jpg)",
        "User: Sum up what was found and give the final answer. Call no tool.",
    ]
    assert last["gold"] == "Final Answer: It is 4 €."


def test_what_the_tools_are_stands_in_a_file_of_its_own(tmp_path):
    item = dialogue("It is 4 €.", None)
    tools = {one["name"]: one for one in item["tools"]}
    folder = written(tmp_path, **{"7": item | {"tools": [{"name": name} for name in tools]}})
    (folder / "toolmeta.json").write_text(json.dumps(tools))
    for order in (1, -1):
        first = next(read_gta([folder / "dataset.json", folder / "toolmeta.json"][::order]))
        assert first["tools"]["DrawBox"] == {"image": "image", "size": "int"}
        assert "- OCR: Does OCR. Arguments: image (image)." in first["tool_list"]


def test_the_true_steps_score_and_no_question_stands_on_two_sides(tmp_path):
    ends = {"0": {"whitelist": [["4"]], "blacklist": None}, "1": ["It is 4 €."], "2": None}
    folder = written(tmp_path, **{key: dialogue("It is 4 €.", end, f"Query {key}?") for key, end in ends.items()})
    (folder / "toolmeta.json").write_text("{}")
    of = card("gta", dev=2)
    made = tables(of, {"hub": folder})
    assert {name: len(rows) for name, rows in made.items()} == {"dev": 3, "test": 6}
    assert not {row["query"] for row in made["dev"]} & {row["query"] for row in made["test"]}
    for table in ("dev", "test"):
        for prompt, answer, kept in asked(of, table, made[table]):
            assert prompt.count("image/image_1.jpg") >= 1
            assert judge(answer, answer, of.metric, kept).score == 1


def test_an_empty_last_message_is_no_step(tmp_path):
    folder = written(tmp_path, **{"0": dialogue("", None)})
    assert [row["kind"] for row in read_gta([folder / "dataset.json"])] == ["tool", "tool"]


@pytest.mark.parametrize(
    ("item", "words"),
    [
        ([], r"dataset.json \(dialogue 0\): not as GTA's dialogues are: TypeError"),
        ({"dialogs": []}, "the agent says nothing"),
        ({"dialogs": [{"role": "assistant", "content": "x"}]}, "KeyError: 'tools'"),
        (
            dialogue("x", None) | {"dialogs": [{"role": "boss"}, {"role": "assistant", "content": "x"}]},
            "unknown role 'boss'",
        ),
    ],
)
def test_changed_dialogues_are_named(tmp_path, item, words):
    folder = written(tmp_path, **{"0": item})
    with pytest.raises(UsageProblem, match=words):
        list(read_gta([folder / "dataset.json"]))


@pytest.mark.parametrize(("text", "words"), [("[]", "not an object"), ("{", "not valid JSON")])
def test_another_file_than_gtas_is_named(tmp_path, text, words):
    (tmp_path / "dataset.json").write_text(text)
    with pytest.raises(UsageProblem, match=words):
        list(read_gta([tmp_path / "dataset.json"]))
