"""What a sampling draws from, by content: a path in its config says where something lies, not what."""

import hashlib
import json
from functools import cache
from pathlib import Path
from typing import Any

from rl.checkpoint import file_digest
from rl.models import load_tokenizer
from rl.recurrent.checkpoint import policy_folder
from rl.sample.config import SampleConfig, base_of, render_sample_config
from rl.sample.folder import Settings
from rl.sample.questions import read_questions
from rollout.deadlines import WEIGHT_SUFFIXES
from rollout.types import Prompt

_DECIDING = (*WEIGHT_SUFFIXES, ".json", ".jinja", ".model", ".tiktoken", ".txt")


def settings_of(config: SampleConfig) -> Settings:
    """What decides the lines of a sampling. Raises UserError or ValueError for what is not there."""
    model_dir, base = policy_folder(config.model, config.seed), base_of(config)
    prompts = read_questions(
        config.data, load_tokenizer(model_dir), config.seed, config.num_questions, config.max_new_tokens,
        config.rollout.max_model_len,
    )  # fmt: skip
    origin: dict[str, Any] = {"model": checkpoint_digests(model_dir), "questions": digest_questions(prompts)}
    if base.path:
        origin["base_model"] = checkpoint_digests(policy_folder(base, config.seed))
    if config.prm:
        origin["prm"] = _prm_digests(config.prm)
    return Settings(render_sample_config(config), origin)


def digest_questions(prompts: list[Prompt]) -> str:
    """sha256 hex of what is asked, token by token, and of the right answers."""
    asked = [[prompt.id, list(prompt.token_ids), str(prompt.columns.get("answer"))] for prompt in prompts]
    return hashlib.sha256(json.dumps(asked).encode()).hexdigest()


def checkpoint_digests(folder: Path) -> dict[str, str]:
    """sha256 hex by name of the checkpoint's files, weights included."""
    return {path.name: _digest(path) for path in sorted(folder.iterdir()) if path.suffix in _DECIDING}


def _prm_digests(prm: str) -> dict[str, str]:
    from reward.prm.serving import prm_files  # here, for it brings torch

    return {path.name: _digest(path) for path in prm_files(prm)}


def _digest(path: Path) -> str:
    """Of a file that is read once while it stays as it is: the arms of a comparison have most of theirs in common."""
    stat = path.stat()
    return _digest_of(path.resolve(), stat.st_size, stat.st_mtime_ns)


@cache
def _digest_of(path: Path, size: int, changed_ns: int) -> str:
    return file_digest(path)
