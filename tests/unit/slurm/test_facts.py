"""What scontrol, sinfo and sacctmgr print is read whatever a site puts into it."""

from __future__ import annotations

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpc_trex.slurm import facts
from hpc_trex.slurm.facts import Gres
from tests.unit.slurm.sites import MI300


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("gpu:8", [Gres("gpu", "", 8)]),
        ("gpu:a100:4(S:0-1)", [Gres("gpu", "a100", 4)]),
        ("gpu:mi300x:8(S:0,2-3),nvme:3500G", [Gres("gpu", "mi300x", 8), Gres("nvme", "", 3500 * 1024**3)]),
        ("gpu:h100:4(S:0-3),shard:h100:16(S:0-3)", [Gres("gpu", "h100", 4), Gres("shard", "h100", 16)]),
        ("gpu:nvidia_a100_1g.5gb:7(S:0),gpu:a100:1", [Gres("gpu", "nvidia_a100_1g.5gb", 7), Gres("gpu", "a100", 1)]),
        ("gpu:1g.10gb:7", [Gres("gpu", "1g.10gb", 7)]),
        ("gres/gpu:v100:2", [Gres("gpu", "v100", 2)]),
        ("gpu", [Gres("gpu", "", 1)]),
        ("lustre:no_consume:1", [Gres("lustre", "", 1)]),
        ("(null)", []),
        ("", []),
    ],
)
def test_gres_of_every_kind_is_read(text, wanted):
    assert list(facts.parse_gres(text)) == wanted


def test_slices_are_told_from_whole_gpus():
    slices = facts.parse_gres("gpu:nvidia_a100_1g.5gb:7,gpu:a100:1,shard:8")
    assert [one.is_slice for one in slices] == [True, False, False]


@pytest.mark.parametrize(
    ("text", "minutes"),
    [
        ("UNLIMITED", None), ("NONE", None), ("infinite", None), ("", None), ("n/a", None),
        ("30", 30), ("30:00", 30), ("01:30:00", 90), ("2-00:00:00", 2880), ("7-12", 10800), ("1-02:03", 1563), ("00:00:30", 0),
    ],
)  # fmt: skip
def test_time_limits_are_read_as_slurm_prints_them(text, minutes):
    assert facts.parse_minutes(text) == minutes


@given(st.integers(0, 60), st.integers(0, 23), st.integers(0, 59))
def test_a_limit_that_slurm_prints_is_read_as_what_it_was(days, hours, minutes):
    clock = f"{hours:02}:{minutes:02}:00"
    assert facts.parse_minutes(f"{days}-{clock}" if days else clock) == (days * 24 + hours) * 60 + minutes


NAMES = st.text(string.ascii_lowercase + string.digits + "_-", min_size=1, max_size=9).filter(
    lambda text: text[0].isalpha()
)
#: In the place of a name they mean something else to Slurm: nothing at all, and the list's own prefix.
WORDS = ("null", "gres")
TYPES = NAMES.filter(lambda text: text != "no_consume")


@given(
    st.lists(
        st.tuples(
            NAMES.filter(lambda name: name not in WORDS),
            st.one_of(st.just(""), TYPES),
            st.integers(0, 999),
            st.booleans(),
        )
    )
)
def test_gres_is_read_back_from_what_slurm_would_print(resources):
    parts = [
        ":".join([name, *([kind] if kind else []), str(count)]) + ("(S:0-1,3)" if sockets else "")
        for name, kind, count, sockets in resources
    ]
    assert list(facts.parse_gres(",".join(parts))) == [Gres(name, kind, count) for name, kind, count, _ in resources]


@given(st.text(max_size=200))
def test_no_answer_breaks_a_reader(text):
    for read in (
        facts.parse_config, facts.parse_partitions, facts.parse_nodes, facts.parse_gres, facts.parse_minutes,
        facts.parse_associations,
    ):  # fmt: skip
        read(text)


def test_partitions_are_read_with_limits_and_who_may_use_them():
    found = {one.name: one for one in facts.parse_partitions("Welcome to the big one!\n" + "\n".join(MI300.partitions))}
    assert list(found) == ["interactive", "mi300", "mi300-short", "h100", "secret", "theirs", "broken"]
    assert found["interactive"].default
    assert (found["mi300"].max_minutes, found["mi300"].default_minutes, found["mi300"].tier) == (10080, 60, 10)
    assert (found["h100"].max_minutes, found["h100"].default_minutes) == (None, None)
    assert found["secret"].hidden
    assert not found["broken"].up
    assert found["theirs"].accounts == ("physics", "chemistry")


def test_nodes_that_are_drained_or_down_are_known_whatever_sign_stands_behind():
    groups = facts.parse_nodes(MI300.nodes)
    assert [(group.partition, group.usable) for group in groups[:3]] == [
        ("interactive", True),
        ("mi300", True),
        ("mi300", False),
    ]
    assert next(group for group in groups if group.partition == "h100").memory_mb == 1031000
    states = [
        "idle",
        "mixed",
        "allocated",
        "completing",
        "planned",
        "idle~",
        "reserved",
        "down*",
        "draining",
        "maint",
        "powered_down",
    ]
    lines = "".join(f"p|1|8|1000|{state}|gpu:1\n" for state in states)
    assert [group.usable for group in facts.parse_nodes(lines)] == [True] * 7 + [False] * 4


def test_accounts_are_read_once_each():
    rows = facts.parse_associations("ml||normal,long|normal\nml||normal,long|normal\nml|gpu|x|\nsacctmgr: error\n")
    assert [(row.account, row.partition, row.qos, row.default_qos) for row in rows] == [
        ("ml", "", ("normal", "long"), "normal"),
        ("ml", "gpu", ("x",), ""),
    ]
