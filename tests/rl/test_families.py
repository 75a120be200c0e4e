"""The parity matrix: decoder families through the same seam, rollout = prefill = trainer in all bits.

Every second family in bf16, the others in fp32; `pytest --thorough` runs all of both and prints the table of the docs.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest

from rl.parity import ParityChecker

from ..families import FAMILIES, write_family

pytestmark = pytest.mark.engine
DTYPES = ("float32", "bfloat16")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    names = list(FAMILIES)
    whole = metafunc.config.getoption("--thorough")
    cases = [
        (name, dtype)
        for index, name in enumerate(names)
        for number, dtype in enumerate(DTYPES)
        if whole or index % 2 == number
    ]
    if "family" in metafunc.fixturenames:
        metafunc.parametrize(("family", "dtype"), cases)


@pytest.fixture(scope="module")
def checker(ray_session: None) -> Iterator[ParityChecker]:
    with ParityChecker() as made:
        yield made


def test_a_family_is_exact(family: str, dtype: str, checker: ParityChecker, tmp_path: Path) -> None:
    report = checker.check(write_family(family, tmp_path), dtype)
    print(f"\n| {family} | {dtype} | {report.num_tokens:,} | {report.num_mismatched} |")
    assert report.num_tokens > 1000
    assert report.problems == ()
