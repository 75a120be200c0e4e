"""One completion a task, or several to choose from, drawn as ordinary rollouts are."""

from collections.abc import Sequence
from dataclasses import dataclass

from rollout.search import streams
from rollout.search.checks import require, require_at_least_one
from rollout.search.drawing import Drawing, all_drawn_on
from rollout.search.meter import Meter
from rollout.search.types import Outcome, Path, SearchResult, Task, Tools


@dataclass(frozen=True, kw_only=True)
class Temperature:
    """A sample at a temperature: the tokens of the rollout with the same seed, prompt and sample."""

    temperature: float = 1.0
    max_new_tokens: int = 3072

    def __post_init__(self) -> None:
        require_temperature(self.temperature)
        require_at_least_one(max_new_tokens=self.max_new_tokens)

    def search(self, tasks: Sequence[Task], tools: Tools) -> SearchResult:
        """An `Outcome` per task."""
        meter = Meter(tools.sampler, len(tasks))
        candidates = draw_candidates(Drawing(tasks, tools, meter, self.temperature), self.max_new_tokens)
        return meter.result(
            [
                Outcome(task, path, meter.effort(i, path))
                for i, (task, (path,)) in enumerate(zip(tasks, candidates, strict=True))
            ]
        )


@dataclass(frozen=True, kw_only=True)
class Greedy:
    """The likeliest token at every place."""

    max_new_tokens: int = 3072

    def __post_init__(self) -> None:
        require_at_least_one(max_new_tokens=self.max_new_tokens)

    def search(self, tasks: Sequence[Task], tools: Tools) -> SearchResult:
        """An `Outcome` per task; those of one prompt are all the same."""
        return Temperature(temperature=0.0, max_new_tokens=self.max_new_tokens).search(tasks, tools)


@dataclass(frozen=True, kw_only=True)
class Candidates:
    """What methods share that draw several completions for a task and make one outcome of them."""

    num_candidates: int = 8
    temperature: float = 1.0
    max_new_tokens: int = 3072

    def __post_init__(self) -> None:
        require_at_least_one(num_candidates=self.num_candidates, max_new_tokens=self.max_new_tokens)
        require_temperature(self.temperature)


def draw_candidates(drawing: Drawing, max_new_tokens: int) -> list[tuple[Path, ...]]:
    """`drawing.num_members` completions for each task, all in one call of the sampler."""
    size = drawing.num_members
    draw = drawing.under(lambda task, member: streams.plain_key(drawing.tools.seed, task, member, size))
    paths = all_drawn_on([Path()] * (len(drawing.tasks) * size), max_new_tokens, draw)
    return [tuple(paths[i : i + size]) for i in range(0, len(paths), size)]


def require_temperature(temperature: float) -> None:
    """Nothing; raises ValueError unless it is a finite number, 0 or more."""
    require(0 <= temperature < float("inf"), "temperature", "a finite number, 0 or more", temperature)
