import sys
from pathlib import Path

import pytest

from rl.contract.sources import ROOT, code_of, own_sources, source_digest

CODE = "def score(x):\n    return x + 1\n"


def digest(tmp_path: Path, text: str) -> str:
    path = tmp_path / "module.py"
    path.write_text(text)
    return source_digest(path)


@pytest.mark.parametrize(
    "edited",
    [
        '"""What it is."""\n' + CODE,
        'def score(x):\n    """One more."""\n    return x + 1\n',
        "def score( x ):  # one more\n\n    return (x+1)\n",
    ],
)
def test_docstrings_comments_and_layout_change_nothing(tmp_path: Path, edited: str) -> None:
    assert digest(tmp_path, edited) == digest(tmp_path, CODE)


@pytest.mark.parametrize("edited", [CODE.replace("+", "-"), CODE.replace("1", "1.0"), CODE + "LIMIT = 3\n"])
def test_what_is_computed_changes_it(tmp_path: Path, edited: str) -> None:
    assert digest(tmp_path, edited) != digest(tmp_path, CODE)


def test_a_package_stands_for_all_its_modules() -> None:
    names = set(own_sources(("kernels", "rl.batching")))
    assert {"kernels.linear", "kernels.attention", "rl.batching"} <= names
    assert all(name.startswith("kernels.") or name == "rl.batching" for name in names)


def test_ops_for_another_device_are_left_out() -> None:
    assert (ROOT / "kernels/triton/linear.py").is_file()
    assert not [name for name in own_sources(("kernels",)) if "triton" in name]


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder on the path with a reward function that leans on a module beside it."""
    (tmp_path / "digest_helper.py").write_text("import math\n\nLIMIT = 3\n")
    (tmp_path / "digest_rewards.py").write_text(
        "import json\nfrom digest_helper import LIMIT\n\n\ndef f(completions, **_):\n    import numpy as np\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path
    for name in ("digest_helper", "digest_rewards"):
        sys.modules.pop(name, None)


def test_code_is_followed_through_own_imports_and_stops_at_packages(own: Path) -> None:
    code = code_of("digest_rewards")
    assert set(code.sources) == {"digest_rewards", "digest_helper"}
    assert list(code.libraries) == ["numpy"]
    before = code.sources["digest_helper"]
    (own / "digest_helper.py").write_text("import math\n\nLIMIT = 4\n")
    assert code_of("digest_rewards").sources["digest_helper"] != before


def test_a_function_of_a_package_is_known_by_its_version() -> None:
    import numpy

    code = code_of("numpy.linalg")
    assert code.sources == {} and code.libraries == {"numpy": numpy.__version__}


def test_a_built_in_reward_names_its_library_though_it_is_imported_late() -> None:
    code = code_of("reward.reasoning_gym")
    assert "reward.reasoning_gym" in code.sources and "reasoning-gym" in code.libraries
