"""Operators that drop texts by how they look: length in tokens, language, simple signs of waste."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from hpc_trex.data.errors import DataProblem
from hpc_trex.data.formatting import answer_text, render_prompt
from hpc_trex.data.operators.base import Context, Outcome, columns, dropped, kept, picked, texts
from hpc_trex.ftbench.ngrams import words as words_of
from hpc_trex.models.operators import FilterLanguage, FilterQuality, FilterTokens

if TYPE_CHECKING:
    from datasets import Dataset


def filter_tokens(step: FilterTokens, data: Dataset, context: Context) -> Outcome:
    """Keep texts of a length in tokens."""
    from hpc_trex.training.load import load_tokenizer

    tokenizer = load_tokenizer(context.base)
    longest = step.max_tokens if step.max_tokens is not None else float("inf")

    def marks() -> Iterator[bool]:
        for batch in columns(data, "prompt", "answer"):
            rows = [
                (render_prompt(prompt, context.style, tokenizer, context.system), answer) for prompt, answer in batch
            ]
            answers = [answer_text(answer, context.style, prompt) for prompt, answer in rows]
            counts = [0] * len(rows)
            for name, these in (("prompt", [prompt for prompt, _ in rows]), ("answer", answers)):
                if step.column in (name, "both"):
                    found = tokenizer(these, add_special_tokens=False)["input_ids"]
                    counts = [count + len(ids) for count, ids in zip(counts, found, strict=True)]
            context.tick(f"counted the tokens of {len(counts)} more rows")
            yield from (step.min_tokens <= count <= longest for count in counts)

    return kept(data, marks(), f"tokens of {step.column} outside {step.min_tokens} to {longest}")


def filter_language(step: FilterLanguage, data: Dataset, context: Context) -> Outcome:
    """Keep texts in the named languages, and those too short or too mixed to tell."""
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    model = LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
    unknown = sorted(set(step.languages) - set(model.labels))
    if unknown:
        raise DataProblem(
            f"filter_language: no language {', '.join(unknown)}", hint=f"known: {', '.join(sorted(model.labels))}"
        )

    def stays(text: str) -> bool:
        if sum(map(str.isalpha, text)) < step.min_chars:
            return True
        language, probability = model.classify(text)
        return language in step.languages or probability < step.min_probability

    def marks() -> Iterator[bool]:
        for batch in columns(data, step.column):
            yield from (stays(text) for (text,) in batch)
            context.tick("told the language of some more rows")

    return kept(data, marks(), f"{step.column} is in another language than {', '.join(step.languages)}")


def filter_quality(step: FilterQuality, data: Dataset, context: Context) -> Outcome:  # noqa: ARG001
    """Drop texts that fail one of the counts; the first that fails is the reason."""
    reasons: dict[str, list[int]] = {}
    stays = []
    for place, (text,) in enumerate(texts(data, step.column)):
        reason = _waste(text, step)
        if reason:
            reasons.setdefault(reason, []).append(place)
        else:
            stays.append(place)
    return picked(data, stays, [dropped(data, places, f"{step.column} {why}") for why, places in reasons.items()])


def _waste(text: str, step: FilterQuality) -> str:
    """Return what is wrong with a text; nothing where nothing is."""
    words = words_of(text)
    if len(words) < step.min_words:
        return f"has fewer than {step.min_words} words"
    if step.max_words is not None and len(words) > step.max_words:
        return f"has more than {step.max_words} words"
    if step.max_mean_word is not None and words and sum(map(len, words)) > step.max_mean_word * len(words):
        return f"has words of more than {step.max_mean_word:g} characters on average"
    if step.max_symbol_share is not None:
        symbols = sum(not (one.isalnum() or one.isspace()) for one in text)
        if symbols > step.max_symbol_share * len(text):
            return f"is more than {step.max_symbol_share:.0%} symbols"
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if step.max_repeated_lines is not None and _repeated(lines) > step.max_repeated_lines:
        return f"repeats more than {step.max_repeated_lines:.0%} of its lines"
    triples = list(zip(words, words[1:], words[2:], strict=False))
    if step.max_repeated_ngrams is not None and _repeated(triples) > step.max_repeated_ngrams:
        return f"repeats more than {step.max_repeated_ngrams:.0%} of its runs of three words"
    return ""


def _repeated(parts: list[str] | list[tuple[str, str, str]]) -> float:
    return 1 - len(set(parts)) / len(parts) if parts else 0.0
