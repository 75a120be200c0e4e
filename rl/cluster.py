"""Ray: joins the cluster that is there, or starts one and leaves nothing of it behind."""

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager

import ray

QUIET = {"log_to_driver": False, "logging_level": logging.ERROR}


@contextmanager
def ray_cluster() -> Iterator[None]:
    """A connection to Ray. A cluster that was running stays up; one started here is shut down."""
    if ray.is_initialized():
        yield
        return
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    try:
        ray.init(address="auto", **QUIET)
    except ConnectionError:
        ray.init(address="local", include_dashboard=False, num_cpus=max(4, os.cpu_count() or 1), **QUIET)
    try:
        yield
    finally:
        ray.shutdown()
