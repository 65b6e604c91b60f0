"""A first profile from a live cluster, and its text: every line says where it comes from (``profile init``)."""

from __future__ import annotations

import json
import re
import textwrap
import tomllib
from typing import Any, NamedTuple

from hpc_trex.errors import UsageProblem
from hpc_trex.models import Profile, Resources
from hpc_trex.slurm import choice as rules
from hpc_trex.slurm.commands import Ask, ask
from hpc_trex.slurm.preflight import check_limits
from hpc_trex.slurm.spelling import accepted, takes
from hpc_trex.slurm.survey import Survey

POLL_SECONDS = 60.0
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_KEYS = {
    "train": "one training: a GPU's share of its node; a process for each GPU",
    "prepare": "making the data of a round",
    "evaluate": "one evaluation",
    "controller": "the controller as a job (launch --as-job)",
}


class Draft(NamedTuple):
    """A profile that Slurm has taken, and what a person should know about it."""

    profile: Profile
    choice: rules.Choice
    survey: Survey
    refused: tuple[str, ...]
    notes: tuple[str, ...]


def draft(
    survey: Survey, *, name: str = "", partition: str | None = None, account: str | None = None, ask: Ask = ask
) -> Draft:
    """Return a profile for this cluster whose jobs Slurm takes.

    Raises :class:`NotFound` for an unknown partition, :class:`UsageProblem` for a bad name, ``SubmitRefused`` when
    Slurm takes no job at all.
    """
    choice = rules.choose(survey, partition)
    measured = rules.sizes(choice)
    profile = Profile(
        name=_name(name or survey.cluster, given=bool(name)),
        scheduler="slurm",
        description=f"{survey.cluster}, partition {choice.facts.name} (made by profile init)",
        partition=choice.facts.name,
        account=account,
        gpu_type=(choice.gpu.type or None) if choice.gpu else None,
        max_minutes=choice.max_minutes,
        gpus_on_a_node=choice.gpus_on_a_node,
        max_array=survey.max_array,
        preemption=_preemption(survey, choice),
        accounting=survey.accounting,
        poll_seconds=POLL_SECONDS,
        **measured,
    )
    found = accepted(profile, [row.account for row in survey.associations], ask=ask)
    profile, notes = _others(found.profile, survey, choice, ask)
    check_limits(profile)
    return Draft(profile, choice, survey, found.refused, tuple(notes))


def _others(profile: Profile, survey: Survey, choice: rules.Choice, ask: Ask) -> tuple[Profile, list[str]]:
    """Find out how this site takes the jobs without GPUs; return the profile with that, and what could not be solved."""
    notes = []
    if takes(profile, "prepare", ask=ask) and profile.train.gpus_per_node:
        with_gpu = profile.prepare.model_copy(update={"gpus_per_node": 1})
        profile = profile.model_copy(update={"prepare": with_gpu})
        notes.append("jobs without a GPU are refused here, so [prepare] asks for one")
    for shape in ("prepare", "evaluate"):
        words = takes(profile, shape, ask=ask)
        if words:
            notes.append(f"[{shape}] is refused still: {words}")
    words = ""
    for partition in rules.for_controller(survey, choice):
        other = (
            profile
            if partition == profile.partition
            else profile.model_copy(update={"controller_partition": partition})
        )
        words = takes(other, "controller", ask=ask)
        if not words:
            return other, notes
    notes.append(f"--as-job will not do here: {words}")
    return profile, notes


def _name(wanted: str, *, given: bool) -> str:
    if given:
        if not _NAME.fullmatch(wanted):
            raise UsageProblem(
                f"{wanted!r} cannot be a profile's name", hint="letters, digits, dots, dashes and underscores"
            )
        return wanted
    return re.sub(r"[^A-Za-z0-9._-]", "-", wanted).lstrip(".-_")[:64] or "cluster"


def _preemption(survey: Survey, choice: rules.Choice) -> str:
    mode = choice.facts.preempt_mode or survey.config.get("PreemptMode", "OFF")
    return mode if rules.preemptible(survey, choice.facts) else "OFF"


# ---- as text ------------------------------------------------------------------------------------------------------------


def text(made: Draft) -> str:
    """Return the profile as commented TOML. It reads back as the very same profile."""
    profile, choice, survey = made.profile, made.choice, made.survey
    lines = [
        *_comment(
            f"Made by hpc-trex profile init on cluster {survey.cluster} (Slurm {survey.config.get('SLURM_VERSION', '?')}). "
            "Yours to edit; docs/profiles.md says what each key means. Prove it: hpc-trex profile check THIS_FILE"
        ),
        *(line for note in made.notes for line in _comment(f"NOTE: {note}")),
        f"name = {_value(profile.name)}",
        'scheduler = "slurm"',
        f"description = {_value(profile.description)}",
        "",
        *_comment(f"Chosen because: {choice.why}. All of them:"),
        *(f"#   {line}" for line in _table(survey)),
        f"partition = {_value(profile.partition)}",
        *_accounts(made),
        *_spelling(made),
        *_limits(made),
        "",
        f"accounting = {_value(profile.accounting)}{_ACCOUNTING[profile.accounting]}",
        *_comment("One squeue so often, however many jobs. Many sites forbid more."),
        f"poll_seconds = {profile.poll_seconds:g}",
        *_comment("Where the internet is: compute, login or none. hpc-trex doctor tries it."),
        f"network = {_value(profile.network)}",
        *_comment(
            'Before each job: modules = ["cuda/12.4"], setup = ["source ..."]; the interpreter on the compute nodes: '
            'python = "/path/python", else the one that runs hpc-trex.'
        ),
    ]
    for section, words in _KEYS.items():
        lines += ["", f"[{section}]  # {words}", *_resources(getattr(profile, section))]
    result = "\n".join(lines) + "\n"
    assert Profile.model_validate(tomllib.loads(result)) == profile
    return result


_ACCOUNTING = {
    "yes": "  # sacct answers",
    "no": "  # sacct does not answer here: states come from squeue, and from the jobs' own files",
    "auto": "  # sacct failed just now; asked again in each search",
}


def _accounts(made: Draft) -> list[str]:
    profile, rows = made.profile, made.survey.associations
    lines = []
    if rows:
        named = ", ".join(
            row.account
            + (f" (only {row.partition})" if row.partition else "")
            + (f" [qos {', '.join(row.qos)}]" if row.qos else "")
            for row in rows[:12]
        )
        lines += _comment(f"Your accounts: {named}")
    line = (
        f"account = {_value(profile.account)}"
        if profile.account
        else '# account = "..."  # not needed here: Slurm takes jobs without'
    )
    return [*lines, line, '# qos = "..."', '# constraint = "..."  # a node feature: sinfo -o "%P %f"']


def _spelling(made: Draft) -> list[str]:
    profile = made.profile
    lines = ["", *(line for words in made.refused[:8] for line in _comment(f"refused: {words}"))]
    if made.choice.gpu is None:
        lines += _comment("No GPUs were found in this partition: trainings run on CPUs.")
    else:
        lines.append(f"gpu_request = {_value(profile.gpu_request)}  # the first spelling that sbatch --test-only took")
        types = [name or "(no type)" for name in rules.types_of(made.survey, str(profile.partition))]
        lines += _comment(f"GPUs in this partition: {', '.join(types)}")
        if made.choice.gpu.is_slice:
            lines += _comment("These are slices of GPUs (MIG): one a process, and none is shared by two processes.")
        lines.append(
            f"gpu_type = {_value(profile.gpu_type)}" if profile.gpu_type else '# gpu_type = "..."  # any GPU will do'
        )
    lines.append(
        f"mem_request = {_value(profile.mem_request)}" + ("" if profile.mem_request else "  # --mem is refused here")
    )
    if not profile.cpu_request:
        lines.append("cpu_request = false  # --cpus-per-task is refused in GPU jobs")
    return lines


def _limits(made: Draft) -> list[str]:
    profile, facts = made.profile, made.choice.facts
    if facts.max_minutes is None:
        why = "the partition has no limit; a day is asked for at most, as longer jobs wait for the next maintenance"
    elif facts.max_minutes > rules.LONGEST_MINUTES:
        days = facts.max_minutes / rules.A_DAY
        why = f"the partition allows {days:g} days; a day is asked for at most, as longer jobs wait for long"
    else:
        why = "the partition's own limit (MaxTime)"
    lines = ["", *_comment(f"The longest job: {why}."), f"max_minutes = {profile.max_minutes}",
             f"gpus_on_a_node = {profile.gpus_on_a_node}"]  # fmt: skip
    if profile.max_array is not None:
        lines.append(f"max_array = {profile.max_array}  # MaxArraySize")
    if profile.preemption != "OFF":
        lines += _comment(
            "Jobs here may be ended for others at any time: trainings save checkpoints, and a new attempt goes on."
        )
    lines.append(f"preemption = {_value(profile.preemption)}")
    if profile.controller_partition:
        lines.append(f"controller_partition = {_value(profile.controller_partition)}  # needs no GPU")
    return lines


def _resources(given: Resources) -> list[str]:
    standard = Resources().model_dump()
    keys = given.model_dump()
    wanted = [key for key in keys if keys[key] != standard[key] or key in ("cpus_per_task", "mem_gb", "minutes")]
    return [f"{key} = {_value(keys[key])}" for key in wanted]


def _table(survey: Survey) -> list[str]:
    """Return all partitions, one a line, in columns."""
    rows = [("partition", "limit", "nodes", "CPUs", "GB", "GPUs a node", "")]
    for one in survey.partitions:
        groups = [group for group in survey.nodes if group.partition == one.name]
        gpus = {f"{gpu.number} {gpu.type}".strip() for group in groups for gpu in group.gpus}
        words = [rules.closed(survey, one), "default" if one.default else ""]
        words += ["preemptible"] if rules.preemptible(survey, one) else []
        rows.append(
            (
                one.name,
                "none" if one.max_minutes is None else f"{one.max_minutes} min",
                str(sum(group.nodes for group in groups)),
                _span([group.cpus for group in groups]),
                _span([group.memory_mb // 1024 for group in groups]),
                " or ".join(sorted(gpus)) or "-",
                ", ".join(word for word in words if word),
            )
        )
    wide = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, wide, strict=True)).rstrip() for row in rows]


def _span(numbers: list[int]) -> str:
    low, high = min(numbers, default=0), max(numbers, default=0)
    return str(low) if low == high else f"{low}-{high}"


def _comment(words: str) -> list[str]:
    cleaned = "".join(sign if sign.isprintable() else " " for sign in words)
    return textwrap.wrap(cleaned, 116, initial_indent="# ", subsequent_indent="# ", break_long_words=False)


def _value(value: Any) -> str:
    """Return a value as TOML; a basic string is written as JSON writes it."""
    return f"{value:g}" if isinstance(value, float) else json.dumps(value)
