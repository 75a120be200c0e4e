"""What a run says at its end."""

from rl.prm.measure import Measured, MeasuredFit
from rl.summary import aligned


def render(measured: Measured) -> str:
    """The figures as aligned plain text, without a newline at its end. The final hash is not in it."""
    run_dir = measured.fits[0].fitted.summary.run_dir
    counts = ", ".join(f"{count:,} {part}" for part, count in measured.num_questions.items())
    drawn = sum(question.num_drawn for question in measured.questions)
    return aligned(
        [
            ("questions", counts),
            ("drawn", f"{drawn:,} tokens in {measured.drawing_s:,.0f} s"),
            *(row for fit in measured.fits for row in _fit_rows(fit)),
            ("model", f"{run_dir}/model"),
            ("report", f"{run_dir}/report/index.html"),
        ]
    )


def _fit_rows(fit: MeasuredFit) -> list[tuple[str, str]]:
    estimators, quantiles = fit.figures.estimators, fit.figures.quantiles["recalibrated"]
    before, after, base = (estimators[n].brier.value for n in ("mean, as learned", "mean, recalibrated", "base rate"))
    covered = ", ".join(f"{level.level:g}: {100 * level.at_or_below:.1f} %" for level in quantiles.coverage)
    return [
        (f"{fit.fitted.plan.name}, Brier", f"{before:.4f}, recalibrated {after:.4f}, base rate {base:.4f}"),
        (f"{fit.fitted.plan.name}, coverage of {quantiles.targets}", covered),
    ]
