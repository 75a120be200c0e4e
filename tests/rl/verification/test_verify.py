import hashlib
import json
import shutil
import subprocess
from pathlib import Path

import pytest

from rl.checkpoint import STATE_FILE
from rl.config import load_config
from rl.contract.recorded import ContractChanged, Contracts, RunContract, read_contracts, write_contracts
from rl.errors import ConfigError, UserError
from rl.folder_lock import LOCK_FILE
from rl.ledger import read_ledger
from rl.run_folder import RunFolder
from rl.verification import verify
from rl.verification.integrity import Tampered
from rl.verification.stored_rollouts import ledger_fields, read_rollouts
from rl.verification.verify import Diverged, Span, Task, compare_step, nearest_checkpoint, prepare, verify_run

from ..commands import final_hash, ledger, refusal, zerokl
from ..synthetic import PARAMETERS, edit_rollout, flip_bit, make_run, rehash, sha, state_writer


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunFolder:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(verify, "run_parameters", lambda _: PARAMETERS)
    return make_run(tmp_path / "run", num_steps=4)


@pytest.fixture
def replays(monkeypatch: pytest.MonkeyPatch) -> list[Task]:
    """What would have been replayed; nothing is."""
    tasks: list[Task] = []
    monkeypatch.setattr(verify, "replay", tasks.append)
    return tasks


def everything(folder: Path) -> dict[str, tuple[int, str]]:
    """When each file under a folder was written, and what is in it; whoever works there leaves a lock behind."""
    files = [path for path in sorted(folder.rglob("*")) if path.is_file() and path.name != LOCK_FILE]
    return {
        str(path.relative_to(folder)): (path.stat().st_mtime_ns, hashlib.sha256(path.read_bytes()).hexdigest())
        for path in files
    }


def test_a_span_is_the_whole_run_unless_it_is_said() -> None:
    assert Span().within(9) == (1, 9)
    assert Span(3).within(9) == (3, 9)
    assert Span(3, 3).within(9) == (3, 3)


@pytest.mark.parametrize("span", [Span(5, 4), Span(1, 10), Span(10)])
def test_a_span_that_the_ledger_does_not_have_is_refused(span: Span) -> None:
    with pytest.raises(UserError, match="a ledger with steps 1 to 9"):
        span.within(9)


def test_a_replay_starts_at_the_nearest_checkpoint_before_the_span(run: RunFolder) -> None:
    assert nearest_checkpoint(run, 4) == (run.checkpoint_path(3), 3)
    assert nearest_checkpoint(run, 5) == (run.checkpoint_path(4), 4)
    assert nearest_checkpoint(run, 3) == (None, 0)


def test_only_keys_that_change_no_bit_may_be_another(run: RunFolder, replays: list[Task]) -> None:
    verify_run(run.path, Span(), ["rollout.num_actors=2", "trainer.world_size=2"])
    assert (replays[0].config.rollout.num_actors, replays[0].config.trainer.world_size) == (2, 2)
    with pytest.raises(ConfigError, match="optimizer.learning_rate may decide a bit"):
        verify_run(run.path, Span(), ["rollout.num_actors=2", "optimizer.learning_rate=1"])


def test_a_run_of_another_command_is_refused_by_its_name(run: RunFolder, replays: list[Task]) -> None:
    run.config_path.write_text("kind: pretrain\nseed: 0\n")
    with pytest.raises(UserError, match="is a run of `zerokl pretrain`, and this takes one of `zerokl train`$"):
        verify_run(run.path, Span(), [])
    assert replays == []


def test_the_summary_says_what_was_verified(run: RunFolder, replays: list[Task]) -> None:
    hashes = [record["hash"] for record in read_ledger(run.ledger_path)]
    whole = f"steps 1 to 4 verified: 4 records identical, final hash {hashes[3]}"
    assert verify_run(run.path, Span(), []) == whole
    assert verify_run(run.path, Span(4), []) == (
        f"steps 4 to 4 verified: 1 record identical, final hash {hashes[3]}; replayed from the checkpoint of step 3"
    )
    assert f"hash of step 2 {hashes[1]}" in verify_run(run.path, Span(1, 2), [])


def test_tampering_is_told_before_anything_is_replayed(run: RunFolder, replays: list[Task]) -> None:
    edit_rollout(run, 2, 0, reward=5.0)
    with pytest.raises(Tampered, match="step 2, field rewards"):
        verify_run(run.path, Span(4), [])
    assert replays == []


def test_a_replay_has_a_folder_of_its_own_and_the_checkpoint_only_by_a_link(run: RunFolder, tmp_path: Path) -> None:
    before = everything(run.path)
    records = read_ledger(run.ledger_path)
    config = load_config(run.config_path)
    scratch = prepare(Task(run, records, config, run.checkpoint_path(3), 3, 4, False), tmp_path / "scratch")
    assert read_ledger(scratch.ledger_path) == records[:3]
    assert read_contracts(scratch.contract_path) == read_contracts(run.contract_path)
    assert scratch.checkpoint_path(3).is_symlink()
    assert scratch.checkpoint_path(3).resolve() == run.checkpoint_path(3)
    shutil.rmtree(scratch.path)
    assert everything(run.path) == before


def test_steps_under_an_earlier_contract_are_refused_with_the_parts(run: RunFolder, replays: list[Task]) -> None:
    before = read_contracts(run.contract_path).present
    after = RunContract(before.parts | {"seed": 1})
    for step in (3, 4):
        rehash(run, step, contract=after.digest)
    write_contracts(run.contract_path, Contracts(after, (before,)))
    shutil.rmtree(run.checkpoints_dir)
    with pytest.raises(ContractChanged, match="step 2 was made under another contract .*seed: 0 -> 1.*--from 3"):
        verify_run(run.path, Span(), [])
    said = verify_run(run.path, Span(), [], allow_contract_change=True)
    assert "every number identical, under another contract" in said


def comparison(run: RunFolder, tmp_path: Path, allow_contract_change: bool = False) -> Task:
    """A replay of the fourth step of `run`, with `tmp_path/replayed` as if it had been its folder."""
    config = load_config(run.config_path)
    return Task(run, read_ledger(run.ledger_path), config, None, 0, 4, allow_contract_change)


def compare(task: Task, replayed: RunFolder) -> None:
    compare_step(task, replayed, read_ledger(replayed.ledger_path)[3], state_writer(4))


def test_a_step_that_replays_is_passed(run: RunFolder, tmp_path: Path) -> None:
    compare(comparison(run, tmp_path), make_run(tmp_path / "replayed", num_steps=4))


def test_a_reward_that_does_not_replay_is_told_with_its_place(run: RunFolder, tmp_path: Path) -> None:
    replayed = make_run(tmp_path / "replayed", num_steps=4)
    edit_rollout(replayed, 4, 1, reward=0.5)
    rehash(replayed, 4, rewards=sha("other"))
    with pytest.raises(Diverged) as caught:
        compare(comparison(run, tmp_path), replayed)
    first, *rest = str(caught.value).splitlines()
    assert first == f"{run.path} does not replay: first difference at step 4, field rewards (and then hash)"
    assert rest[-1].strip() == ("prompt train/0/8, sample 1, reward: 0x0.0p+0 (0.0) against 0x1.0000000000000p-1 (0.5)")


def test_a_weight_that_does_not_replay_is_told_where_the_run_has_a_checkpoint(run: RunFolder, tmp_path: Path) -> None:
    replayed = make_run(tmp_path / "replayed", num_steps=4)
    shutil.rmtree(replayed.checkpoints_dir)
    flip_bit(run.checkpoint_path(4) / STATE_FILE, "master", 2)
    rehash(replayed, 4, weights=sha("other"))
    with pytest.raises(Diverged, match="weight number 2: .*1 of 10 differ"):
        compare(comparison(run, tmp_path), replayed)


def test_another_text_is_found_though_no_digest_has_it(run: RunFolder, tmp_path: Path) -> None:
    replayed = make_run(tmp_path / "replayed", num_steps=4)
    edit_rollout(run, 4, 3, text="other")
    with pytest.raises(Diverged, match="prompt train/0/9, sample 1, text: other against b"):
        compare(comparison(run, tmp_path), replayed)


def test_under_another_contract_only_numbers_are_compared(run: RunFolder, tmp_path: Path) -> None:
    replayed = make_run(tmp_path / "replayed", num_steps=4, parts={"seed": 1})
    compare(comparison(run, tmp_path, allow_contract_change=True), replayed)
    with pytest.raises(Diverged, match="step 4, field contract"):
        compare(comparison(run, tmp_path), replayed)


def copied(workplace: Path, name: str) -> RunFolder:
    """A copy of the finished run that may be spoilt."""
    shutil.copytree(workplace / "run", workplace / name)
    return RunFolder(workplace / name)


@pytest.mark.engine
def test_a_changed_config_is_refused_at_resume_and_nothing_is_written(
    done: subprocess.CompletedProcess[str], workplace: Path
) -> None:
    final_hash(done)
    run = copied(workplace, "edited")
    text = run.config_path.read_text()
    assert "seed: 0\n" in text and "learning_rate: 0.001\n" in text
    run.config_path.write_text(text.replace("seed: 0\n", "seed: 1\n").replace("rate: 0.001\n", "rate: 0.002\n"))
    before = everything(run.path)
    told = refusal("resume", run.path, cwd=workplace)
    assert "seed: 0 -> 1" in told and "optimizer.learning_rate: 0.001 -> 0.002" in told
    assert "starting Ray" not in told and everything(run.path) == before


@pytest.mark.engine
@pytest.mark.thorough
def test_an_allowed_change_marks_the_ledger_and_what_follows_verifies_on_other_actors(
    done: subprocess.CompletedProcess[str], workplace: Path
) -> None:
    final_hash(done)
    run = copied(workplace, "changed")
    shutil.rmtree(run.checkpoint_path(3))
    shutil.rmtree(run.model_dir)
    run.config_path.write_text(run.config_path.read_text().replace("learning_rate: 0.001\n", "learning_rate: 0.002\n"))
    final_hash(zerokl("resume", run.path, "--allow-contract-change", cwd=workplace))
    records = ledger(run.path)
    assert records[:2] == ledger(workplace / "run")[:2] and "contract_change" not in records[1]
    assert records[2]["contract_change"] == "optimizer.learning_rate: 0.001 -> 0.002"
    before = everything(run.path)
    verified = zerokl("verify", run.path, "--from", 3, "rollout.num_actors=2", cwd=workplace)
    assert verified.returncode == 0, verified.stderr
    assert verified.stdout.splitlines()[-1] == (
        f"steps 3 to 3 verified: 1 record identical, final hash {records[2]['hash']}; "
        "replayed from the checkpoint of step 2"
    )
    assert everything(run.path) == before


@pytest.mark.engine
def test_a_forged_reward_whose_chain_was_computed_anew_is_found_by_the_replay(
    done: subprocess.CompletedProcess[str], workplace: Path
) -> None:
    final_hash(done)
    run = copied(workplace, "forged")
    shutil.rmtree(run.checkpoint_path(3))
    path = run.rollouts_path(3)
    edit_rollout(run, 3, 5, reward=1.0)
    rehash(run, 3, rewards=ledger_fields(read_rollouts(path))["rewards"])
    found = zerokl("verify", run.path, "--from", 3, cwd=workplace)
    assert found.returncode == 3, found.stderr
    true = json.loads((workplace / "run" / "rollouts" / "step_000003.jsonl").read_text().splitlines()[5])
    assert "first difference at step 3, field rewards (and then hash)" in found.stderr
    assert f"prompt {true['prompt_id']}, sample {true['sample']}, reward: 0x1.0000000000000p+0 (1.0)" in found.stderr
