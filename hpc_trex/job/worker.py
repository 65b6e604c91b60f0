"""``python -m hpc_trex.job.worker SPEC``: one rank of a job. It does the work and hands an outcome to the supervisor."""

from __future__ import annotations

import faulthandler
import os
import signal
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hpc_trex.errors import JobFailure, UsageProblem
from hpc_trex.ftbench.sealed import refuse_sealed
from hpc_trex.job.child import die_with_parent
from hpc_trex.job.classify import classify
from hpc_trex.job.files import Outcome, hand_over
from hpc_trex.job.fingerprint import folder_digest
from hpc_trex.job.heartbeat import Beat
from hpc_trex.layout import AttemptPaths, SearchPaths
from hpc_trex.models import FailureClass, Heartbeat, JobKind, JobResult, JobSpec, ModelRef, Score
from hpc_trex.samples import file_digest
from hpc_trex.training.beat import Interrupted
from hpc_trex.training.say import say

#: Exit code of a worker that was asked to stop (EX_TEMPFAIL of sysexits.h).
INTERRUPTED = 75


class Job:
    """What the kinds of work share: the spec, its files, the heartbeat and this process's rank."""

    def __init__(self, spec: JobSpec, rank: int) -> None:
        self.spec = spec
        self.rank = rank
        self.paths = AttemptPaths(Path(spec.attempt_dir))
        self.beat = Beat(self.paths, every=spec.heartbeat_seconds, rank=rank)

    def result(self, **fields: Any) -> JobResult:
        """Return a result that says success."""
        return JobResult(token=self.spec.token, state="succeeded", repairs=self.spec.repairs, **fields)


def _base(job: Job) -> JobResult:
    from hpc_trex.training.base_model import make_builtin

    steps = job.spec.train.max_steps if job.spec.train else None
    made = make_builtin(job.spec.base.name, job.spec.cache_dir, job.beat, steps=steps)
    say(f"base model {made.ref.name} in {made.ref.path} ({'made now' if made.fresh else 'made before'})")
    return job.result(
        model=made.ref,
        curve=made.curve,
        steps=made.steps,
        tokens=made.tokens,
        tokens_per_second=made.tokens_per_second,
        hashes={"base": folder_digest(Path(made.ref.path))},
    )


def _prepare(job: Job) -> JobResult:
    from hpc_trex.data.prepare import prepare

    manifest = prepare(job.spec, job.beat)
    say(f"prepared {manifest.get('rows')} rows in {job.spec.data_dir}")
    hashes = {"data": str(manifest["sha256"])} if "sha256" in manifest else {}
    return job.result(data_manifest=manifest, hashes=hashes)


def _baseline(job: Job) -> JobResult:
    evaluation = _evaluate(job, job.spec.base, job.paths.samples)
    return job.result(**_main(job, evaluation, {"base": folder_digest(Path(job.spec.base.path))}))


def _main(job: Job, evaluation: Any, hashes: dict[str, str]) -> dict[str, Any]:
    """Return what a result says of an evaluation; of one that a job of its own will score, where its answers are."""
    if evaluation is None:
        return {"unscored": {"main": str(_answers(job.paths.samples))}, "hashes": hashes}
    return {
        "scores": {"main": evaluation.main},
        "eval_digest": evaluation.rules,
        "extra_scores": dict(evaluation.extra),
        "samples": str(job.paths.samples),
        "hashes": hashes | _evaluated(job),
    }


def _answers(samples: Path) -> Path:
    """Return the file of answers that becomes this file of samples."""
    return samples.with_name(samples.name.replace("samples", "answers"))


def _evaluated(job: Job) -> dict[str, str]:
    """Return the digests of the rows that were evaluated and of the answers to them."""
    assert job.spec.eval_rows is not None
    return {"rows": file_digest(Path(job.spec.eval_rows)), "samples": file_digest(job.paths.samples)}


def _test(job: Job) -> JobResult:
    missing = {"base", "chosen"} - job.spec.compare.keys()
    if missing:
        raise JobFailure(f"a test job needs compare.{', compare.'.join(sorted(missing))}", failure=FailureClass.CONFIG)
    first = job.paths.root / "samples-base.jsonl"
    base = _evaluate(job, job.spec.compare["base"], first)
    chosen = _evaluate(job, job.spec.compare["chosen"], job.paths.samples)
    if base is None or chosen is None:
        return job.result(unscored={"base": str(_answers(first)), "chosen": str(_answers(job.paths.samples))})
    return job.result(**_compared(job, base, chosen))


def _score(job: Job) -> JobResult:
    """Judge the answers that another job has left; no model is loaded, and no torch."""
    from hpc_trex.evaluation.later import score_answers

    job.beat(Heartbeat(phase="evaluating"))
    given = job.spec.to_score
    if given.keys() not in ({"main"}, {"base", "chosen"}):
        raise JobFailure("a score job needs to_score.main, or base and chosen", failure=FailureClass.CONFIG)
    places = {"base": job.paths.root / "samples-base.jsonl"}
    found = {
        name: score_answers(job.spec, Path(path), places.get(name, job.paths.samples)) for name, path in given.items()
    }
    for name, one in found.items():
        say(f"{name}: {_shown(one.main)}")
    if "main" in found:
        return job.result(**_main(job, found["main"], {}))
    return job.result(**_compared(job, found["base"], found["chosen"]))


def _compared(job: Job, base: Any, chosen: Any) -> dict[str, Any]:
    """Return what a result says of two models on the same rows."""
    from hpc_trex.evaluation.scoring import paired_difference

    difference = paired_difference(base, chosen, job.spec.evaluate)
    say(f"difference {_shown(difference)}")
    return {
        "scores": {"base": base.main, "chosen": chosen.main, "difference": difference},
        "eval_digest": chosen.rules,
        "extra_scores": dict(chosen.extra),
        "samples": str(job.paths.samples),
    }


def _train(job: Job) -> JobResult | None:
    """Train, then evaluate on rank 0 alone; the other ranks have no result and end."""
    from hpc_trex.job.reward import task_reward
    from hpc_trex.training.train import train

    trained = train(job.spec, job.beat, task_reward(job.spec))
    if job.rank != 0:
        return None
    model = folder_digest(Path(trained.ref.adapter or trained.ref.path))
    hashes = {**trained.hashes, "base": folder_digest(Path(job.spec.base.path)), "model": model}
    found: dict[str, Any] = {"hashes": hashes}
    if job.spec.eval_rows:
        found = _main(job, _evaluate(job, trained.ref, job.paths.samples, loaded=trained), hashes)
    found["extra_scores"] = dict(trained.extra_scores) | found.get("extra_scores", {})
    return job.result(
        **found,
        model=trained.ref.model_copy(update={"style": trained.style}),
        **trained.figures,
    )


def _evaluate(job: Job, ref: ModelRef, samples: Path, *, loaded: Any = None) -> Any:
    """Evaluate one model on the spec's rows; ``loaded`` is the model that was just trained, in memory still."""
    from hpc_trex.evaluation.evaluate import evaluate
    from hpc_trex.evaluation.vllm_model import choose_backend
    from hpc_trex.training.load import load_model, load_tokenizer

    spec = job.spec
    if not spec.eval_rows:
        raise JobFailure(f"a {spec.kind} job needs eval_rows", failure=FailureClass.CONFIG)
    if loaded is None:
        job.beat(Heartbeat(phase="loading"))
    backend = choose_backend(spec.evaluate.backend, ref, gpus=spec.resources.gpus)
    tokenizer = loaded.tokenizer if loaded else load_tokenizer(ref)
    style = loaded.style if loaded else ref.style
    rows = Path(spec.eval_rows)
    if backend == "vllm":
        evaluation = _by_vllm(job, ref, samples, tokenizer, style, loaded)
    else:
        model = loaded.model if loaded else load_model(ref, attention="auto", precision="auto").model
        evaluation = evaluate(model, tokenizer, spec, rows, samples, job.beat, style=style, later=_later(spec, samples))
    what = "answers written, to be scored by a job of their own" if evaluation is None else _shown(evaluation.main)
    say(f"{ref.name}{' with adapter' if ref.adapter else ''} ({backend}): {what}")
    return evaluation


def _later(spec: JobSpec, samples: Path) -> Path | None:
    return _answers(samples) if spec.evaluate.scoring == "own-job" else None


def _by_vllm(job: Job, ref: ModelRef, samples: Path, tokenizer: Any, style: str | None, loaded: Any) -> Any:
    """Evaluate from the model's files; what is in memory gives its place up first, and vLLM its own afterwards."""
    from hpc_trex.evaluation.evaluate import evaluate
    from hpc_trex.evaluation.vllm_model import free_memory, hold_vllm
    from hpc_trex.training.load import use_half

    assert job.spec.eval_rows is not None
    if loaded is not None:
        free_memory(loaded.model)
    held: list[Any] = []

    def hold(**given: Any) -> Any:
        held.append(hold_vllm(ref, half=use_half("auto"), seed=job.spec.evaluate.seed, **given))
        return held[0]

    try:
        rows, later = Path(job.spec.eval_rows), _later(job.spec, samples)
        return evaluate(None, tokenizer, job.spec, rows, samples, job.beat, style=style, hold=hold, later=later)
    finally:
        for one in held:
            one.release()


def _shown(score: Score) -> str:
    return f"{score.metric} {score.value:.4f} [{score.low:.4f}, {score.high:.4f}], n = {score.n}"


KINDS: dict[JobKind, Callable[[Job], JobResult | None]] = {
    JobKind.BASE: _base,
    JobKind.PREPARE: _prepare,
    JobKind.BASELINE: _baseline,
    JobKind.TRAIN: _train,
    JobKind.TEST: _test,
    JobKind.SCORE: _score,
}


def _keep_sealed(spec: JobSpec) -> None:
    """Refuse rows of a sealed test, under whatever name, to every job but the final evaluation and its scoring."""
    if spec.kind is JobKind.TEST or (spec.kind is JobKind.SCORE and "chosen" in spec.to_score):
        return
    named = (*spec.sources.values(), spec.eval_rows, spec.data_dir)
    test = SearchPaths(Path(spec.task_card).parents[1]).test
    try:
        refuse_sealed([Path(path) for path in named if path], f"the spec of this {spec.kind} job", test)
    except UsageProblem as error:
        raise JobFailure(error.message, failure=FailureClass.CONFIG, hint=error.hint) from None


def work(spec: JobSpec, rank: int) -> int:
    """Do the work of one rank, hand over its outcome and return the exit code. No exception leaves it."""
    job = Job(spec, rank)
    try:
        job.beat(Heartbeat(phase="starting"))
        _keep_sealed(spec)
        result = KINDS[spec.kind](job)
    except Interrupted as stop:
        result = JobResult(
            token=spec.token, state="failed", failure=stop.failure, message=stop.message, steps=stop.step
        )
        hand_over(job.paths, Outcome(result=result, interrupted=True))
        return INTERRUPTED
    except Exception as error:  # noqa: BLE001 - whatever it is, it becomes the result
        failure, message = classify(error)
        if failure is FailureClass.ASKS:
            say(f"{message}: its answers are awaited")
        else:
            traceback.print_exc()
        result = JobResult(token=spec.token, state="failed", failure=failure, message=message[:4000])
        hand_over(job.paths, Outcome(result=result))
        return 1
    if result is not None:
        hand_over(job.paths, Outcome(result=result))
    return 0


def main() -> None:
    """Run, then leave without teardown: a communicator or a driver that hangs there would keep the job's GPUs."""
    faulthandler.register(signal.SIGQUIT, all_threads=True)  # a worker that hangs is asked where it stands
    die_with_parent()
    spec = JobSpec.model_validate_json(Path(sys.argv[1]).read_bytes())
    code = 1
    try:
        code = work(spec, int(os.environ.get("RANK", "0")))
    except Exception:  # noqa: BLE001 - the outcome could not be written: the supervisor reads this
        traceback.print_exc()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    main()
