"""What a run says at its end."""

from collections.abc import Sequence

from rl.prm.figures import AS_LEARNED, RECALIBRATED
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
    name, estimators, quantiles = fit.fitted.plan.name, fit.figures.estimators, fit.figures.quantiles[RECALIBRATED]
    before, after, base = (
        estimators[n].brier.value for n in (f"mean, {AS_LEARNED}", f"mean, {RECALIBRATED}", "base rate")
    )
    rows = [
        (f"{name}, Brier", f"{before:.4f}, recalibrated {after:.4f}, base rate {base:.4f}"),
        (f"{name}, coverage of {quantiles.targets}", _by_level(fit, [c.at_or_below for c in quantiles.coverage])),
    ]
    if fit.figures.estimated_coverage is not None:
        estimated = fit.figures.estimated_coverage[RECALIBRATED]
        rows.append((f"{name}, estimated coverage", _by_level(fit, estimated)))
    return rows


def _by_level(fit: MeasuredFit, shares: Sequence[float]) -> str:
    levels = [covered.level for covered in fit.figures.quantiles[RECALIBRATED].coverage]
    return ", ".join(f"{level:g}: {100 * share:.1f} %" for level, share in zip(levels, shares, strict=True))
