"""Back to the last checkpoint: the trainer's state, the ledger and the metrics, all of the same step."""

from collections.abc import Callable

from rl.checkpoint import Position, last_checkpoint
from rl.errors import UserError
from rl.ledger import GENESIS, Ledger
from rl.proof import require_same_policy
from rl.run_folder import RunFolder
from rl.trainer_group import RankGroup


def restore(folder: RunFolder, ledger: Ledger, trainer: RankGroup, say: Callable[[str], None]) -> Position:
    """Where the run goes on: the ledger and the metrics are cut back to the last checkpoint."""
    found = last_checkpoint(folder, say)
    if found is None:
        position = Position(0, 0, GENESIS, trainer.policy().digest, 0, 0.0)
    else:
        path, position = found
        require_same_policy(position.policy, trainer.load(path.resolve(), position.step))
    hashes = {0: GENESIS} | {record["step"]: record["hash"] for record in ledger.records()}
    if hashes.get(position.step) != position.ledger_hash:
        raise UserError(
            f"{folder.ledger_path} does not contain the record that checkpoint step {position.step} follows; "
            "the ledger or the checkpoint is of another run"
        )
    ledger.truncate_after(position.step)
    folder.truncate_metrics(position.step)
    return position
