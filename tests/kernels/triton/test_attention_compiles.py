"""What the interpreter cannot show and a compiler can: the kernels are valid for a GPU, and what they are made of."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
SHARED_BYTES = 99 * 1024
"""What a block may have on the smallest of the recent cards."""
NAMES = ["cache", "key gradients", "merge", "partials", "partials fp32", "query gradients", "sum of uses"]


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "TRITON_CACHE_DIR": str(tmp_path_factory.mktemp("cache"))}
    environment.pop("TRITON_INTERPRET", None)
    script = Path(__file__).with_name("compile_attention.py")
    done = subprocess.run([sys.executable, script, "90"], cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def found(report, name, pattern):
    return [instruction for instruction in report[name]["instructions"] if re.match(pattern, instruction)]


def test_every_kernel_compiles_for_a_gpu_and_fits_it(report):
    assert sorted(report) == NAMES
    assert all(entry["shared_bytes"] <= SHARED_BYTES for entry in report.values())


def test_nothing_is_added_atomically_and_no_tf32_is_used(report):
    for name in NAMES:
        assert found(report, name, r"ld\.|st\.|cp\.")  # the walk over the instructions sees some
        assert found(report, name, r"atom|red\.|.*tf32") == []


def test_bf16_products_are_tensor_core_ones_and_fp32_products_fused_multiply_adds(report):
    for name in ("partials", "query gradients", "key gradients"):
        assert found(report, name, r"w?g?mma\..*f32\.bf16\.bf16")
    assert found(report, "partials fp32", r"w?g?mma\.") == []
    assert found(report, "partials fp32", r"fma\.rn\.f32")


def test_outside_of_products_no_product_and_sum_are_contracted(report):
    # `merge` takes a logarithm, which is made of fused multiply-adds.
    for name in ("partials", "query gradients", "key gradients", "sum of uses"):
        assert found(report, name, r"fma\.") == []
