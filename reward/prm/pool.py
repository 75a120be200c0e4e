"""PRMs in Ray actors: sequences are dealt out, rows come back in order.

An actor that dies, or is silent past its deadline, is replaced and asked its own share again; a row is a function of
its sequence alone.
"""

from collections.abc import Callable, Sequence
from typing import Any

import ray

from kernels.process import compute_environment
from reward.prm.scorer import Rows
from reward.prm.steps import StepInput
from rollout.deadlines import Deadlines
from rollout.remote import Call, Patience, ProcessLost, answer, call

Make = Callable[[], Any]
"""Makes a model with a `read`, in the actor's process."""


class ScorerActor:
    """A model in a process of its own: vLLM changes Hugging Face's classes in an engine's."""

    def __init__(self, make: Make):
        self._model = make()

    def read(self, inputs: Sequence[StepInput]) -> list[Rows]:
        """(places, levels) for each sequence, in order."""
        rows: list[Rows] = self._model.read(inputs)
        return rows


class ScorerPool:
    """`num_actors` models behind one `read`. Ray must be up."""

    def __init__(
        self,
        make: Make,
        num_actors: int,
        deadlines: Deadlines,
        say: Callable[[str], None],
        num_gpus: int = 0,
    ):
        """say: told of every actor that was lost. num_gpus: of each actor."""
        variables = compute_environment(threads=0, num_processes=num_actors) | {"HF_HUB_OFFLINE": "1"}
        remote = ray.remote(num_cpus=0, num_gpus=num_gpus, runtime_env={"env_vars": variables})(ScorerActor)
        self._create = lambda: remote.remote(make)
        self._deadlines = deadlines
        self._actors = [self._create() for _ in range(num_actors)]
        self._patience = [Patience(say) for _ in range(num_actors)]
        self._is_warm = [False] * num_actors

    def read(self, inputs: Sequence[StepInput]) -> list[Rows]:
        """(places, levels) for each sequence, in order."""
        shares = dealt_out(inputs, len(self._actors))
        calls = {index: self._ask(index, [inputs[i] for i in share]) for index, share in enumerate(shares) if share}
        found: dict[int, Rows] = {}
        for index, asked in calls.items():
            rows = self._answer(index, asked, [inputs[i] for i in shares[index]])
            found |= dict(zip(shares[index], rows, strict=True))
        return [found[i] for i in range(len(inputs))]

    def close(self) -> None:
        """Nothing; ends every actor's process."""
        for actor in self._actors:
            ray.kill(actor)

    def _ask(self, index: int, share: Sequence[StepInput]) -> Call:
        within_s = self._deadlines.sample_s(sum(len(given.token_ids) for given in share))
        if not self._is_warm[index]:
            within_s += self._deadlines.start_s()
        return call(f"scorer {index}", "reading solutions", self._actors[index].read.remote(list(share)), within_s)

    def _answer(self, index: int, asked: Call, share: Sequence[StepInput]) -> list[Rows]:
        while True:
            try:
                rows: list[Rows] = answer(asked)
            except ProcessLost as lost:
                self._patience[index].spend(lost)
                ray.kill(self._actors[index])
                self._actors[index], self._is_warm[index] = self._create(), False
                asked = self._ask(index, share)
            else:
                self._patience[index].renew()
                self._is_warm[index] = True
                return rows


def dealt_out(inputs: Sequence[StepInput], num_actors: int) -> list[list[int]]:
    """The indices of each actor's share. Solutions of a question stay together; the longest work goes first, to whoever
    has least."""
    questions: dict[tuple[int, ...], list[int]] = {}
    for index, given in enumerate(inputs):
        questions.setdefault(given.token_ids[: given.positions[0] + 1], []).append(index)
    shares: list[list[int]] = [[] for _ in range(num_actors)]
    work = [0] * num_actors
    for members in sorted(questions.values(), key=lambda members: -_num_tokens(inputs, members)):
        least = work.index(min(work))
        shares[least].extend(members)
        work[least] += _num_tokens(inputs, members)
    return shares


def _num_tokens(inputs: Sequence[StepInput], members: Sequence[int]) -> int:
    return sum(len(inputs[index].token_ids) for index in members)
