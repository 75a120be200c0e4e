"""`zerokl verify`: a run is replayed and every field of its ledger compared.

    the folder holds together (rl.verification.integrity)
      └── from the nearest checkpoint, in a folder of its own: the loop's own step, and compare
            └── a record differs: stop, and look for the place in rollouts and weights

The run's folder is only read. Evaluations and the tracker change no bit and are left out.
"""

import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rl.checkpoint import STATE_FILE, Position, complete_checkpoints, verified_position
from rl.config import Config, load_config
from rl.contract.free_keys import FREE_KEYS, require_free
from rl.contract.recorded import ALLOW_CHANGE, ContractChanged, Contracts, recorded_contracts
from rl.durable import write_atomically
from rl.errors import BrokenGuarantee, UserError
from rl.ledger import canonical_json, read_ledger
from rl.resume import TRAIN, require_kind
from rl.run_folder import RunFolder
from rl.verification.diff import describe
from rl.verification.difference import OF_CONTRACT, Difference, compare_records
from rl.verification.integrity import Model, require_intact
from rl.verification.places import IN_WEIGHTS, Side, rollout_difference
from rl.verification.stored_rollouts import read_rollouts
from rl.verification.weight_places import run_parameters

if TYPE_CHECKING:
    from rl.run import Session

COLUMNS = (
    "prompt_id",
    "sample",
    "prompt_token_ids",
    "token_ids",
    "rollout_logprobs",
    "trainer_logprobs",
    "reward",
    "text",
)


class Diverged(BrokenGuarantee):
    """A replay did not come to what the ledger says."""


@dataclass(frozen=True)
class Span:
    """Steps of a run, both ends included; None is the run's own first or last."""

    first: int | None = None
    last: int | None = None

    def within(self, num_steps: int) -> tuple[int, int]:
        """First and last step of the span in a run of `num_steps`. Raises UserError where it has none."""
        first, last = self.first or 1, self.last or num_steps
        if not 1 <= first <= last <= num_steps:
            raise UserError(
                f"--from {first} --to {last} is no span of a ledger with steps 1 to {num_steps}; give 1 <= from <= to "
                f"<= {num_steps}"
            )
        return first, last


@dataclass(frozen=True)
class Task:
    """A replay to be done."""

    folder: RunFolder
    """Of the run."""
    records: Sequence[Mapping[str, Any]]
    """Of the whole run."""
    config: Config
    start: Path | None
    """The checkpoint to replay from; None is the beginning."""
    start_step: int
    last: int
    allow_contract_change: bool


def verify_run(run_dir: Path, span: Span, overrides: Sequence[str], allow_contract_change: bool = False) -> str:
    """What to say of a run, or a span of it, that was replayed and is identical.

    Raises Diverged naming step, field and place; Tampered and LedgerError for a folder that does not hold together;
    UserError for a run of another command than `zerokl train`, for overrides that could change a bit, and for steps
    under another contract unless `allow_contract_change`, which leaves contract and hashes out of the comparison.
    """
    folder = RunFolder(run_dir)
    require_kind(run_dir, TRAIN)
    config = load_config(folder.config_path, require_free(overrides, FREE_KEYS, "a replay"))
    records = read_ledger(folder.ledger_path)
    first, last = span.within(len(records))
    contracts = recorded_contracts(folder, allow_contract_change)
    require_intact(folder, records, contracts, Model(run_parameters(folder), config.trainer.dtype))
    start, start_step = nearest_checkpoint(folder, first)
    if contracts and not allow_contract_change:
        _require_one_contract(records[start_step:last], contracts)
    task = Task(folder, records, config, start, start_step, last, allow_contract_change)
    replay(task)
    return _summary(task, first)


def nearest_checkpoint(folder: RunFolder, first: int) -> tuple[Path | None, int]:
    """The newest checkpoint from before step `first`, and its step; None and 0 where there is none."""
    found = [(path, verified_position(path).step) for path in complete_checkpoints(folder)]
    return max((one for one in found if one[1] < first), key=lambda one: one[1], default=(None, 0))


def replay(task: Task) -> None:
    """Nothing; raises Diverged at the first step that does not come to its record."""
    from rl.run import session

    print(f"{task.folder.path}: replaying steps {task.start_step + 1} to {task.last}", file=sys.stderr)
    with tempfile.TemporaryDirectory(prefix="zerokl-verify-") as scratch:
        folder = prepare(task, Path(scratch))
        config = replace(task.config, run=replace(task.config.run, dir=scratch), tracker="none")
        with session(config, folder, task.allow_contract_change) as current:
            current.recovery.through(current.position, lambda position: _replay_from(task, current, position))


def prepare(task: Task, scratch: Path) -> RunFolder:
    """The folder of a run that stands at the checkpoint to replay from; the checkpoint is a link to the run's."""
    folder = RunFolder(scratch)
    folder.create()
    kept = task.records[: task.start_step]
    write_atomically(folder.ledger_path, "".join(canonical_json(dict(record)) + "\n" for record in kept))
    if task.folder.contract_path.is_file():
        write_atomically(folder.contract_path, task.folder.contract_path.read_text("utf-8"))
    if task.start:
        folder.checkpoint_path(task.start_step).symlink_to(task.start.resolve(), target_is_directory=True)
    return folder


def _replay_from(task: Task, current: "Session", position: Position) -> None:
    """Nothing; takes the loop's own steps, and compares each."""
    from rl.loop import take_step
    from rl.records import step_view

    while position.step < task.last:
        taken = take_step(current, position)
        position = taken.position
        assert current.ledger.last_record is not None
        compare_step(task, current.folder, current.ledger.last_record, current.trainer.save)
        current.progress.step(step_view(taken.batch, taken.proof, taken.clock.total_s, None))


def compare_step(task: Task, scratch: RunFolder, replayed: Mapping[str, Any], save: Callable[[Path], None]) -> None:
    """Nothing; raises Diverged where the record that was replayed last, or its rollouts, are not those of the run.

    `save` writes the trainer's state into a folder.
    """
    step = replayed["step"]
    ignoring = OF_CONTRACT if task.allow_contract_change else ()
    difference = compare_records(task.records[step - 1], replayed, ignoring)
    if difference is None:
        _compare_rollouts(task, scratch, step)
        return
    if difference.field in IN_WEIGHTS and (task.folder.checkpoint_path(step) / STATE_FILE).is_file():
        scratch.checkpoint_path(step).mkdir(parents=True, exist_ok=True)
        save(scratch.checkpoint_path(step).resolve())
    raise Diverged("\n".join(_told(task, scratch, difference)))


def _told(task: Task, scratch: RunFolder, difference: Difference) -> list[str]:
    lines = describe(difference, Side("recorded", task.folder), Side("replayed", scratch))
    lines[0] = f"{task.folder.path} does not replay: first difference at {lines[0]}"
    if not task.config.rollout.exact:
        lines.append("its rollouts are stock vLLM's (rollout.exact: false), whose bits may depend on the load")
    return lines


def _compare_rollouts(task: Task, scratch: RunFolder, step: int) -> None:
    """Nothing; raises Diverged where a step's rollouts differ in what its record does not hash, such as the text."""
    recorded, replayed = task.folder.rollouts_path(step), scratch.rollouts_path(step)
    if recorded.is_file() and recorded.read_bytes() != replayed.read_bytes():
        found = rollout_difference(read_rollouts(recorded), read_rollouts(replayed), COLUMNS)
        raise Diverged(f"step {step}: {recorded} is not what is replayed, though its record is: {found or 'layout'}")


def _require_one_contract(records: Sequence[Mapping[str, Any]], contracts: Contracts) -> None:
    """Nothing; raises ContractChanged where some records are of an earlier contract, which cannot be replayed."""
    others = [record for record in records if record["contract"] != contracts.present.digest]
    if others:
        last = others[-1]
        raise ContractChanged(
            f"step {last['step']} was made under another contract than the run has: "
            f"{contracts.change_since(last['contract'])}; give --from {last['step'] + 1} or later where there is a "
            f"checkpoint of step {last['step']} or later, or leave contract and hashes out with {ALLOW_CHANGE}"
        )


def _summary(task: Task, first: int) -> str:
    last, num_records = task.records[task.last - 1], task.last - first + 1
    if task.allow_contract_change:
        identical = "every number identical, under another contract"
    else:
        identical = f"{num_records} record{'s' * (num_records > 1)} identical"
    hash_name = "final hash" if task.last == len(task.records) else f"hash of step {task.last}"
    since = f"; replayed from the checkpoint of step {task.start_step}" if task.start else ""
    return f"steps {first} to {task.last} verified: {identical}, {hash_name} {last['hash']}{since}"
