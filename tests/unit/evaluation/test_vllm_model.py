"""vLLM as a back end, as far as it goes without a GPU: when it is taken, with which arguments, what it refuses."""

import json

import pytest

from hpc_trex.errors import JobFailure
from hpc_trex.evaluation import vllm_model
from hpc_trex.evaluation.vllm_model import choose_backend, lora_rank, vllm_arguments
from hpc_trex.models import FailureClass, ModelRef


@pytest.fixture
def adapter(tmp_path):
    def make(**settings):
        (tmp_path / "adapter_config.json").write_text(json.dumps({"r": 8, "bias": "none", **settings}))
        return ModelRef(name="m", path="/models/m", adapter=str(tmp_path))

    return make


@pytest.fixture
def installed(monkeypatch):
    monkeypatch.setattr(vllm_model.importlib.util, "find_spec", lambda name: object())


BASE = ModelRef(name="m", path="/models/m")


def test_without_vllm_or_a_gpu_auto_is_the_model_in_memory_and_vllm_is_refused():
    assert choose_backend("hf", BASE, gpus=1) == "hf"
    assert choose_backend("auto", BASE, gpus=1) == "hf"
    with pytest.raises(JobFailure, match="not installed where this job runs") as caught:
        choose_backend("vllm", BASE, gpus=1)
    assert caught.value.failure is FailureClass.ENVIRONMENT
    assert "pip install vllm" in caught.value.hint
    with pytest.raises(JobFailure, match="no GPU"):
        choose_backend("vllm", BASE, gpus=0)


def test_with_both_auto_is_vllm(installed, adapter):
    assert choose_backend("auto", BASE, gpus=1) == "vllm"
    assert choose_backend("auto", adapter(), gpus=1) == "vllm"
    assert choose_backend("auto", BASE, gpus=0) == "hf"


@pytest.mark.parametrize("settings", [{"use_dora": True}, {"modules_to_save": ["lm_head"]}, {"bias": "all"}])
def test_an_adapter_that_vllm_cannot_serve_is_left_to_the_model_in_memory(installed, adapter, settings):
    ref = adapter(**settings)
    assert choose_backend("auto", ref, gpus=1) == "hf"
    with pytest.raises(JobFailure, match="cannot serve an adapter with") as caught:
        choose_backend("vllm", ref, gpus=1)
    assert caught.value.failure is FailureClass.CONFIG


@pytest.mark.parametrize(
    ("settings", "rank"),
    [
        ({"r": 4}, 8),
        ({"r": 16}, 16),
        ({"r": 17}, 32),
        ({"r": 8, "rank_pattern": {"q_proj": 100}}, 128),
        ({"r": 300}, 320),
    ],
)
def test_the_rank_is_the_smallest_that_fits_the_largest_layer(adapter, settings, rank):
    assert lora_rank(adapter(**settings)) == rank


def test_a_rank_beyond_all_is_refused(adapter):
    with pytest.raises(JobFailure, match="up to rank 512; this one has 1024"):
        lora_rank(adapter(r=1024))


def test_the_arguments_name_folder_adapter_and_rank(adapter):
    plain = vllm_arguments(BASE, half=True, special_tokens=True, seed=3)
    assert (plain["pretrained"], plain["dtype"], plain["add_bos_token"]) == ("/models/m", "bfloat16", True)
    assert not {"lora_local_path", "max_lora_rank"} & plain.keys()
    ref = adapter(r=24)
    tuned = vllm_arguments(ref, half=False, special_tokens=False, seed=3)
    assert (tuned["lora_local_path"], tuned["max_lora_rank"], tuned["dtype"]) == (ref.adapter, 32, "float32")
