from pathlib import Path

import pytest

from kernels.recurrent.registration import register
from rl.models import resolve_model


@pytest.fixture(scope="session")
def tiny_recurrent(tmp_path_factory: pytest.TempPathFactory) -> Path:
    register()
    return resolve_model("tiny:recurrent", tmp_path_factory.mktemp("recurrent"), seed=0)
