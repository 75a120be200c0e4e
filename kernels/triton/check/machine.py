"""What machine this is."""

import platform
import subprocess
from dataclasses import dataclass

import torch
import triton


@dataclass(frozen=True)
class Machine:
    """The device and the software on it."""

    device: str
    capability: str
    memory_gib: float
    multiprocessors: int
    driver: str
    cuda: str
    torch: str
    triton: str
    python: str


def this_machine() -> Machine:
    """That of the current CUDA device. Raises what torch raises where there is none."""
    device = torch.cuda.get_device_properties(torch.cuda.current_device())
    return Machine(
        device.name,
        f"{device.major}.{device.minor}",
        round(device.total_memory / 2**30, 1),
        device.multi_processor_count,
        _driver(),
        str(torch.version.cuda),
        torch.__version__,
        triton.__version__,
        platform.python_version(),
    )


def _driver() -> str:
    """The driver's version as nvidia-smi tells it."""
    command = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        told = subprocess.run(command, capture_output=True, text=True, timeout=30, check=True).stdout.split()
    except (OSError, subprocess.SubprocessError):
        return "unknown"
    return told[0] if told else "unknown"
