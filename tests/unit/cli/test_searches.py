"""Searches are found by name, path or age; a new one gets a free name."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from hpc_trex.errors import NotFound
from hpc_trex.searches import find_search, list_searches, new_name, newest_search


def make(root: Path, name: str, age: int) -> None:
    (root / name).mkdir(parents=True)
    config = root / name / "search.toml"
    config.touch()
    os.utime(config, (1_000_000 - age, 1_000_000 - age))


@pytest.fixture
def home(tmp_path: Path) -> Path:
    root = tmp_path / "searches"
    make(root, "old-1", 30)
    make(root, "new-1", 10)
    make(root, "mid-1", 20)
    (root / "not-a-search").mkdir()
    return root


def test_the_newest_comes_first_and_other_folders_are_passed_over(home: Path) -> None:
    assert [paths.root.name for paths in list_searches()] == ["new-1", "mid-1", "old-1"]
    assert newest_search().root == home / "new-1"


def test_a_name_counts_before_a_folder_of_that_name_here(home: Path) -> None:
    make(Path.cwd(), "old-1", 0)
    assert find_search("old-1").root == home / "old-1"
    assert find_search("./old-1").root == Path.cwd() / "old-1"


def test_a_folder_that_is_no_search_is_not_found(home: Path) -> None:
    with pytest.raises(NotFound, match="no search 'not-a-search'"):
        find_search("not-a-search")
    with pytest.raises(NotFound):
        find_search(str(home))


@pytest.mark.parametrize(
    ("task", "name"),
    [("mini-listops", "mini-listops-1"), ("/data/My task.toml", "My-task-1"), ("old", "old-2"), ("---", "search-1")],
)
def test_a_new_name_is_the_task_and_the_next_free_number(home: Path, task: str, name: str) -> None:
    assert new_name(task) == name


def test_a_first_name_needs_no_folder() -> None:
    assert new_name("listops") == "listops-1"
