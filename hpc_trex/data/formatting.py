"""How prompt and answer become the model's text: one place for training and evaluation.

``plain``: the prompt, then a blank, then the answer. The blank belongs to the answer, because tokenizers join it to the
word that follows. ``chat``: the tokenizer's chat template up to where the assistant's turn begins.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from hpc_trex.data.errors import DataProblem


def render_prompt(prompt: str, style: str, tokenizer: Any, system: str = "") -> str:
    """Return the text that stands before the answer. ``tokenizer`` is used, and may be None otherwise, for ``chat``.

    A model that can think is asked not to: the rows' answers hold no reasoning. A system message is part of the chat only. Blanks and tabs at the end of a plain prompt are cut: the answer brings
    its own. Raises :class:`DataProblem` for ``chat`` where the template is missing or refuses the messages.
    """
    if style != "chat":
        return prompt.rstrip(" \t")
    messages = [{"role": "system", "content": system}] if system else []
    messages.append({"role": "user", "content": prompt})
    try:
        settings = {"tokenize": False, "add_generation_prompt": True, "enable_thinking": False}
        return str(tokenizer.apply_chat_template(messages, **settings))
    except Exception as error:
        # Whatever a template raises is jinja's or its own: the template is part of the model, not of this program.
        raise DataProblem(
            f"the model's chat template cannot render a prompt: {str(error).splitlines()[0] if str(error) else error!r}",
            hint='use a format step with style = "plain", or take system out of the task card',
        ) from error


def final_texts(prompt: str, answer: str, style: str, tokenizer: Any, system: str = "") -> tuple[str, str]:
    """Return prompt and answer as the training reads them. A row without an answer is plain text and stays as it is."""
    if not answer.strip():
        return prompt, ""
    before = render_prompt(prompt, style, tokenizer, system)
    return before, answer_text(answer, style, before)


def answer_text(answer: str, style: str, prompt: str = "") -> str:
    """Return the answer as it follows the rendered ``prompt``: after a blank in plain text.

    A prompt that ends in a line break needs no blank.
    """
    if style == "chat" or prompt.endswith("\n"):
        return answer.strip()
    return " " + answer.strip()


def has_chat_template(model: Path) -> bool:
    """Return whether the tokenizer in a model's folder has a chat template, without loading it."""
    if (model / "chat_template.jinja").is_file() or (model / "chat_template.json").is_file():
        return True
    try:
        config = json.loads((model / "tokenizer_config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return bool(isinstance(config, dict) and config.get("chat_template"))
