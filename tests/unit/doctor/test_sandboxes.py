"""The doctor's word on sandboxes: what holds on a node, held against what the profile says."""

from __future__ import annotations

import pytest

from hpc_trex.doctor.sandboxes import check_sandbox, found
from hpc_trex.models import Container, Profile

HOLDS = {"bwrap": "", "apptainer": "not installed"}
NOTHING = {"bwrap": "setting up uid map: Permission denied", "apptainer": "not installed"}


@pytest.mark.parametrize(
    ("means", "keys", "jobs", "verdict", "word"),
    [
        (HOLDS, {}, True, "ok", "not allowed (agent_code)"),
        (NOTHING, {}, True, "ok", "not allowed (agent_code)"),
        (HOLDS, {"agent_code": True}, True, "ok", "bwrap: holds; apptainer: not installed"),
        (HOLDS, {"agent_code": True, "sandbox": "bwrap"}, True, "ok", "bwrap: holds"),
        (NOTHING, {"agent_code": True}, True, "warning", "python steps will fail here"),
        (NOTHING, {"agent_code": True, "sandbox": "bwrap"}, True, "failure", "relies on bwrap"),
        (HOLDS, {"agent_code": True, "sandbox": "apptainer"}, True, "failure", "relies on apptainer"),
        (HOLDS, {"agent_code": True, "sandbox": "none"}, True, "warning", "python steps are refused"),
        (NOTHING, {"agent_code": True, "sandbox": "bwrap"}, False, "ok", "what counts is where jobs run"),
    ],
)
def test_the_verdict_compares_the_node_with_the_profile(means, keys, jobs, verdict, word):
    check = check_sandbox("sandbox", means, Profile(name="mine", **keys), jobs=jobs)
    assert (check.verdict.value, word in check.found) == (verdict, True), check
    assert check.remedy or check.verdict.value == "ok"


def test_the_key_to_write_is_named():
    check = check_sandbox("sandbox", HOLDS, Profile(name="mine", agent_code=True), jobs=True)
    assert check.remedy.startswith('sandbox = "bwrap" in the profile')


def test_where_jobs_run_in_an_image_it_is_the_image_that_lacks_something():
    def word(**keys: object) -> str:
        return check_sandbox("sandbox", NOTHING, Profile(name="mine", agent_code=True, **keys), jobs=True).remedy

    assert word().startswith("install bubblewrap there and")
    assert word(container=Container(image="/images/trex.sif")).startswith("install bubblewrap in the image")


def test_this_machine_is_really_tried():
    assert found(None)["bwrap"] == ""


def test_the_image_of_a_container_serves_unless_another_is_named():
    sif = Container(image="/images/trex.sif")
    assert Profile(name="p").image_of_code is None
    assert Profile(name="p", container=sif).image_of_code == "/images/trex.sif"
    assert Profile(name="p", container=sif, sandbox_image="/images/py.sif").image_of_code == "/images/py.sif"
    assert Profile(name="p", container=Container(image="docker#x:1", runner="pyxis")).image_of_code is None
