"""GTA, step by step: given the true steps so far, is the model's next one right? Tool calls and final answers.

The rule was read from ``opencompass/opencompass/datasets/gta_bench.py`` (mode every_with_gt) of open-compass/GTA
(Apache-2.0) at commit 10eb3d24, ``models/lagent.py`` beside it at 0658365b, agentlego's ``parsers/default_parser.py``
(e1a53a7c) and ``types.py`` (8dd011fa) there, its ``tools/wrappers/lagent.py`` in InternLM/agentlego at 03981c50, and
``lagent/agents/react.py`` of mzr1996/lagent at 507f8889, and is said here in our own words:

- an answer with ``Final Answer:`` is a final answer: what stands after the last one. Else it is a call: the last ``Action:``
  that ends with a line break, and the JSON object in what follows ``Action Input:``; without both it is neither;
- ``inst_acc``: it is of the right kind, and a call would be taken: a tool that is there, a JSON object of arguments that it
  knows, numbers where it wants numbers, files that are there where it wants files (none has to be given);
- ``tool_acc`` (of steps that are calls): the right tool; ``arg_acc``: and exactly its arguments;
- ``summ_acc`` (of final answers that have a reference): every list of aliases of the whitelist has one that stands in the
  text as words of its own, none of the blacklist does, in any case of letters.

Differences, with reasons: open answers (a list of texts) are compared by chrF instead of the cosine of a sentence encoder
(all-mpnet-base-v2), which would be a second model in the job: their values are not comparable with upstream's. ``inst_acc``
is over all steps; upstream leaves final answers without a reference out of the denominator, not of the count. Paths of files
are compared as they stand in the data, upstream makes both absolute; a file is there if the user gave it, a tool made it,
or the true step takes it.

The score of a step is ours: the mean of the accuracies that it has part in. The four accuracies are in the extra scores.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

from hpc_trex.errors import UsageProblem
from hpc_trex.evaluation.metrics import Judged
from hpc_trex.models import MetricSpec

COLUMNS = ("tools", "paths", "gt_answer", "unseen")
FILES, NUMBERS = ("image", "audio", "video", "file"), {"int": int, "float": float}
FINISH, ACTION, INPUT = "Final Answer:", "Action:", "Action Input:"
_ACTION = re.compile(rf"{ACTION}(.*?)\n")
_INPUT = re.compile(rf"{INPUT}(.*)", re.DOTALL)
_OBJECT = re.compile(r"\{.*\}", re.DOTALL)


class Said(NamedTuple):
    """What a model did in one step. ``kind`` is empty where it neither called a tool nor gave a final answer."""

    kind: Literal["tool", "answer", ""]
    text: str = ""
    """The final answer, or the tool's name."""
    arguments: dict[str, Any] | None = None
    """None where they could not be read."""

    @property
    def shown(self) -> str:
        """The step on one line."""
        if self.arguments is None:
            return self.text
        return f"{self.text} {json.dumps(self.arguments, ensure_ascii=False)}"


def judge_gta_step(answer: str, reference: str, _: MetricSpec, row: Mapping[str, Any]) -> Judged:
    """Judge one step. ``row`` has ``tools`` (name -> its arguments and their types), ``paths``, ``gt_answer``, ``unseen``.

    Flags ``unparsable`` (neither call nor final answer), ``invalid_json`` (a call whose arguments cannot be read) and
    ``image_unseen`` (a result so far is an image, of which a text model reads the name only: ``unseen``).
    Raises :class:`UsageProblem` for a row without these columns, or a reference that is no step.
    """
    missing = [name for name in COLUMNS if name not in row]
    wanted = said(reference)
    if missing or not wanted.kind:
        raise UsageProblem(
            f"the metric gta_steps needs the column {missing[0]}"
            if missing
            else f"{reference!r:.80} is no step of GTA",
            hint=f"the rows come from the reader gta; the card keeps {', '.join(COLUMNS)}",
        )
    given = said(answer)
    right = given.kind == wanted.kind
    paths = (*row["paths"], *(wanted.arguments or {}).values())
    scores = [("inst_acc", float(right and (given.kind == "answer" or _callable(given, row["tools"], paths))))]
    if wanted.kind == "tool":
        same = right and given.text == wanted.text
        scores += [("tool_acc", float(same)), ("arg_acc", float(same and given.arguments == wanted.arguments))]
    elif row["gt_answer"]:
        scores += [("summ_acc", answered(given.text, row["gt_answer"]) if right else 0.0)]
    score = sum(value for _, value in scores) / len(scores)
    flags: tuple[str, ...] = ("image_unseen",) if row["unseen"] else ()
    if answer and not given.kind:
        flags += ("unparsable",)
    if given.kind == "tool" and given.arguments is None:
        flags += ("invalid_json",)
    return Judged(score, given.shown, wanted.shown, flags, tuple(scores))


def said(text: str) -> Said:
    """Return what a text in the format of ReAct does."""
    if FINISH in text:
        return Said("answer", text.rpartition(FINISH)[2].strip())
    actions, inputs = _ACTION.findall(text), _INPUT.findall(text)
    if not actions or not inputs:
        return Said("")
    found = _OBJECT.search(inputs[-1])
    try:
        arguments = json.loads(found.group()) if found else None
    except (ValueError, RecursionError):
        arguments = None
    return Said("tool", actions[-1].strip(), arguments)


def _callable(call: Said, tools: Mapping[str, Mapping[str, str] | None], paths: Sequence[Any]) -> bool:
    """Tell whether the tool would take the call; one whose arguments have no names takes any."""
    if call.text not in tools or call.arguments is None:
        return False
    types = tools[call.text]
    given = call.arguments.items()
    return types is None or all(name in types and _fits(types[name], value, paths) for name, value in given)


def _fits(kind: str, value: Any, paths: Sequence[Any]) -> bool:
    """Tell whether a value can be made what an argument wants; text and truth can be made of anything."""
    if kind in FILES:
        return isinstance(value, str) and value in paths
    try:
        NUMBERS.get(kind, str)(value)
    except (TypeError, ValueError, OverflowError):
        return False
    return True


def answered(text: str, gt_answer: Any) -> float:
    """Return how right a final answer is, 0 to 1: of ``whitelist`` and ``blacklist`` 0 or 1, of open texts the best chrF."""
    if isinstance(gt_answer, list):
        return max((_chrf(text, str(one)) for one in gt_answer), default=0.0)
    named = all(any(_stands(alias, text) for alias in aliases) for aliases in gt_answer["whitelist"])
    barred = any(_stands(alias, text) for aliases in gt_answer.get("blacklist") or () for alias in aliases)
    return float(named and not barred)


def _stands(alias: str, text: str) -> bool:
    return re.search(rf"\b{re.escape(alias)}\b", text, re.IGNORECASE) is not None


def _chrf(text: str, reference: str) -> float:
    from hpc_trex.evaluation.metrics import judge

    return judge(text, reference, MetricSpec(name="chrf")).score if text and reference else 0.0
