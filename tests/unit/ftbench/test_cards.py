"""Finding and checking task cards: every wrong card is refused with file, key and remedy."""

from __future__ import annotations

from pathlib import Path

import pytest

from hpc_trex.errors import NotFound, TrexError, UsageProblem
from hpc_trex.ftbench.cards import list_cards, load_card
from hpc_trex.ftbench.mini import SUITE

GOOD = """
name = "mine"

[sources.train]
path = "train.jsonl"

[dev]
path = "dev.jsonl"

[test]
path = "test.jsonl"

[prompt]
prompt = "Q: {{ q }}"
answer = "{{ a }}"

[metric]
name = "exact_match"
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a space and a quote in its name, three data files and a good card."""
    folder = tmp_path / "my 'own' task"
    folder.mkdir()
    for name in ("train", "dev", "test"):
        (folder / f"{name}.jsonl").write_text('{"q": "' + name + '", "a": "yes"}\n')
    (folder / "card.toml").write_text(GOOD)
    return folder


def _problem(folder: Path, text: str) -> TrexError:
    path = folder / "card.toml"
    path.write_text(text)
    with pytest.raises(TrexError) as caught:
        load_card(str(path))
    assert str(path) in caught.value.message
    assert caught.value.hint
    return caught.value


def test_the_ten_generated_cards_are_valid_and_complete() -> None:
    cards = {card.name: card for card in (load_card(path).card for path in list_cards())}
    assert set(SUITE) <= set(cards)
    for name in SUITE:
        card = cards[name]
        assert card.licence == "Apache-2.0"
        assert card.sources["curated"].trusted
        assert not card.sources["crowd"].trusted
        assert (card.dev.rows, card.test.rows) == (200, 400)
        assert card.default_train["method"] == "lora"
        folder = load_card(name).origin.parent
        assert (folder / "README.md").is_file()
        assert (folder / "samples.jsonl").is_file()


def test_a_card_is_found_by_its_path_and_by_its_folder(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert load_card(str(folder / "card.toml")).card.name == "mine"
    assert load_card(f"{folder}/").card.name == "mine"
    monkeypatch.chdir(folder)
    assert load_card("card.toml").origin == folder / "card.toml"


def test_a_card_in_the_users_own_site_folder_hides_the_shipped_one(
    folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    own = tmp_path / "site" / "ftbench" / "mini-triage"
    own.parent.mkdir(parents=True)
    folder.rename(own)
    monkeypatch.setenv("HPC_TREX_SITE", str(tmp_path / "site"))
    assert load_card("mini-triage").card.name == "mine"
    assert load_card("mini-listops").card.name == "mini-listops"


def test_an_unknown_task_names_the_nearest_and_all() -> None:
    with pytest.raises(NotFound) as caught:
        load_card("mini-listop")
    assert "did you mean 'mini-listops'" in caught.value.hint
    assert "mini-triage" in caught.value.hint


def test_a_missing_file_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="nowhere"):
        load_card(str(tmp_path / "nowhere.toml"))


def test_a_syntax_error_names_its_line(folder: Path) -> None:
    assert "line 2" in _problem(folder, 'name = "mine"\ntitle = mine\n').message


def test_a_card_that_is_not_utf8_is_refused(folder: Path) -> None:
    path = folder / "card.toml"
    path.write_bytes(b'name = "caf\xe9"\n')
    with pytest.raises(UsageProblem, match="UTF-8"):
        load_card(str(path))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (("[metric]", "[metrics]"), ["metrics: unknown key", "did you mean 'metric'"]),
        (('path = "dev.jsonl"', 'path = "dev.jsonl"\ntrustd = true'), ["dev.trustd", "did you mean 'trusted'"]),
        (('path = "train.jsonl"', 'pth = "train.jsonl"'), ["sources.train.pth", "did you mean 'path'"]),
        (('name = "exact_match"', 'name = "exactmatch"'), ["metric.name", "'exactmatch'", "macro_f1"]),
        (('name = "exact_match"', 'max_new_tokens = "many"'), ["metric.max_new_tokens", "'many'"]),
        (('[dev]\npath = "dev.jsonl"\n', ""), ["dev: missing"]),
        (('name = "mine"', 'name = "My Task"'), ["name:", "'My Task'"]),
        (('path = "train.jsonl"', 'path = "gone.jsonl"'), ["sources.train.path", "gone.jsonl"]),
        (('path = "train.jsonl"', 'path = "train.xlsx"'), ["sources.train.path", "neither .jsonl nor .parquet"]),
        (('path = "train.jsonl"', 'hub = "a/b"\nsplit = "train"'), ["sources.train", "revision"]),
        (('path = "train.jsonl"', f'hub = "a/b"\nsplit = "x"\nrevision = "{"f" * 39}"'), ["sources.train.revision"]),
        (('path = "train.jsonl"', 'path = "train.jsonl"\nhub = "a/b"'), ["sources.train", "exactly one of path, hub"]),
        (('path = "train.jsonl"', 'generator = "listop"\npart = "crowd"\nrows = 9'), ["sources.train.generator"]),
        (('path = "train.jsonl"', 'generator = "listops"\npart = "croud"\nrows = 9'), ["sources.train.part"]),
        (('path = "train.jsonl"', 'generator = "listops"'), ["sources.train", "part and rows"]),
        (("{{ q }}", "{{ q"), ["prompt.prompt", "line 1 of the template"]),
        (("{{ a }}", "{{ a | nofilter }}"), ["prompt.answer", "nofilter"]),
        (('name = "exact_match"', 'name = "macro_f1"'), ["metric.labels"]),
        (('name = "exact_match"', 'name = "label_set_f1"'), ["metric.labels"]),
        (('name = "exact_match"', 'name = "label_set_f1"\nlabels = ["a", "b, c"]'), ["metric.labels", "'b, c'"]),
        (("[metric]", "[default_train]\nlr = 1.0\n[metric]"), ["default_train", "lr: unknown key"]),
        (("[metric]", "[default_train]\nlearning_rate = -1.0\n[metric]"), ["default_train", "learning_rate"]),
        (("[sources.train]", '[sources."../x"]'), ["sources.../x", "file name"]),
    ],
)
def test_a_wrong_key_is_named_with_its_remedy(folder: Path, change: tuple[str, str], words: list[str]) -> None:
    assert change[0] in GOOD
    problem = _problem(folder, GOOD.replace(*change))
    assert isinstance(problem, UsageProblem)
    text = problem.message + problem.hint
    assert all(word in text for word in words), text


def test_an_unknown_generator_suggests_the_nearest(folder: Path) -> None:
    text = GOOD.replace('path = "train.jsonl"', 'generator = "listop"\npart = "crowd"\nrows = 9')
    assert "did you mean 'listops'" in _problem(folder, text).hint


def test_many_wrong_keys_are_counted_not_all_listed(folder: Path) -> None:
    text = "".join(f"x{number} = 1\n" for number in range(9)) + GOOD
    assert "and 4 more" in _problem(folder, text).message
