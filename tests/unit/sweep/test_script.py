"""The batch script of an array, as Slurm would get it."""

from __future__ import annotations

import pytest

from hpc_trex.models import Container, Resources
from hpc_trex.sweep.chunks import Chunk
from hpc_trex.sweep.folder import read_config
from hpc_trex.sweep.records import ArrayRecord
from hpc_trex.sweep.script import render

RECORD = ArrayRecord(number=1, token="s-a1", elements=(0,))


@pytest.mark.parametrize(("gpus", "asks_cpus", "told"), [(0, True, True), (2, True, True), (2, False, False)])
def test_an_element_in_a_container_of_pyxis_has_all_its_cpus_and_ends_with_its_first_failure(
    make, gpus, asks_cpus, told
):
    paths = make(scheduler="slurm")
    config = read_config(paths)
    boxed = config.profile.model_copy(
        update={"container": Container(image="docker#x:1", runner="pyxis"), "cpu_request": asks_cpus}
    )
    resources = Resources(gpus_per_node=gpus, cpus_per_task=6)
    config = config.model_copy(update={"profile": boxed, "resources": resources})
    (line,) = (line for line in render(paths, config, RECORD, Chunk((0,), None, waits=False)).splitlines() if "exec srun" in line)  # fmt: skip
    words = line.split()
    assert {"--ntasks=1", "--export=ALL", "--kill-on-bad-exit=1", "--wait=0"} <= set(words)
    assert ("--cpus-per-task=6" in words) is told
