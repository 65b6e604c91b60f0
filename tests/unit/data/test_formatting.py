"""Prompt and answer as the model's text."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from hpc_trex.data.errors import DataProblem
from hpc_trex.data.formatting import answer_text, final_texts, has_chat_template, render_prompt
from hpc_trex.data.prepare import prepare
from tests.unit.data.recipes import Bench, prepared

TEMPLATE = (
    "{% for m in messages %}<{{ m.role }}>{{ m.content }}</>{% endfor %}"
    "{% if add_generation_prompt %}<assistant>{% endif %}"
)


class Tokenizer:
    """Only what the formatting asks of a tokenizer, with the real rendering behind it."""

    def apply_chat_template(
        self, messages: list[dict[str, str]], *, tokenize: bool, add_generation_prompt: bool, **_: object
    ) -> str:
        from jinja2 import Template

        assert not tokenize
        return Template(TEMPLATE).render(messages=messages, add_generation_prompt=add_generation_prompt)


@pytest.mark.parametrize(
    ("prompt", "answer", "text"),
    [
        ("list: 31\nresult:", "13", "list: 31\nresult: 13"),
        ("list: 31\nresult: ", " 13\n", "list: 31\nresult: 13"),
        ("list: 31\n", "13", "list: 31\n13"),
    ],
)
def test_plain_text_has_one_blank_between_prompt_and_answer(prompt: str, answer: str, text: str) -> None:
    rendered = render_prompt(prompt, "plain", None, "a system message is for chats only")
    assert rendered + answer_text(answer, "plain", rendered) == text


def test_a_chat_ends_where_the_assistant_begins() -> None:
    assert render_prompt("hi", "chat", Tokenizer(), "be brief") == "<system>be brief</><user>hi</><assistant>"
    assert render_prompt("hi", "chat", Tokenizer()) == "<user>hi</><assistant>"
    assert answer_text(" yes ", "chat") == "yes"


def test_plain_text_is_no_turn_of_a_chat() -> None:
    """A row without an answer is for pre-training: neither a template nor a blank is added."""
    assert final_texts("hi", " yes ", "chat", Tokenizer()) == ("<user>hi</><assistant>", "yes")
    assert final_texts("some text\n", " ", "chat", Tokenizer()) == ("some text\n", "")
    assert final_texts("some text", "", "plain", None) == ("some text", "")


def test_a_model_that_can_think_is_asked_to_answer_at_once(tmp_path: Path) -> None:
    """Rows hold answers without reasoning, and an answer ends at its first line break: thinking would be all of it."""
    from transformers import AutoTokenizer

    _tokenizer(tmp_path, template=True)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path)
    tokenizer.chat_template = (
        "{% for m in messages %}[{{ m['role'] }}]{{ m['content'] }}{% endfor %}{% if add_generation_prompt %}[assistant]"
        "{% if enable_thinking is defined and enable_thinking is false %}<think>\n\n</think>\n\n{% endif %}{% endif %}"
    )  # as Qwen3's does
    assert render_prompt("hi", "chat", tokenizer) == "[user]hi[assistant]<think>\n\n</think>\n\n"


def test_a_tokenizer_without_a_template_is_a_data_failure() -> None:
    with pytest.raises(DataProblem, match="chat template"):
        render_prompt("hi", "chat", object())


def test_a_template_is_found_in_the_models_folder(tmp_path: Path) -> None:
    assert not has_chat_template(tmp_path)
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"eos_token": "x"}))
    assert not has_chat_template(tmp_path)
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"chat_template": TEMPLATE}))
    assert has_chat_template(tmp_path)
    (tmp_path / "tokenizer_config.json").write_text("{}")
    (tmp_path / "chat_template.jinja").write_text(TEMPLATE)
    assert has_chat_template(tmp_path)


def _tokenizer(folder: Path, *, template: bool) -> None:
    """Save a real tokenizer, whose words are single bytes."""
    from tokenizers import Tokenizer as Raw
    from tokenizers import models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    alphabet = pre_tokenizers.ByteLevel.alphabet()
    raw = Raw(models.BPE(vocab={sign: number for number, sign in enumerate(sorted(alphabet))}, merges=[]))
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=raw, eos_token="</>")
    if template:
        tokenizer.chat_template = TEMPLATE
    tokenizer.save_pretrained(str(folder))


@pytest.mark.parametrize("template", [True, False])
def test_the_default_style_is_chat_just_where_the_tokenizer_has_a_template(tmp_path: Path, template: bool) -> None:
    bench = Bench(tmp_path)
    bench.source("a", [("hi", "yes")])
    _tokenizer(bench.model, template=template)
    spec = bench.spec([{"op": "load", "source": "a"}])
    assert prepare(spec, lambda _: None)["format"] == ("chat" if template else "plain")
    row = prepared(spec)[0]
    assert row.prompt + row.answer == ("<user>hi</><assistant>yes" if template else "hi yes")


def test_a_format_step_wins_over_the_template(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    bench.source("a", [("hi", "yes")])
    _tokenizer(bench.model, template=True)
    spec = bench.spec([{"op": "load", "source": "a"}, {"op": "format", "style": "plain"}])
    assert prepare(spec, lambda _: None)["format"] == "plain"
    assert prepared(spec)[0].prompt == "hi"
