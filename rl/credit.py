"""What a process reward model adds to the advantages of a step, and what is carried of it from step to step.

    groups ── readings ──> StepScorer, in actors of its own ── values ──> reward.process ──> a float for each token
      └── what came of them ──> drift;  every `recalibrate_every` steps a new map from the model's chances to values

The map, and what it will be fitted on next, decide bits of later steps: every checkpoint holds them.
"""

import json
import statistics
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

from reward.drift import Drift, Reference, Told, drift
from reward.log_odds import IDENTITY, LogOddsMap, Outcome, fit_log_odds
from reward.process import FORMS, ProcessConfig, Values, over_tokens, step_values
from rl.durable import write_atomically
from rl.errors import UserError
from rl.types import RewardedGroup, StepAdvantages
from rollout.search.stepwise import Reading, StepScorer, StepScores, medians
from rollout.types import Rollout

STATE_FILE = "process.json"
"""In a checkpoint."""
WINDOW = 256
"""Questions of late that a map is fitted on, and drift is told by."""


@dataclass(frozen=True)
class Credited:
    """What the steps of a batch earn."""

    advantages: tuple[StepAdvantages, ...]
    """One for each group."""
    metrics: dict[str, float]
    """Keys `process/name`."""


class Credit(Protocol):
    """Gives steps their advantages."""

    def credited(self, step: int, groups: Sequence[RewardedGroup]) -> Credited:
        """What the steps of these groups earn; the groups are taken into account in later steps."""
        ...

    def save(self, folder: Path) -> None:
        """Nothing; writes what later steps depend on into a checkpoint."""
        ...

    def restore(self, folder: Path | None) -> None:
        """Nothing; stands where the checkpoint does that `save` wrote to, or at the beginning."""
        ...


class NoCredit:
    """Of a run without process rewards."""

    def credited(self, step: int, groups: Sequence[RewardedGroup]) -> Credited:
        """Nothing for any group."""
        return Credited(((),) * len(groups), {})

    def save(self, folder: Path) -> None:
        """Nothing is written."""

    def restore(self, folder: Path | None) -> None:
        """Nothing is read."""


@dataclass(frozen=True)
class Followed:
    """A rollout and what the model said of it, before any map."""

    chances: tuple[float, ...]
    """(S + 1,) the medians; (S,) of one that was cut off in its last step."""
    is_right: bool

    def outcomes(self) -> list[Outcome]:
        """What became of it, seen from each place; a rollout counts once, however many steps it has."""
        return [Outcome(chance, self.is_right, 1 / len(self.chances)) for chance in self.chances]


@dataclass(frozen=True)
class State:
    """What is carried from step to step."""

    recalibrated: LogOddsMap = IDENTITY
    """From the model's chances to values."""
    seen: tuple[tuple[Followed, ...], ...] = ()
    """The rollouts of each of the last questions; empty where no map is to be fitted."""
    told: tuple[Told, ...] = ()
    """The last questions since the map was fitted."""
    has_warned: bool = False
    """Since the map was fitted."""

    def refitted(self) -> "State":
        """With the map fitted to what was seen."""
        outcomes = [outcome for group in self.seen for rollout in group for outcome in rollout.outcomes()]
        return replace(self, recalibrated=fit_log_odds(outcomes), told=(), has_warned=False)


@dataclass
class ProcessCredit:
    """Of a run with process rewards."""

    config: ProcessConfig
    scorer: StepScorer
    reference: Reference | None
    """What the model's calibration report says of it."""
    say: Callable[[str], None]
    """Told of drift."""
    state: State = field(default_factory=State)

    def credited(self, step: int, groups: Sequence[RewardedGroup]) -> Credited:
        """A float for each token of each rollout, `weight` times what its step earns."""
        scores = self._read(groups)
        values = [
            [self._values(*pair) for pair in zip(said, group.group.rollouts, strict=True)]
            for said, group in zip(scores, groups, strict=True)
        ]
        earned = [FORMS[self.config.form](group) for group in values]
        advantages = [self._over_tokens(*pair) for pair in zip(scores, earned, strict=True)]
        followed = [self._followed(*pair) for pair in zip(groups, scores, strict=True)]
        self._take_in(followed)
        found = self._look_for_drift()
        metrics = _metrics([rollout for group in values for rollout in group], found, self.state.recalibrated)
        metrics["process/overestimate"] = self._overestimate(groups, followed)
        if self.config.recalibrate_every and step % self.config.recalibrate_every == 0:
            self.state = self.state.refitted()
        return Credited(tuple(advantages), metrics)

    def save(self, folder: Path) -> None:
        """Nothing; writes `process.json`."""
        write_atomically(folder / STATE_FILE, json.dumps(asdict(self.state)) + "\n")

    def restore(self, folder: Path | None) -> None:
        """Nothing; reads `process.json`. Raises UserError where a checkpoint has none."""
        self.state = State() if folder is None else _read_state(folder / STATE_FILE)

    def _read(self, groups: Sequence[RewardedGroup]) -> list[list[StepScores]]:
        """What the scorer says of every rollout, all read at once, so that every token is in a step."""
        readings = [
            Reading(group.group.prompt, rollout.token_ids, has_ended=True)
            for group in groups
            for rollout in group.group.rollouts
        ]
        said = iter(self.scorer.score(readings))
        return [[next(said) for _ in group.group.rollouts] for group in groups]

    def _values(self, said: StepScores, rollout: Rollout) -> Values:
        values = step_values(said, self.scorer.levels, self.config.level, self.state.recalibrated)
        return (*values[:-1], 0.0) if rollout.truncated else values

    def _over_tokens(self, scores: Sequence[StepScores], earned: Sequence[Sequence[float]]) -> StepAdvantages:
        weight = self.config.weight
        return tuple(
            over_tokens(said.ends, [weight * value for value in steps])
            for said, steps in zip(scores, earned, strict=True)
        )

    def _take_in(self, followed: Sequence[tuple[Followed, ...]]) -> None:
        """Nothing; afterwards the state knows what came of these groups."""
        told, seen = list(self.state.told), list(self.state.seen)
        for group in followed:
            if len(group) > 1:
                chance = self.state.recalibrated(group[0].chances[0])
                told.append(Told(chance, sum(rollout.is_right for rollout in group), len(group)))
            if self.config.recalibrate_every:
                seen.append(group)
        self.state = replace(self.state, told=tuple(told[-WINDOW:]), seen=tuple(seen[-WINDOW:]))

    def _followed(self, group: RewardedGroup, said: Sequence[StepScores]) -> tuple[Followed, ...]:
        """The group's rollouts. One that was cut off is wrong, and its end is no place that the model was made for."""
        followed = []
        for rollout, reward, scores in zip(group.group.rollouts, group.rewards, said, strict=True):
            chances = medians(scores, self.scorer.levels)
            is_right = reward.is_correct and not rollout.truncated
            followed.append(Followed(chances[:-1] if rollout.truncated else chances, is_right))
        return tuple(followed)

    def _overestimate(self, groups: Sequence[RewardedGroup], followed: Sequence[tuple[Followed, ...]]) -> float:
        """By how much the median at the end of a solution is above the share that is right, on average."""
        rollouts = [rollout for group in groups for rollout in group.group.rollouts]
        ends = zip(rollouts, (one for group in followed for one in group), strict=True)
        return statistics.fmean(
            (0.0 if rollout.truncated else self.state.recalibrated(one.chances[-1])) - one.is_right
            for rollout, one in ends
        )

    def _look_for_drift(self) -> Drift | None:
        found = drift(self.state.told, self.reference)
        if found is not None and found.is_told and not self.state.has_warned:
            self.say(f"{found.sentence()}; {_remedy(self.config)}")
            self.state = replace(self.state, has_warned=True)
        return found


def _remedy(config: ProcessConfig) -> str:
    if config.recalibrate_every:
        return f"it is calibrated again every {config.recalibrate_every} steps (reward.process.recalibrate_every)"
    return "calibrate it again as training goes with reward.process.recalibrate_every, or anew with `zerokl train-prm`"


def _metrics(values: Sequence[Values], found: Drift | None, recalibrated: LogOddsMap) -> dict[str, float]:
    means = {
        "process/first": statistics.fmean(rollout[0] for rollout in values),
        "process/last": statistics.fmean(rollout[-1] for rollout in values),
        "process/least": statistics.fmean(min(rollout[1:]) for rollout in values),
        "process/num_steps": statistics.fmean(len(rollout) - 1 for rollout in values),
        "process/map_scale": recalibrated.scale,
        "process/map_shift": recalibrated.shift,
    }
    if found is None:
        return means
    drifted = {"process/brier": found.error, "process/brier_error": found.standard_error}
    if found.reference is not None:
        drifted["process/brier_report"] = found.reference.error
    return means | drifted


def _read_state(path: Path) -> State:
    try:
        fields: dict[str, Any] = json.loads(path.read_text("utf-8"))
        return State(
            LogOddsMap(**fields["recalibrated"]),
            tuple(tuple(Followed(tuple(r["chances"]), r["is_right"]) for r in group) for group in fields["seen"]),
            tuple(Told(**told) for told in fields["told"]),
            bool(fields["has_warned"]),
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"{path} is not the state of process rewards that a checkpoint has ({type(error).__name__}: {error}); "
            "the checkpoint is of a run without them"
        ) from error
