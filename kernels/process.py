"""The environment of a process that computes: its threads and its memory. None of it changes a bit."""

import os


def compute_environment(threads: int, num_processes: int, num_cores: int = 0) -> dict[str, str]:
    """Variables for one of `num_processes` processes that compute at the same time on one machine.

    threads: CPU threads of each; 0 divides the cores among them. num_cores: of the machine; 0 takes those of this one
    that this process may use.
    """
    num_cores = num_cores or len(os.sched_getaffinity(0))
    threads = threads or max(1, num_cores // num_processes)
    environment = {
        "OMP_NUM_THREADS": str(threads),
        # Freed memory is kept. By default glibc gives every large buffer back, and a forward pass spends a fifth of
        # its time on page faults.
        "MALLOC_MMAP_MAX_": "0",
        "MALLOC_TRIM_THRESHOLD_": str(64 * 2**30),
        "MALLOC_TOP_PAD_": str(256 * 2**20),
    }
    if num_processes * threads > num_cores:
        environment["OMP_WAIT_POLICY"] = "PASSIVE"  # pools that spin on shared cores cost a factor of 5 to 10
    return environment
