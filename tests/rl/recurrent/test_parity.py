"""Rollout = prefill = trainer in all bits, at every depth: chunked prefills, waiting requests and shared prefixes."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from rl.parity import ParityChecker
from rl.recurrent.checkpoint import at_recurrence

pytestmark = pytest.mark.engine
CASES = [(1, "float32"), (2, "float32"), (4, "float32"), (8, "float32"), (4, "bfloat16")]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "recurrence" in metafunc.fixturenames:
        whole = metafunc.config.getoption("--thorough")
        cases = [(r, dtype) for r in (1, 2, 4, 8) for dtype in ("float32", "bfloat16")] if whole else CASES
        metafunc.parametrize(("recurrence", "dtype"), cases)


@pytest.fixture(scope="module")
def checker(ray_session: None) -> Iterator[ParityChecker]:
    with ParityChecker() as made:
        yield made


@pytest.fixture(scope="module")
def uneven_model(tiny_recurrent: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With norms that are not all ones and an adapter that mixes, which would hide mistakes."""
    folder = tmp_path_factory.mktemp("uneven")
    model = AutoModelForCausalLM.from_pretrained(tiny_recurrent)
    generator = torch.Generator().manual_seed(0)
    for parameter in model.parameters():
        if parameter.dim() == 1:
            parameter.data += 0.2 * torch.randn(parameter.shape, generator=generator)
    model.model.adapter.weight.data += 0.05 * torch.randn(model.model.adapter.weight.shape, generator=generator)
    model.save_pretrained(folder)
    AutoTokenizer.from_pretrained(tiny_recurrent).save_pretrained(folder)
    return folder


def test_every_depth_is_exact(
    recurrence: int, dtype: str, checker: ParityChecker, uneven_model: Path, tmp_path: Path
) -> None:
    report = checker.check(at_recurrence(uneven_model, recurrence, tmp_path), dtype)
    print(f"\n| {recurrence} | {dtype} | {report.num_tokens:,} | {report.num_mismatched} |")
    assert report.num_tokens > 1000
    assert report.problems == ()
