"""What the evidence costs: ledger, digests and canonical reduction as a share of a demo step, and against DeepSpeed.

The step is the demo's on one rank (`configs/demo.yaml`): 16 prompts x 8 rollouts of at most 16 tokens, 2 shards. The
reduction is timed from gradients that each rank has, to the norm and what the optimizer step starts from.
"""

import statistics

from rl.bench import BenchResult, BenchSettings
from rl.bench.own_steps import OwnSteps, StepSize, sums_to_learn, take_steps
from rl.bench.reduce_ranks import reduction_times

SIZE = StepSize(num_prompts=16, group_size=8, new_tokens=16, num_shards=2)
NUM_RANKS = (2, 4)
NUM_ELEMENTS = {False: 2**25, True: 2**22}
"""Of the gradient that is reduced, by `quick`."""


def measure(settings: BenchSettings) -> BenchResult:
    """Seconds and shares of a step, and seconds of both reductions by number of ranks."""
    steps = take_steps(settings, SIZE, sums_to_learn(settings, SIZE, 3 if settings.quick else 6))
    step_s, costs = statistics.median(steps.totals_s[1:]), _costs(steps)
    num_elements = NUM_ELEMENTS[settings.quick]
    reductions = {n: reduction_times(n, num_elements, repeats=3 if settings.quick else 7) for n in NUM_RANKS}
    rows = (
        ("demo step", f"{step_s:.2f}", ""),
        *((f"  {name}", f"{seconds:.3f}", f"{seconds / step_s:.1%}") for name, seconds in costs.items()),
        ("ledger, digests and reduction", f"{sum(costs.values()):.3f}", f"{sum(costs.values()) / step_s:.1%}"),
        *(row for n, times in reductions.items() for row in _reduction_rows(n, num_elements, times)),
    )
    figures = {
        "step_s": steps.totals_s, "costs_s": costs, "share": sum(costs.values()) / step_s, "parts_s": steps.parts_s,
        "reduced_elements": num_elements, "reduction_s": reductions,
    }  # fmt: skip
    return BenchResult("the price of the evidence", ("", "s", ""), rows, figures)


def _costs(steps: OwnSteps) -> dict[str, float]:
    return {
        "ledger line and rollouts": steps.parts_s["ledger"],
        "digests, in the trainer": steps.parts_s["train_digest"],
        "digest, in the engine": steps.weights_digest_s,
        "sum of shards, norm, clipping": steps.parts_s["train_reduce"],
    }


def _reduction_rows(num_ranks: int, num_elements: int, times_s: dict[str, float]) -> list[tuple[str, str, str]]:
    title = f"{num_elements / 1e6:.0f} M gradients over {num_ranks} ranks"
    ratio = times_s["canonical"] / times_s["deepspeed"]
    return [
        (f"{title}, DeepSpeed's", f"{times_s['deepspeed']:.3f}", ""),
        (f"{title}, canonical", f"{times_s['canonical']:.3f}", f"{ratio:.2f} times DeepSpeed's"),
        ("  and its digest", f"{times_s['digest']:.3f}", ""),
    ]
