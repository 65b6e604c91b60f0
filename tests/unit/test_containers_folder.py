"""The definitions of the images: linted, pinned, saying the same twice. tests/local runs their common script.

No image is built by the tests: neither Apptainer nor a Docker daemon is where they run.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from spython.main.parse.parsers import SingularityParser

from hpc_trex import version
from tests import pins

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "containers"
PINS = ("pins.txt", "cuda.txt", "flash.txt", "tools.txt")
SCRIPTS = ("install.sh", "smoke.sh")
STEPS = (
    "install.sh packages /opt/hpc-trex",
    "install.sh flash /opt/hpc-trex",
    "install.sh program /opt/hpc-trex /opt/source",
)


def lines(name: str) -> list[str]:
    return [line for line in (FOLDER / name).read_text().splitlines() if line and not line.startswith("#")]


def tool(*words: object) -> subprocess.CompletedProcess[str]:
    """Run a linter of this environment; its words when it complains."""
    program = Path(sys.executable).parent / str(words[0])
    return subprocess.run([program, *map(str, words[1:])], capture_output=True, text=True, check=False)


def install(folder: Path, *words: object, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run the script that stands in ``folder``."""
    command = [folder / "install.sh", *map(str, words)]
    return subprocess.run(command, env=os.environ | variables, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def stages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict]:
    """The stages of the Apptainer definition, as a parser of that format reads them."""
    path = tmp_path_factory.mktemp("def") / "Singularity"  # the parser tells formats by the file's name
    shutil.copy(FOLDER / "hpc-trex.def", path)
    return {name: vars(stage) for name, stage in SingularityParser(str(path)).recipe.items()}


def dockerfile() -> list[str]:
    """The instructions of the Dockerfile, each on one line."""
    text = (FOLDER / "Dockerfile").read_text()
    return [line for line in re.sub(r"\\\n\s*", "", text).splitlines() if line and not line.startswith("#")]


def test_the_pins_are_those_of_the_constraints():
    assert (FOLDER / "pins.txt").read_text() == pins.pins(), "python -m tests.pins > containers/pins.txt"


@pytest.mark.parametrize("name", PINS)
def test_every_package_has_one_exact_version(name):
    found = [Requirement(line) for line in lines(name)]
    assert found
    assert [str(one) for one in found if not re.fullmatch(r"==[^,*]+", str(one.specifier)) or one.url] == []
    names = [pins.canonical(one.name) for one in found]
    assert len(names) == len(set(names))


def test_no_package_is_pinned_twice_with_two_versions():
    seen: dict[str, str] = {}
    for path in [*(FOLDER / name for name in PINS), ROOT / "constraints.txt"]:
        for name, line in pins.pinned(path).items():
            assert seen.setdefault(name, line.split("==")[1]) == line.split("==")[1], f"{path.name}: {line}"


def test_what_the_program_says_it_needs_is_met_by_the_pins():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = project["dependencies"] + [one for extra in pins.EXTRAS for one in project["optional-dependencies"][extra]]
    given = {name: line.split("==")[1] for name, line in pins.pinned(FOLDER / "pins.txt").items()}
    for text in wanted:
        need = Requirement(text)
        assert given[pins.canonical(need.name)] in need.specifier, text
    flash = Requirement(project["optional-dependencies"]["flash"][0])
    assert pins.pinned(FOLDER / "flash.txt")["flash-attn"].split("==")[1] in flash.specifier


def test_the_cuda_of_the_base_images_is_that_of_torch(stages):
    """An extension compiled with another major version is refused by torch."""
    toolkit = pins.pinned(FOLDER / "cuda.txt")["cuda-toolkit"].split("==")[1]
    assert (FOLDER / "cuda.txt").read_text().count(f" torch {pins.pinned(FOLDER / 'pins.txt')['torch'][7:]} ") == 1
    docker = re.findall(r"^ARG CUDA=(\S+)$", "\n".join(dockerfile()), re.MULTILINE)
    apptainer = re.findall(r"^    CUDA=(\S+)$", (FOLDER / "hpc-trex.def").read_text(), re.MULTILINE)
    assert len(docker) == 1
    assert len(apptainer) == len(stages) == 2  # each stage knows its own arguments only
    assert {*docker, *apptainer} == {".".join(toolkit.split(".")[:3])}


def test_the_dockerfile_passes_its_linter():
    done = tool("hadolint", "--no-color", FOLDER / "Dockerfile")
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_the_linter_of_dockerfiles_finds_something_where_there_is_something(tmp_path):
    bad = tmp_path / "Dockerfile"
    bad.write_text("FROM ubuntu:latest\nRUN cd /tmp && apt-get install gcc\n")
    assert {"DL3007", "DL3008"} <= set(re.findall(r"DL\d+", tool("hadolint", bad).stdout))


@pytest.mark.parametrize("name", SCRIPTS)
def test_the_scripts_pass_shellcheck_and_can_be_run(name):
    done = tool("shellcheck", FOLDER / name)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")
    assert os.access(FOLDER / name, os.X_OK)


def test_the_shell_of_the_apptainer_definition_passes_shellcheck(stages, tmp_path):
    assert list(stages) == ["build", "final"]
    for name, stage in stages.items():
        script = tmp_path / f"{name}.sh"
        # %post runs in sh -e; environment lines lose their "export" to the parser.
        script.write_text("#!/bin/sh -e\n" + "\n".join([*stage["install"], *stage["environ"]]) + "\n")
        done = tool("shellcheck", "--exclude=SC2034", script)
        assert (done.returncode, done.stdout) == (0, "")


def test_both_definitions_take_the_same_steps_and_no_package_but_through_the_script(stages):
    docker = [line.removeprefix("RUN ") for line in dockerfile() if line.startswith("RUN ")]
    apptainer = [line for stage in stages.values() for line in stage["install"]]
    for given in (docker, apptainer):
        taken = [re.sub(r"^.*/(install\.sh)", r"\1", line) for line in given if "install.sh" in line]
        assert taken == list(STEPS)
        assert not [line for line in given if re.search(r"\b(pip|pip3|uv|conda|curl|wget|git)\b", line)]

    def debian(given: list[str]) -> list[set[str]]:
        found = [re.search(r"apt-get install -y --no-install-recommends ([a-z0-9+. -]+)", line) for line in given]
        return [set(match[1].split()) for match in found if match]

    assert debian(docker) == debian(apptainer)
    assert len(debian(docker)) == 2


def test_both_images_hold_what_keeps_code_of_agents_in(stages):
    """In the last stage: what the first one installs is left behind."""
    last = dockerfile()[max(place for place, line in enumerate(dockerfile()) if line.startswith("FROM ")) :]
    for given in (last, stages["final"]["install"]):
        (packages,) = [line for line in given if "apt-get install" in line]
        assert "bubblewrap" in packages.split()


def test_both_definitions_have_the_same_arguments_bases_and_labels(stages):
    text = "\n".join(dockerfile())
    arguments = {name: value.strip('"') for name, value in re.findall(r"^ARG (\w+)=(.+)$", text, re.MULTILINE)}
    assert dict(re.findall(r"^    ([A-Z_]+)=(.+)$", (FOLDER / "hpc-trex.def").read_text(), re.MULTILINE)) == arguments
    used = set(re.findall(r"\{\{ (\w+) \}\}", (FOLDER / "hpc-trex.def").read_text()))
    assert used == set(arguments)
    bases = re.findall(r"^FROM (\S+)", text, re.MULTILINE)
    assert [re.sub(r"\{\{ \w+ \}\}", "${CUDA}", stage["fromHeader"]) for stage in stages.values()] == bases
    labels = dict(re.findall(r'(org\.opencontainers\.\S+)="([^"]*)"', text))
    assert dict(line.split(" ", 1) for line in stages["final"]["labels"]) == labels
    assert labels["org.opencontainers.image.version"] == version()


def test_both_definitions_bring_all_that_the_wheel_is_built_from(stages):
    """What pyproject.toml names; .gitignore too, which keeps private files out."""
    build = tomllib.loads((ROOT / "pyproject.toml").read_text())
    wheel = build["tool"]["hatch"]["build"]["targets"]["wheel"]
    project = build["project"]
    needed = {*wheel["packages"], *wheel["force-include"], project["readme"], *project["license-files"]}
    needed |= {"pyproject.toml", ".gitignore"}
    apptainer = {line.split()[0]: line.split()[1] for line in stages["build"]["files"]}
    assert apptainer == {name: f"/opt/source/{name}" for name in needed}
    copied = {}
    for line in dockerfile():
        if line.startswith("COPY ") and "/opt/source/" in line:
            *names, target = line.split()[1:]
            copied |= {name: target + name if target.endswith("/") else target for name in names}
    assert copied == apptainer


def test_an_image_keeps_the_home_folders_packages_out_and_does_not_decide_about_the_network(stages):
    docker = next(line for line in dockerfile() if line.startswith("ENV ")).split()[1:]
    for given in (docker, stages["final"]["environ"]):
        assert given == ["PATH=/opt/hpc-trex/bin:$PATH", "PYTHONNOUSERSITE=1", "PYTHONSAFEPATH=1"]
    assert "OFFLINE" not in (FOLDER / "Dockerfile").read_text() + (FOLDER / "hpc-trex.def").read_text()


def test_both_builds_end_by_importing_everything(stages):
    assert dockerfile()[-2] == "RUN /opt/hpc-trex/smoke.sh"
    assert "%test\n    /opt/hpc-trex/smoke.sh\n" in (FOLDER / "hpc-trex.def").read_text()


def test_the_script_explains_itself_to_whoever_calls_it_wrongly(tmp_path):
    for words in ([], ["packages"], ["program", tmp_path / "env"], ["everything", tmp_path / "env"]):
        done = install(FOLDER, *words)
        assert done.returncode == 2
        assert len(re.findall("usage: install.sh", done.stderr)) == 3
    assert not list(tmp_path.iterdir())


def test_flash_attn_is_left_out_on_demand_and_missed_plainly_without_a_compiler(tmp_path):
    done = install(FOLDER, "flash", tmp_path / "env", HPC_TREX_FLASH="no")
    assert done.returncode == 0
    assert "SDPA" in done.stdout
    bare = tmp_path / "bin"  # a machine may have nvcc in any folder of its PATH
    bare.mkdir()
    for name in ("bash", "dirname", "mktemp", "rm"):
        (bare / name).symlink_to(shutil.which(name) or name)
    done = install(FOLDER, "flash", tmp_path / "env", PATH=str(bare))
    assert done.returncode == 1
    assert "nvcc is not on the PATH" in done.stderr
