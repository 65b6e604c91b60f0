"""Does a training fit, and with what micro-batch? Words for a plan that does not."""

from __future__ import annotations

from hpc_trex.errors import UsageProblem
from hpc_trex.memory.estimate import USABLE, Estimate, estimate
from hpc_trex.memory.shape import Shape, model_shape
from hpc_trex.models import SearchConfig, TrainConfig

GIB = 2**30


def largest_micro(shape: Shape, train: TrainConfig, *, gpu_gb: float, processes: int = 1, half: bool = True) -> int:
    """Return the largest micro-batch that fits into a GPU of ``gpu_gb`` GiB, at most a process's share of the batch; 0: none."""
    low, high = 0, max(1, -(-train.batch_size // processes))
    while low < high:
        middle = (low + high + 1) // 2
        need = estimate(shape, train, micro=middle, processes=processes, half=half)
        low, high = (middle, high) if need.total <= USABLE * gpu_gb * GIB else (low, middle - 1)
    return low


def misfit(train: TrainConfig, config: SearchConfig) -> str:
    """Return why a training cannot run on the profile's GPUs, with figures; empty: it can, or nothing is known."""
    known = _known(config)
    if known is None:
        return ""
    shape, gpu_gb, processes = known
    half = train.precision != "fp32"
    if train.attention == "auto":  # flash attention, where jobs have it, keeps no masks: what it can do is not refused
        train = train.model_copy(update={"attention": "flash_attention_2"})
    most = largest_micro(shape, train, gpu_gb=gpu_gb, processes=processes, half=half)
    if most >= (train.micro_batch_size or 1):
        return ""
    need = estimate(shape, train, micro=train.micro_batch_size or 1, processes=processes, half=half)
    room = f"the profile's GPUs have {gpu_gb:g} GiB (gpu_mem_gb), {USABLE * gpu_gb:.1f} of them usable"
    if most:
        return f"micro_batch_size {train.micro_batch_size} needs {words(need)}; {room}: at most {most} fit"
    return f"one row of {train.max_seq_len} tokens needs {words(need)}; {room}: {advice(train, processes)}"


def require_fit(config: SearchConfig) -> None:
    """Raise :class:`UsageProblem` where the training that every plan of a search starts from cannot fit.

    A search without rounds trains nothing.
    """
    if not config.budget.max_nodes:
        return
    too_large = misfit(TrainConfig.model_validate(config.default_train), config)
    if too_large:
        raise UsageProblem(
            f"profile {config.profile.name}: {too_large}", hint="change default_train of the task card, or the profile"
        )


def advice(train: TrainConfig, processes: int = 1) -> str:
    """Return what makes a training smaller and is not done yet."""
    ways = [] if train.gradient_checkpointing else ["gradient_checkpointing = true"]
    ways += ["parallel = fsdp"] if processes > 1 and train.parallel == "ddp" and train.quantization == "none" else []
    ways += ["method = lora"] if train.method == "full" else []
    ways += ["quantization = nf4"] if train.method == "lora" and train.quantization == "none" else []
    return ", ".join([*ways, "a smaller max_seq_len or a smaller model"])


def plan_lines(config: SearchConfig) -> list[str]:
    """Return a line for ``launch`` about the task card's own training; nothing where no GPU's memory is known."""
    if not config.profile.train.gpus or config.profile.gpu_mem_gb is None:
        return []
    known = _known(config)
    if known is None:
        return [f"memory     no estimate: the architecture of {config.model} is not one of those that are counted"]
    shape, gpu_gb, processes = known
    train = TrainConfig.model_validate(config.default_train)
    half = train.precision != "fp32"
    most = largest_micro(shape, train, gpu_gb=gpu_gb, processes=processes, half=half)
    need = estimate(shape, train, micro=max(1, most), processes=processes, half=half)
    return [f"memory     {words(need)} of {gpu_gb:g} GiB a GPU, with micro-batches of {max(1, most)}"]


def words(need: Estimate) -> str:
    """Return an estimate for a person, in GiB."""
    parts = ", ".join(f"{name} {value / GIB:.1f}" for name, value in need._asdict().items() if value >= 0.05 * GIB)
    return f"about {need.total / GIB:.1f} GiB" + (f" ({parts})" if parts else "")


def _known(config: SearchConfig) -> tuple[Shape, float, int] | None:
    profile = config.profile
    if not profile.train.gpus or profile.gpu_mem_gb is None:
        return None
    shape = model_shape(config.model, config.model_path)
    return None if shape is None else (shape, profile.gpu_mem_gb, profile.train.processes)
