"""The long form: many faults, a few to a run, each run's account in a file of its own so that it can be gone on with.

OUT/undisturbed/         the run that nobody disturbs
OUT/journey-000/         a run under faults
OUT/journey-000.json     how it went
OUT/faults.json          all of them
"""

import json
import random
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from .faults import journeys, plan
from .journey import Arrival, Attempt, Journey, Reference, undergo
from .table import show, write_json

CONFIG = Path(__file__).with_name("few_questions.yaml")
ACCOUNTS = "journey-[0-9][0-9][0-9].json"
NUM_QUESTIONS = 14
FAULTS_PER_RUN = 3
SHAPES = (
    ("rollout.num_actors=2", "trainer.world_size=1"),
    ("rollout.num_actors=1", "trainer.world_size=2"),
)
"""How many processes a run has, and how many when it is resumed."""
SAVING = (
    ("checkpoint.every=1", "checkpoint.keep=2"),
    ("checkpoint.every=2", "checkpoint.keep=1"),
)


def run_campaign(out: Path, seed: int, num_faults: int, at_most: int | None = None) -> bool:
    """Whether every run ended as it should. All are made anew, or `at_most` of those that have no account yet."""
    out.mkdir(parents=True, exist_ok=True)
    if at_most is None:
        _forget(out)
    write_questions(out / "questions.jsonl")
    undisturbed = _undisturbed(out)
    waiting = [journey for journey in planned(seed, num_faults) if not _account_path(out, journey).exists()]
    for journey in waiting[:at_most]:
        arrival = undergo(journey, CONFIG, out)
        write_json(_account_path(out, journey), _account(arrival, undisturbed))
    accounts = read_accounts(out)
    write_json(out / "faults.json", {"seed": seed, "final_hash": undisturbed.final_hash, "runs": accounts})
    _show(accounts)
    return not any(account["complaints"] for account in accounts)


def planned(seed: int, num_faults: int) -> Iterator[Journey]:
    """The runs of a campaign."""
    rng = random.Random(seed)
    for index, faults in enumerate(journeys(plan(seed, num_faults), FAULTS_PER_RUN)):
        settings = SHAPES[index % len(SHAPES)] + rng.choice(SAVING)
        yield Journey(f"journey-{index:03}", faults, settings, resume_overrides=rng.choice(SHAPES))


def write_questions(path: Path) -> None:
    """Nothing; so few that a run reads them more than once."""
    rows = [{"prompt": f"What is {n} + {n + 3}?", "answer": str(2 * n + 3)} for n in range(NUM_QUESTIONS)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def read_accounts(out: Path) -> list[dict[str, Any]]:
    """How the runs in `out` went, in order."""
    return [json.loads(path.read_text()) for path in sorted(out.glob(ACCOUNTS))]


def _forget(out: Path) -> None:
    for account in out.glob(ACCOUNTS):
        account.unlink()
    shutil.rmtree(out / "undisturbed", ignore_errors=True)


def _undisturbed(out: Path) -> Reference:
    """What the run comes to that nobody disturbs; it is made once."""
    if not (out / "undisturbed" / "model").exists():
        arrival = undergo(Journey("undisturbed", ()), CONFIG, out)
        assert arrival.final_hash, arrival.attempts[-1].stderr
    return Reference.of(out / "undisturbed")


def _account_path(out: Path, journey: Journey) -> Path:
    return out / f"{journey.name}.json"


def _account(arrival: Arrival, undisturbed: Reference) -> dict[str, Any]:
    return {
        "name": arrival.journey.name,
        "overrides": arrival.journey.overrides,
        "resume_overrides": arrival.journey.resume_overrides,
        "faults": [asdict(fault) for fault in arrival.journey.faults],
        "struck": [asdict(fault) for fault in arrival.struck],
        "attempts": [_told(attempt) for attempt in arrival.attempts],
        "final_hash": arrival.final_hash,
        "is_same": arrival.is_same_as(undisturbed),
        "complaints": arrival.complaints(undisturbed),
    }


def _told(attempt: Attempt) -> dict[str, Any]:
    told = asdict(attempt)
    return told | {"stdout": attempt.stdout[-500:], "stderr": attempt.stderr[-3000:], "wall_s": round(attempt.wall_s)}


def _show(accounts: Sequence[dict[str, Any]]) -> None:
    """Nothing; prints a line for each victim and one for all: faults that struck, and how their runs ended."""
    struck = [(fault["victim"], account) for account in accounts for fault in account["struck"]]
    tallies = {name: _tally([account for victim, account in struck if victim == name]) for name in dict(struck)}
    rows = [(name, *tally) for name, tally in sorted(tallies.items())]
    rows.append(("all", *_tally([account for _, account in struck])))
    show(f"{len(accounts)} runs under faults", ("victim", "struck", "survived", "same hash and ledger"), rows)
    for account in accounts:
        for complaint in account["complaints"]:
            print(f"{account['name']}: {complaint}")


def _tally(accounts: Sequence[dict[str, Any]]) -> tuple[int, int, int]:
    return (
        len(accounts),
        sum(bool(account["final_hash"]) for account in accounts),
        sum(account["is_same"] for account in accounts),
    )
