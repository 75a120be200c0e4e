import ast
import importlib.metadata
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("kernels", "rollout", "reward", "rl")
"""Each may import itself and those before it."""
ALLOWED = {
    "vllm": ("rollout/engine.py", "rollout/vllm_worker.py", "rl/bench/"),
    "wandb": ("rl/tracking.py",),
    "deepspeed": ("rl/zero/", "rl/bench/"),
}
FILES = {
    str(path.relative_to(ROOT)): path.read_text("utf-8")
    for package in PACKAGES
    for path in sorted((ROOT / package).rglob("*.py"))
}


def imported(source):
    """Top-level names of all absolute imports, inside functions too."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            yield node.module.partition(".")[0]


def test_the_walk_sees_imports_wherever_they_stand():
    source = "import a.b, c\nfrom d.e import f\nfrom . import g\ndef h():\n  if x:\n    import i as j\n"
    assert sorted(imported(source)) == ["a", "c", "d", "i"]


def test_all_four_packages_are_looked_at():
    assert {path.partition("/")[0] for path in FILES} == set(PACKAGES)
    assert len(FILES) > 30


@pytest.mark.parametrize("package", PACKAGES)
def test_imports_run_one_way(package):
    later = set(PACKAGES[PACKAGES.index(package) + 1 :])
    sources = {path: source for path, source in FILES.items() if path.startswith(f"{package}/")}
    assert {path: bad for path, source in sources.items() if (bad := later & set(imported(source)))} == {}


@pytest.mark.parametrize("library", ALLOWED)
def test_only_the_named_files_import_the_library(library):
    users = [path for path, source in FILES.items() if library in set(imported(source))]
    assert [path for path in users if not path.startswith(ALLOWED[library])] == []
    assert users, f"nobody imports {library} any more: take it off this list"


def test_product_code_does_not_import_the_tests():
    assert [path for path, source in FILES.items() if {"tests", "pytest"} & set(imported(source))] == []


def test_importing_kernels_costs_nothing():
    code = "import sys, kernels; print(kernels.__file__, *({'torch', 'transformers', 'numpy'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.split() == [str(ROOT / "kernels" / "__init__.py")]


def test_the_distribution_called_kernels_is_not_installed():
    # transformers would take it for its kernel hub client, and ours for it.
    with pytest.raises(importlib.metadata.PackageNotFoundError):
        importlib.metadata.distribution("kernels")
