"""Which sandboxes count: such as start and show no hole. bubblewrap is the real one; a missing one is a failure here."""

from __future__ import annotations

import shutil
import stat
import sys
from pathlib import Path

import pytest

from hpc_trex.models import FailureClass
from hpc_trex.sandbox import Rung, SandboxMissing, choose, examine, rungs
from hpc_trex.sandbox.rungs import uncovered


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that is all of the PATH."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    return folder


def write(path: Path, text: str) -> None:
    path.write_text(text)
    path.chmod(path.stat().st_mode | stat.S_IXUSR)


def test_bubblewrap_holds_on_this_machine() -> None:
    found = examine()[0]
    assert (found.means, found.trouble) == ("bwrap", "")
    assert [rung.means for rung in rungs()][:1] == ["bwrap"]


def test_without_any_means_nothing_is_chosen_and_each_is_named(programs: Path) -> None:
    assert rungs() == []
    with pytest.raises(SandboxMissing, match=r"bwrap: not installed; apptainer: not installed") as error:
        choose(None)
    assert error.value.failure is FailureClass.AGENT
    assert "bubblewrap" in error.value.hint


def test_the_profile_can_say_that_there_is_none() -> None:
    with pytest.raises(SandboxMissing, match='sandbox = "none"'):
        choose("none")


def test_the_means_that_the_profile_names_is_not_replaced_by_another() -> None:
    with pytest.raises(SandboxMissing) as error:
        choose("apptainer", "/no/such/image.sif")
    assert "bwrap" not in error.value.message


def test_a_launcher_that_keeps_nothing_in_is_no_sandbox(programs: Path) -> None:
    """It starts the program, as a site's wrapper might, and separates nothing."""
    write(
        programs / "bwrap",
        f'#!/bin/sh\nwhile [ "$1" != -- ]; do shift; done\nshift\nexec {sys.executable} "${{@:2}}"\n'.replace(
            "/bin/sh", "/bin/bash"
        ),
    )
    found = examine()[0]
    assert found.rung is None
    assert "has holes: the code sees the folders outside" in found.trouble
    with pytest.raises(SandboxMissing, match="has holes"):
        choose(None)


def test_a_launcher_that_is_refused_says_so_in_its_own_words(programs: Path) -> None:
    write(programs / "bwrap", "#!/bin/sh\necho 'bwrap: setting up uid map: Permission denied' >&2\nexit 1\n")
    assert "setting up uid map: Permission denied" in examine()[0].trouble


def test_apptainer_needs_an_image_that_is_there(programs: Path) -> None:
    write(programs / "apptainer", "#!/bin/sh\nexit 1\n")
    assert "names no image" in examine()[1].trouble
    assert "no image at /no/such.sif" in examine("/no/such.sif")[1].trouble


def test_apptainer_is_asked_for_everything_to_be_kept_out(tmp_path: Path) -> None:
    words = Rung("apptainer", "/usr/bin/apptainer", "/images/py.sif").command(tmp_path, "SOURCE")
    for option in ("--containall", "--no-home", "--cleanenv", "--net"):
        assert option in words
    assert words[words.index("--network") + 1] == "none"
    assert [words[place + 1] for place, word in enumerate(words) if word == "--bind"] == [f"{tmp_path}:/sandbox"]
    assert words[-1] == "SOURCE"


def test_of_a_prefix_that_is_somebodys_home_only_the_libraries_are_seen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "home"
    shutil.copytree(Path(sys.base_prefix) / "bin", home / "bin", symlinks=True)
    for folder in ("lib", ".ssh"):
        (home / folder).mkdir()
    for base in ("base_prefix", "base_exec_prefix"):
        monkeypatch.setattr(sys, base, str(home))
    rung = Rung("bwrap", "bwrap")
    assert [path for path in rung.mounted() if path.is_relative_to(home)] == [home / "lib"]
    words = rung.command(tmp_path / "work", "SOURCE")
    bound = {words[place + 1] for place, word in enumerate(words) if word in ("--ro-bind", "--bind")}
    assert {path for path in bound if path.startswith(str(home))} == {
        str(home / "lib"),
        words[words.index("--") + 1],
    }


def test_what_lies_inside_the_interpreters_folder_would_be_seen(tmp_path: Path) -> None:
    rung = Rung("bwrap", shutil.which("bwrap") or "")
    inside = Path(sys.base_prefix) / "lib" / "searches" / "one"
    assert uncovered(rung, [tmp_path, inside]) == [inside]
    assert uncovered(rung, [Path("/usr/share/searches")]) != []
