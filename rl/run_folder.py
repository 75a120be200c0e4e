"""Where everything of a run lies.

.lock                          held by the command that is at work
config.yaml                    the resolved config
attempts.jsonl                 a line each time the run was started or resumed
wandb_run_id                   under which W&B files all of them
contract.json                  what decides the bits, in readable parts
ledger.jsonl                   the chain, a line a step
metrics.jsonl                  a line each time something was measured
rollouts/step_000001.jsonl     a line a rollout, of a run that has any
checkpoints/step_000010/       what `zerokl resume` goes on from
model/                         final weights, a plain Hugging Face checkpoint
report/                        where one is made
"""

import json
import math
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

from rl.durable import append_line, committed_lines, cut_uncommitted, naming, write_atomically
from rl.errors import UserError
from rl.ledger import Ledger
from rl.types import ScoredGroup, StepProof, TrainingBatch

RUN_ID_FILE = "wandb_run_id"


class RunFolder:
    """The paths of one run, and its files that no other component owns."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.config_path = path / "config.yaml"
        self.contract_path = path / "contract.json"
        self.attempts_path = path / "attempts.jsonl"
        self.ledger_path = path / "ledger.jsonl"
        self.metrics_path = path / "metrics.jsonl"
        self.rollouts_dir = path / "rollouts"
        self.checkpoints_dir = path / "checkpoints"
        self.model_dir = path / "model"
        self.report_dir = path / "report"

    def rollouts_path(self, step: int) -> Path:
        """Return the file that holds the rollouts of `step`."""
        return self.rollouts_dir / f"step_{step:06d}.jsonl"

    def checkpoint_path(self, step: int) -> Path:
        """Return the folder of the checkpoint written after `step`."""
        return self.checkpoints_dir / f"step_{step:06d}"

    def create(self) -> None:
        """Make the folder for a new run. Raises `UserError` where another run has begun.

        Of a run that ended before its first step nothing is gone on with: its metrics, contract, attempts and id go.
        """
        self.prepare()
        with naming(self.path):
            if num_steps := len(Ledger(self.ledger_path).records()):
                raise UserError(
                    f"{self.path} already holds a run of {num_steps} steps; "
                    f"go on with `zerokl resume {self.path}`, or give another folder with run.dir=…"
                )
            for path in (self.metrics_path, self.contract_path, self.attempts_path, self.path / RUN_ID_FILE):
                path.unlink(missing_ok=True)

    def prepare(self) -> None:
        """Make the folder, or leave the run in it as it is."""
        with naming(self.path):
            self.path.mkdir(parents=True, exist_ok=True)
            self.checkpoints_dir.mkdir(exist_ok=True)

    def require(self) -> None:
        """Raise `UserError` unless a run was begun here."""
        if not self.config_path.is_file():
            raise UserError(f"{self.path} is not a run's folder: it has no config.yaml; give what run.dir was")

    def begin_attempt(self, step: int) -> int:
        """Return which start of the run this is, from 1, once it is noted that it goes on from `step`."""
        cut_uncommitted(self.attempts_path)
        attempt = len(committed_lines(self.attempts_path)) + 1
        started_at = datetime.now(UTC).isoformat(timespec="seconds")
        line = json.dumps({"attempt": attempt, "from_step": step, "started_at": started_at})
        append_line(self.attempts_path, line, sync=True)
        return attempt

    def write_rollouts(self, step: int, batch: TrainingBatch, proof: StepProof) -> None:
        """Write a line for each rollout of `step`; log-probabilities in hex, so that no bit is lost."""
        groups = zip(batch.groups, proof.trainer_logprobs, strict=True)
        lines = [line for group, logprobs in groups for line in _rollout_lines(group, logprobs)]
        with naming(self.rollouts_dir):
            self.rollouts_dir.mkdir(exist_ok=True)
        write_atomically(self.rollouts_path(step), "".join(line + "\n" for line in lines))

    def append_metrics(self, step: int, metrics: Mapping[str, float]) -> None:
        """Append a line with `step` and what was measured. Raises `ValueError` naming a metric that is not finite."""
        for name, value in metrics.items():
            if not math.isfinite(value):
                raise ValueError(f"metric {name} must be finite, got {value} at step {step}")
        append_line(self.metrics_path, json.dumps({"step": step, **metrics}))

    def read_metrics(self) -> list[dict[str, float]]:
        """Return every line of the metrics, oldest first."""
        return [json.loads(line) for line in committed_lines(self.metrics_path)]

    def truncate_metrics(self, step: int) -> None:
        """Forget what was measured later than `step`, and a line that was cut short."""
        kept = [line for line in committed_lines(self.metrics_path) if json.loads(line)["step"] <= step]
        write_atomically(self.metrics_path, "".join(line + "\n" for line in kept))


def _rollout_lines(scored: ScoredGroup, trainer_logprobs: tuple[tuple[float, ...], ...]) -> list[str]:
    rollouts = zip(scored.group.rollouts, trainer_logprobs, scored.rewards, strict=True)
    return [
        json.dumps(
            {
                "prompt_id": rollout.prompt_id,
                "sample": rollout.sample,
                "prompt_token_ids": scored.group.prompt.token_ids,
                "token_ids": rollout.token_ids,
                "rollout_logprobs": _hex(rollout.rollout_logprobs),
                "trainer_logprobs": _hex(logprobs),
                "reward": reward.value,
                "text": rollout.text,
                **({} if rollout.recurrence is None else {"recurrence": rollout.recurrence}),
            }
        )
        for rollout, logprobs, reward in rollouts
    ]


def _hex(values: tuple[float, ...]) -> list[str]:
    return [float(value).hex() for value in values]
