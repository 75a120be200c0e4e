import subprocess
from pathlib import Path

import pytest

from .commands import CONFIG, zerokl


@pytest.fixture(scope="session")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("work")


@pytest.fixture(scope="session")
def done(workplace: Path) -> subprocess.CompletedProcess[str]:
    """The tiny run, trained once for all tests that look at it."""
    return zerokl("train", CONFIG, "run.dir=run", cwd=workplace)
