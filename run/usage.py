"""What a run takes of its machine: how many cores it may use; time and memory in words."""

import functools
import math
import os
import sys
from pathlib import Path

_QUOTA = Path("/sys/fs/cgroup/cpu.max")
"""Of a Linux container: microseconds of processor time in each period, or ``max``, and the period."""


@functools.cache
def usable_cores() -> int:
    """Cores that this process may use: those it is bound to (taskset, SLURM), and no more than a container's limit.

    Asked once, early: with ``OMP_PROC_BIND``, OpenMP later binds the main thread to one core.
    """
    cores = _bound_cores()
    try:
        quota, period = (int(part) for part in _QUOTA.read_text(encoding="utf-8").split())
    except (OSError, ValueError):  # no container, or one without a limit
        return cores
    return max(1, min(cores, math.ceil(quota / period)))


def _bound_cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def thread_limit() -> int | None:
    """Threads that a container's limit lets run at a time, where the process is bound to more cores; else null."""
    return usable_cores() if usable_cores() < _bound_cores() else None


def limit_threads() -> None:
    """Let OpenMP, and with it torch, start no more threads than a container's limit has cores; before torch loads.

    OpenMP starts one for each core that the process is bound to. With more of them than its limit, a container spends
    its time early in each period, and stops all of them until the next.
    """
    if (limit := thread_limit()) is not None:
        os.environ.setdefault("OMP_NUM_THREADS", str(limit))


def duration(seconds: float) -> str:
    """A time as people say it.

    Example:
        >>> duration(3.21), duration(75), duration(7384)
        ('3.2 s', '1 min 15 s', '2 h 3 min')
    """
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def peak_memory() -> str:
    """The most memory that this process has held, and the most of a GPU's, if it has one; empty on Windows."""
    parts = []
    try:
        import resource
    except ImportError:  # Windows
        pass
    else:
        unit = 1 if sys.platform == "darwin" else 1024  # bytes there, KiB elsewhere
        parts.append(f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e9:.1f} GB")
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        parts.append(f"{torch.cuda.max_memory_allocated() / 1e9:.1f} GB on the GPU")
    return ", ".join(parts)
