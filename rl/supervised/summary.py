"""What a supervised run says at its end."""

from rl.summary import aligned, steps_taken
from rl.supervised.job import Summary


def render_supervised(summary: Summary) -> str:
    """The summary as aligned plain text, without a newline at its end. The final hash is not in it."""
    places = ("config.yaml", "ledger.jsonl", "metrics.jsonl", "checkpoints/", "model/")
    return aligned(
        [
            ("steps", steps_taken(summary.steps, summary.from_step, summary.wall_s)),
            ("tokens", f"{summary.num_tokens:,} at {summary.tokens_per_s:,.0f} tok/s"),
            ("loss", f"{summary.loss:.4f}"),
            *((place.removesuffix("/").partition(".")[0], f"{summary.run_dir}/{place}") for place in places),
        ]
    )
