"""lm-eval's Hugging Face model around a model that is in memory already, with progress and the reason of each ending."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from hpc_trex.errors import UsageProblem

#: Called after each batch with the answers done so far.
Progress = Callable[[int], None]


def hold_model(
    model: Any, tokenizer: Any, *, batch_size: int, special_tokens: bool, progress: Progress, joined: bool = False
) -> Any:
    """Return an ``HFLM`` that holds ``model`` (a transformers or peft model) and ``tokenizer``, with two more methods:

    ``was_truncated(text)``: did the answer to this prompt end only because it reached the token limit?
    ``was_cut(text, new_tokens)``: was the prompt too long for the model, so that its beginning was left out?

    ``special_tokens``: does the tokenizer add its own (a begin token) to the prompt? Chat templates hold theirs already.
    ``joined``: are prompt and option tokenised as one text? It works on one process. lm-eval sets ``model`` to evaluation mode.
    """
    from accelerate.utils.memory import clear_device_cache, should_reduce_batch_size
    from lm_eval.models.huggingface import HFLM

    # lm-eval warns that device and dtype are ignored for a model in memory: that is what is wanted here.
    logging.getLogger("lm_eval").setLevel(logging.ERROR)

    class HeldModel(HFLM):  # type: ignore[misc]
        """lm-eval passes each answer through ``tok_decode`` and then its cache hook; both are used to look on."""

        batch_size_per_gpu: int

        def __init__(self) -> None:
            super().__init__(
                pretrained=model,
                tokenizer=tokenizer,
                batch_size=batch_size,
                backend="causal",
                add_bos_token=special_tokens,
            )
            self.set_cache_hook(self)
            self._truncated: dict[str, bool] = {}
            self._done = 0
            self._tokens: list[int] = []
            self._raw = ""
            self._ends = _end_tokens(self.model, tokenizer)

        def generate_until(self, requests: Any, disable_tqdm: bool = True) -> list[str]:
            return self._halving(super().generate_until, requests, disable_tqdm=disable_tqdm)

        def _loglikelihood_tokens(self, requests: Any, disable_tqdm: bool = True, **given: Any) -> Any:
            return self._halving(super()._loglikelihood_tokens, requests, disable_tqdm=disable_tqdm, **given)

        def _halving(self, run: Callable[..., Any], requests: Any, **given: Any) -> list[Any]:
            """Answer all requests. A batch that does not fit the memory is halved, down to single rows."""
            while True:
                self._done = 0
                try:
                    return list(run(requests, **given))
                except Exception as error:
                    if self.batch_size_per_gpu == 1 or not should_reduce_batch_size(error):
                        raise
                # Outside of the handler: the error's traceback keeps the tensors of the failed batch alive.
                clear_device_cache(garbage_collection=True)
                self.batch_size_per_gpu = max(1, self.batch_size_per_gpu // 2)

        def _encode_pair(self, context: str, continuation: str) -> tuple[list[int], list[int]]:
            """Tokenise prompt and option apart, as the training does; with ``joined`` as lm-eval does."""
            if joined:
                pair = super()._encode_pair(context, continuation)
                return list(pair[0]), list(pair[1])
            before = list(self.tok_encode(context))
            ended = special_tokens and before[-1:] == [tokenizer.eos_token_id]
            return before[:-1] if ended else before, list(self.tok_encode(continuation, add_special_tokens=False))

        def tok_batch_encode(self, strings: list[str], **settings: Any) -> Any:
            """Some tokenizers end every text: a prompt goes on, as in training. Rows are padded on the left."""
            ids, mask = super().tok_batch_encode(strings, **settings)
            ended = special_tokens and bool((ids[:, -1] == tokenizer.eos_token_id).all())
            return (ids[:, :-1], mask[:, :-1]) if ended else (ids, mask)

        def tok_decode(self, tokens: Any, skip_special_tokens: bool = True) -> str:
            self._raw = str(super().tok_decode(tokens, skip_special_tokens=skip_special_tokens))
            self._tokens = tokens if isinstance(tokens, list) else [tokens]
            return self._raw

        def add_partial(self, kind: str, request: tuple[str, Any], __: Any) -> None:
            """Count what is done, and note how the answer that was decoded last came to its end (lm-eval's cache hook)."""
            text, settings = request
            if kind == "loglikelihood":
                self._done += 1
                progress(self._done)
                return
            ended = bool(self._ends.intersection(self._tokens)) or any(stop in self._raw for stop in settings["until"])
            self._truncated[text] = not ended and len(self._tokens) >= settings["max_gen_toks"]
            self._done += 1
            progress(self._done)

        def was_truncated(self, text: str) -> bool:
            return self._truncated[text]

        def was_cut(self, text: str, new_tokens: int) -> bool:
            return bool(len(self.tok_encode(text)) > self.max_length - new_tokens)

        def length_of(self, text: str) -> int:
            """Return how many tokens an option has."""
            return len(self.tok_encode(text, add_special_tokens=False))

    return HeldModel()


def _end_tokens(model: Any, tokenizer: Any) -> set[int]:
    """Return every token that ends a text: the tokenizer's and the ones of the model's generation settings."""
    own = getattr(getattr(model, "generation_config", None), "eos_token_id", None)
    several = own if isinstance(own, list | tuple) else [own]
    return {int(token) for token in (tokenizer.eos_token_id, *several) if token is not None}


def check_room(held: Any, new_tokens: int) -> None:
    """Raise :class:`UsageProblem` when the answers' limit alone fills the model's context."""
    if held.max_length <= new_tokens:
        raise UsageProblem(
            f"metric.max_new_tokens = {new_tokens} leaves no room for a prompt: the model takes {held.max_length} tokens",
            hint="lower metric.max_new_tokens in the task card, or choose a model with a longer context",
        )
