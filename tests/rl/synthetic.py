"""A run's folder as a run leaves it, made without engines: every file fits every other."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from kernels.digest import weights_digest
from reward.types import Reward
from rl.checkpoint import MANIFEST, STATE_FILE, Position, save_checkpoint
from rl.config import load_config, save_config
from rl.contract.recorded import Contracts, RunContract, write_contracts
from rl.ledger import GENESIS, Ledger, canonical_json
from rl.records import step_record
from rl.run_folder import RunFolder
from rl.types import ScoredGroup, Shard, StepProof, TrainingBatch
from rl.verification.weight_places import Parameter
from rollout.types import PolicyVersion, Prompt, Rollout, RolloutGroup

from .commands import CONFIG

NUM_WEIGHTS = 10
PARAMETERS = (Parameter("w", (2, 5)),)


def make_run(path: Path, num_steps: int = 3, parts: dict[str, Any] | None = None) -> RunFolder:
    """A run of `num_steps` steps, two prompts of two rollouts each, with a checkpoint of each of the last two."""
    folder = RunFolder(path)
    folder.create()
    save_config(load_config(CONFIG, [f"run.dir={path}", "trainer.dtype=float32"]), folder.config_path)
    contract = RunContract(parts or {"seed": 0, "versions": {"torch": "2.13.0"}})
    write_contracts(folder.contract_path, Contracts(contract))
    ledger = Ledger(folder.ledger_path)
    for step in range(1, num_steps + 1):
        batch, proof = step_of(step)
        last_hash = ledger.append(step_record(contract.digest, batch, proof))
        folder.write_rollouts(step, batch, proof)
        position = Position(step, 2 * step, last_hash, proof.policy.digest, 10 * step, 0.0)
        save_checkpoint(folder, position, state_writer(step), keep=2)
    return folder


def step_of(step: int) -> tuple[TrainingBatch, StepProof]:
    """A step in which the tokens, log-probabilities and rewards are different for each prompt, sample and step."""
    groups = tuple(scored(step, prompt) for prompt in range(2))
    logprobs = tuple(tuple(rollout.rollout_logprobs for rollout in group.group.rollouts) for group in groups)
    batch = TrainingBatch(step, policy(step - 1), 1.0, 64, (Shard(groups),))
    return batch, StepProof(logprobs, 10, 0, 0.5, 0.25, sha(f"gradient {step}"), policy(step), 1e-3, 1.0, {})


def scored(step: int, prompt: int) -> ScoredGroup:
    name = f"train/0/{2 * step + prompt}"
    rollouts = (
        Rollout(name, 0, (step, prompt, 5), (-0.5, -1.0, -0.25 * step), "a", False),
        Rollout(name, 1, (step, prompt + 7), (-2.0, -0.125 * step), "b", True),
    )
    group = RolloutGroup(Prompt(name, "", (1, 2, step), {}), rollouts, policy(step - 1))
    return ScoredGroup(group, (Reward(1.0, {}), Reward(0.1 * prompt, {})), (1.0, -1.0))


def policy(step: int) -> PolicyVersion:
    return PolicyVersion(step, weights_digest({"w": weights(step).view(2, 5)}))


def weights(step: int) -> torch.Tensor:
    return torch.arange(NUM_WEIGHTS, dtype=torch.float32) + step


def state_writer(step: int) -> Callable[[Path], None]:
    parts = {name: weights(step) for name in ("master", "exp_avg", "exp_avg_sq")}
    return lambda folder: save_file(parts, folder / STATE_FILE)


def sha(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def flip_bit(path: Path, part: str, index: int) -> None:
    """Flips the lowest bit of one value in a file of tensors."""
    tensors = load_file(path)
    tensors[part].view(torch.int32)[index] ^= 1
    save_file(tensors, path)


def sign_again(checkpoint: Path) -> None:
    """Makes the manifest of a checkpoint fit its files again."""
    path = checkpoint / MANIFEST
    manifest = json.loads(path.read_text())
    state = (checkpoint / STATE_FILE).read_bytes()
    manifest["files"][STATE_FILE] = {"bytes": len(state), "sha256": hashlib.sha256(state).hexdigest()}
    del manifest["digest"]
    manifest["digest"] = hashlib.sha256(json.dumps(manifest, sort_keys=True).encode()).hexdigest()
    path.write_text(json.dumps(manifest))


def edit_rollout(folder: RunFolder, step: int, line: int, **values: Any) -> None:
    """Changes one rollout in its file."""
    path = folder.rollouts_path(step)
    lines = path.read_text().splitlines()
    lines[line] = json.dumps(json.loads(lines[line]) | values)
    path.write_text("".join(text + "\n" for text in lines))


def rehash(folder: RunFolder, step: int, **values: Any) -> None:
    """Changes a record and recomputes the chain from there, as somebody would who knows how it is made."""
    records, prev = Ledger(folder.ledger_path).records(), GENESIS
    for record in records:
        if record["step"] == step:
            record.update(values)
        body = {name: value for name, value in record.items() if name != "hash"} | {"prev": prev}
        prev = hashlib.sha256(canonical_json(body).encode()).hexdigest()
        record.update(body | {"hash": prev})
    folder.ledger_path.write_text("".join(canonical_json(record) + "\n" for record in records))
