"""Sizes as a person reads them."""

MIB, GIB = 2**20, 2**30


def gib(num_bytes: float) -> str:
    """A size in MiB, and from one on in GiB: `17 MiB`, `3.4 GiB`."""
    return f"{num_bytes / GIB:.1f} GiB" if num_bytes >= GIB else f"{num_bytes / MIB:.0f} MiB"
