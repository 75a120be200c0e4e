import pytest

from reward.prm.steps import StepCutter, StepRule
from rl.tiny_model import tiny_tokenizer


@pytest.fixture(scope="session")
def cutter() -> StepCutter:
    """Cuts characters at line breaks."""
    return StepCutter(tiny_tokenizer(), StepRule())
