import hashlib

import pytest
import torch

from rl.models import load_tokenizer, made_once, resolve_model


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    return resolve_model("tiny:llama", tmp_path_factory.mktemp("cache"), seed=1)


def digests(folder):
    return {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in folder.iterdir()}


def test_same_seed_makes_the_same_files(tiny, tmp_path):
    assert digests(resolve_model("tiny:llama", tmp_path, seed=1)) == digests(tiny)


def test_another_seed_makes_other_weights_and_the_same_tokenizer(tiny, tmp_path):
    torch.manual_seed(5)
    state = torch.get_rng_state()
    other = digests(resolve_model("tiny:llama", tmp_path, seed=2))
    assert torch.equal(torch.get_rng_state(), state)
    assert {name for name, digest in digests(tiny).items() if other[name] != digest} == {"model.safetensors"}


def test_a_made_model_is_used_again(tiny):
    before = {file.name: file.stat().st_mtime_ns for file in tiny.iterdir()}
    assert resolve_model("tiny:llama", tiny.parent, seed=1) == tiny
    assert {file.name: file.stat().st_mtime_ns for file in tiny.iterdir()} == before
    assert [folder.name for folder in tiny.parent.iterdir()] == [tiny.name]


def test_tiny_model_has_grouped_heads_and_tied_embeddings(tiny):
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(tiny)
    tokenizer = load_tokenizer(tiny)
    config = model.config
    assert (config.num_attention_heads, config.num_key_value_heads, config.head_dim) == (4, 2, 32)
    assert model.lm_head.weight is model.model.embed_tokens.weight
    assert model.lm_head.weight.shape == (128, 64)
    assert len(tokenizer) == 128
    assert model.generation_config.eos_token_id == tokenizer.eos_token_id == 2


def test_tokenizer_round_trips_ascii(tiny):
    tokenizer = load_tokenizer(tiny)
    text = "".join(map(chr, range(32, 127))) + "  12 + 30 = 42.\n\t  don't , stop !"
    ids = tokenizer.encode(text)
    assert len(ids) == len(text)
    assert tokenizer.decode(ids) == text
    assert tokenizer.unk_token_id not in ids
    assert tokenizer.encode("é") == [tokenizer.unk_token_id]


def test_chat_template_survives_saving(tiny):
    tokenizer = load_tokenizer(tiny)
    chat = [{"role": "user", "content": "hi"}]
    text = tokenizer.apply_chat_template(chat, add_generation_prompt=True, tokenize=False)
    ids = tokenizer.encode(text)
    assert text == "<bos><|user|>hi<eos><|assistant|>"
    assert len(ids) == 6
    assert tokenizer.decode(ids, skip_special_tokens=True) == "hi"


def test_local_checkpoint_is_taken_as_it_is(tiny, tmp_path):
    assert resolve_model(str(tiny), tmp_path, seed=0) == tiny
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("/no/such/folder", "neither a folder nor a known kind"),
        ("./missing/folder", "organisation/name"),
        ("tiny:gpt", "tiny:llama"),
        ("package:no-such-package-here", "pip install no-such-package-here"),
        ("package:pytest", "one .gguf file, pytest has 0"),
    ],
)
def test_unknown_model_says_what_else_works(path, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        resolve_model(path, tmp_path, seed=0)


def test_folder_without_a_checkpoint_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"no config\.json"):
        resolve_model(str(tmp_path), tmp_path, seed=0)


def test_hub_that_cannot_be_reached_is_a_clear_error(tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(ValueError, match=r"'no-such/model' .* could not be had from the Hugging Face hub"):
        resolve_model("no-such/model", tmp_path, seed=0)


def test_failed_making_leaves_nothing_behind(tmp_path):
    def fail(folder):
        (folder / "half").write_text("x")
        raise RuntimeError("disk full")

    with pytest.raises(RuntimeError, match="disk full"):
        made_once(tmp_path / "model", fail)
    assert list(tmp_path.iterdir()) == []


def test_second_writer_keeps_the_first_ones_files(tmp_path):
    def overtaken(folder):
        (folder / "mine").touch()
        (tmp_path / "model").mkdir()
        (tmp_path / "model" / "theirs").touch()

    assert made_once(tmp_path / "model", overtaken) == tmp_path / "model"
    assert [file.name for file in (tmp_path / "model").iterdir()] == ["theirs"]
    assert len(list(tmp_path.iterdir())) == 1
