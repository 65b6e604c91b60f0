"""The model's own greedy answers, without lm-eval, and prompts of many lengths."""

CHATML = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def generate(model, tokenizer, text, new_tokens):
    """Return the tokens of the model's own greedy answer to one text."""
    import torch

    ids = tokenizer(text, return_tensors="pt")["input_ids"]
    model.eval()
    with torch.no_grad():
        out = model.generate(ids, attention_mask=torch.ones_like(ids), do_sample=False, max_new_tokens=new_tokens)
    return out[0][ids.shape[1] :].tolist()


def ask(model, tokenizer, text, new_tokens, stop):
    """Return the model's own greedy answer to one text, cut at the stop strings."""
    answer = tokenizer.decode(generate(model, tokenizer, text, new_tokens), skip_special_tokens=True)
    for one in stop:
        answer = answer.split(one)[0]
    return answer


def prompts(count):
    return [f"what is {i * 7919 % 1000} and {'x' * (i % 13)} {i}? answer:" for i in range(count)]
