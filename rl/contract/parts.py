"""What stands in the contract of a run: all that decides a bit, read off what is really there.

    ops             versions that are raised by hand, and digests of the code that decides bits
    versions        of the packages that compute, and of Python
    seed, data      what is asked, and in which order
    sampling        how tokens are drawn
    reward          functions, weights, and the code behind them; with process rewards their model's files
    algorithm       with all its parameters
    gradient        how a batch is cut and summed
    optimizer       with the schedule; the number of steps only where the schedule looks at it
    model           files of the checkpoint, without weights
    compute         what trainer and engines run, the machine's features with it
    weights         digest of the initial ones, in the dtype of the forward pass

Actors, ranks, ZeRO stages, threads, time limits, paths, batch limits of an engine, prefix caching, gradient
checkpointing, evaluation, checkpoints and the tracker change no bit and stay out.
"""

import dataclasses
import hashlib
import importlib.metadata
import json
import platform
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

from kernels.contract import OP_VERSIONS, Contract, vllm_distribution
from reward.functions import import_path
from reward.process import verifiers_of
from reward.rubric import RewardFunctionConfig
from rl.algorithms import Algorithm
from rl.checkpoint import file_digest
from rl.config import Config, OptimizerConfig
from rl.contract.sources import code_of, own_sources
from rl.data import DataConfig, SourceConfig, sources_of
from rl.inputs import Inputs
from rollout.types import PolicyVersion

SOURCES = (
    "kernels",
    "rollout.draws",
    "rollout.engine",
    "rollout.extra_args",
    "rollout.row_depths",
    "rollout.sampler",
    "rollout.vllm_worker",
    "rollout.weight_map",
    "reward.rubric",
    "reward.types",
    "rl.adamw",
    "rl.algorithms",
    "rl.batching",
    "rl.canonical_model",
    "rl.collect",
    "rl.data.gym",
    "rl.data.order",
    "rl.data.shares",
    "rl.data.template",
    "rl.gradient",
    "rl.rank",
    "rl.reduction",
    "rl.schedule",
    "rl.trainer",
    "rl.zero",
)
"""The modules, and packages with all their modules, in which an edit can move a bit."""
PROCESS_SOURCES = (
    "reward.drift",
    "reward.log_odds",
    "reward.prm",
    "reward.process",
    "rl.credit",
    "rollout.search.stepwise",
)
"""Those besides of a run with process rewards."""
PACKAGES = ("torch", "transformers", "tokenizers", "deepspeed", "numpy", "jinja2")
"""Besides vLLM, whose distribution has a name for each kind of machine."""
_MODEL_FILES = frozenset((".json", ".jinja", ".model", ".tiktoken", ".txt"))
"""Config, generation config, tokenizer and chat template; the weights have a digest of their own."""


def declared_parts(config: Config, inputs: Inputs, algorithm: Algorithm) -> dict[str, Any]:
    """The parts that are known before anything starts."""
    parts = {
        "ops": {"versions": OP_VERSIONS, "sources": own_sources(SOURCES)},
        "versions": package_versions(config.data),
        "seed": config.seed,
        "data": _data(config, inputs),
        "sampling": _sampling(config, inputs),
        "reward": _rewards(config) | _process(config),
        "algorithm": {"name": config.algorithm.name, "params": dataclasses.asdict(cast(Any, algorithm))},
        "gradient": _picked(config.trainer, "num_shards", "micro_batch_tokens", "updates_per_batch"),
        "optimizer": optimizer_parts(config.optimizer, config.steps),
        "model": model_parts(inputs.model_dir),
    }
    return numbered(parts)


def computed_parts(contract: Contract, initial: PolicyVersion) -> dict[str, Any]:
    """The parts that trainer and engines tell. `initial`: the policy before any checkpoint is taken up."""
    compute = dataclasses.asdict(contract)
    del compute["versions"], compute["ops"]  # they stand under parts of their own
    return numbered({"compute": compute, "weights": initial.digest})


def optimizer_parts(optimizer: OptimizerConfig, num_steps: int) -> dict[str, Any]:
    """All of `optimizer:`, with the number of steps where the schedule looks at it."""
    settings = dataclasses.asdict(optimizer)
    return settings if optimizer.schedule == "constant" else settings | {"steps": num_steps}


def model_parts(model_dir: Path) -> dict[str, str]:
    """sha256 hex by name of the checkpoint's files but its weights."""
    return {path.name: file_digest(path) for path in sorted(model_dir.iterdir()) if path.suffix in _MODEL_FILES}


def version_parts(packages: Sequence[str]) -> dict[str, str]:
    """The versions of Python and of `packages`."""
    python = ".".join(platform.python_version_tuple()[:2])
    return {"python": python, **{name: importlib.metadata.version(name) for name in packages}}


def package_versions(data: DataConfig) -> dict[str, str]:
    """The versions of Python and of all packages that decide a rollout of `data` and its reward."""
    asks_gym = any(source.kind == "task" for source in sources_of(data).values())
    return version_parts([*PACKAGES, vllm_distribution(), *(["reasoning-gym"] if asks_gym else [])])


def _data(config: Config, inputs: Inputs) -> dict[str, Any]:
    plain = _picked(config.data, "num_prompts", "num_held_out", "system_prompt", "chat", "suffix")
    return plain | {
        "sources": [_source(source) for source in sources_of(config.data).values()],
        "questions": inputs.train_data.digest,
        "first_prompts": _first_prompts(config, inputs),
    }


def _source(source: SourceConfig) -> dict[str, Any]:
    """Without paths: what is read there is known by its content."""
    parts = dataclasses.asdict(source)
    for path in ("task", "jsonl", "dataset", "held_out"):
        del parts[path]
    return {"kind": source.kind, "name": source.name, "has_held_out": bool(source.held_out)} | parts


def _first_prompts(config: Config, inputs: Inputs) -> str:
    """Digest of the ids and tokens that the first step asks: what template and tokenizer really made."""
    prompts = inputs.train_data.batch(0, config.data.num_prompts)
    entries = [[prompt.id, list(prompt.token_ids)] for prompt in prompts]
    return hashlib.sha256(json.dumps(entries).encode()).hexdigest()


def _sampling(config: Config, inputs: Inputs) -> dict[str, Any]:
    settings = _picked(config.rollout, "exact", "group_size", "max_rounds", "max_model_len")
    return settings | dataclasses.asdict(inputs.sampling)


def reward_parts(function: RewardFunctionConfig) -> dict[str, Any]:
    """An entry of `reward.functions`, with the function that it names and the code behind that."""
    module, name = import_path(function.name)
    return dataclasses.asdict(function) | {"function": f"{module}:{name}"} | dataclasses.asdict(code_of(module))


def _rewards(config: Config) -> dict[str, Any]:
    reward = config.reward
    return {
        "functions": [reward_parts(function) for function in reward.functions],
        "verifiers": verifiers_of(reward.process, reward.weights),
    }


def _process(config: Config) -> dict[str, Any]:
    """Of process rewards: the settings, the files of the model, and the code. Nothing where there are none."""
    process = config.reward.process
    if not process.prm:
        return {}
    from reward.prm.serving import prm_files

    settings = {name: value for name, value in dataclasses.asdict(process).items() if name != "prm"}
    files = {path.name: file_digest(path) for path in prm_files(process.prm)}
    return {"process": settings | {"prm": files, "sources": own_sources(PROCESS_SOURCES)}}


def _picked(settings: Any, *names: str) -> dict[str, Any]:
    return {name: getattr(settings, name) for name in names}


def numbered(parts: dict[str, Any]) -> dict[str, Any]:
    """`parts` as JSON reads them back, with the place as the key of what is a list of mappings."""
    plain: dict[str, Any] = json.loads(json.dumps(parts), object_pairs_hook=lambda pairs: dict(map(_keyed, pairs)))
    return plain


def _keyed(pair: tuple[str, Any]) -> tuple[str, Any]:
    key, value = pair
    if isinstance(value, list) and value and all(isinstance(entry, dict) for entry in value):
        return key, {str(place): entry for place, entry in enumerate(value)}
    return pair
