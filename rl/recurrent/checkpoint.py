"""A checkpoint that runs at another depth.

How often the core is run stands in `config.json`, so everything that reads a checkpoint, trainer or engine, runs it
alike, and a contract that covers that file covers the depth. A checkpoint at another depth is a folder of links to the
files of the first beside a `config.json` of its own:

    models/smollm2-recurrent-r4-5f0c3a1b/   config.json: num_recurrences 4     model.safetensors -> …/model.safetensors
"""

import functools
import hashlib
import json
import logging
import os
from pathlib import Path
from typing import Any

from kernels.recurrent.depth import Depth, recurrence_of
from rl.config import ModelConfig
from rl.errors import UserError
from rl.models import MODEL_CACHE, made_once, resolve_model

logger = logging.getLogger(__name__)

CONFIG = "config.json"


def at_recurrence(model_dir: Path, recurrence: int | None, cache_dir: Path) -> Path:
    """The folder of the checkpoint as one whose core is run `recurrence` times; made under `cache_dir` where it has
    to be.

    None leaves it at what the checkpoint says. Logs a warning where the checkpoint was not trained at that depth.
    Raises UserError for a recurrence below 1, and for a model that has no core.
    """
    config = _read(model_dir)
    own = config.get("num_recurrences")
    if recurrence is not None:
        _require_core(own, recurrence, model_dir)
    asked = own if recurrence is None else recurrence
    if asked is not None and (trained := config.get("trained_recurrences")):
        _warn_untrained(model_dir, asked, *trained)
    return _changed(model_dir, {} if asked is None else {"num_recurrences": asked}, cache_dir)


def to_be_trained_at(model_dir: Path, depth: Depth, cache_dir: Path) -> Path:
    """The folder of the checkpoint as one to be trained around `depth`, which it also runs at afterwards; made under
    `cache_dir` where it has to be. A model without a core stays what it is.
    """
    return _changed(model_dir, vars(depth), cache_dir) if "num_recurrences" in _read(model_dir) else model_dir


def policy_folder(model: ModelConfig, seed: int) -> Path:
    """The folder, resolved, of the checkpoint that `model` names, at the depth that it asks for.

    Raises ValueError where there is none, or none of that depth.
    """
    model_dir = resolve_model(model.path, MODEL_CACHE, seed=seed)
    return at_recurrence(model_dir, model.recurrence, MODEL_CACHE).resolve()


def described(model_config: Any) -> str:
    """How deep a model with this Hugging Face config is, in words; empty for one without a core."""
    recurrence = recurrence_of(model_config)
    if recurrence is None:
        return ""
    text = model_config.get_text_config()
    return (
        f"recurrence {recurrence}: {text.num_prelude_layers} + {recurrence} x {text.num_core_layers} + "
        f"{text.num_coda_layers} = {text.num_hidden_layers} layers"
    )


def _read(model_dir: Path) -> dict[str, Any]:
    config: dict[str, Any] = json.loads((model_dir / CONFIG).read_text("utf-8"))
    return config


def _require_core(own: int | None, recurrence: int, model_dir: Path) -> None:
    if own is None:
        raise UserError(
            f"model.recurrence={recurrence} needs a recurrent-depth checkpoint, and {model_dir} has no core that could "
            "be run again; leave it out, or make one of it with `zerokl retrofit`"
        )
    if recurrence < 1:
        raise UserError(f"model.recurrence must be at least 1, got {recurrence}")


@functools.cache
def _warn_untrained(model_dir: Path, asked: int, low: int, high: int) -> None:
    """Nothing; a warning is logged where `asked` is not from `low` to `high`, the first time that it is asked."""
    if not low <= asked <= high:
        how = "under-run" if asked < low else "over-run"
        logger.warning(
            "%s was trained at recurrences %d to %d and is %s at %d: what it does there says little about the model",
            model_dir,
            low,
            high,
            how,
            asked,
        )


def _changed(model_dir: Path, changes: dict[str, Any], cache_dir: Path) -> Path:
    """The folder of the checkpoint with `changes` to its config; its own where they change nothing."""
    config = _read(model_dir)
    return model_dir if config | changes == config else _view(model_dir.resolve(), config | changes, cache_dir)


def _view(model_dir: Path, config: dict[str, Any], cache_dir: Path) -> Path:
    """The folder for `config`. Its name follows from all that is in it, so that an edit makes another one."""
    del config["num_hidden_layers"]  # follows from the rest
    text = json.dumps(config, indent=2, sort_keys=True) + "\n"
    files = sorted(path.name for path in model_dir.iterdir() if path.name != CONFIG)
    digest = hashlib.sha256("\n".join([str(model_dir), text, *files]).encode()).hexdigest()[:8]

    def write(folder: Path) -> None:
        (folder / CONFIG).write_text(text, "utf-8")
        for name in files:
            os.symlink(model_dir / name, folder / name)

    return made_once(cache_dir / f"{model_dir.name}-r{config['num_recurrences']}-{digest}", write)
