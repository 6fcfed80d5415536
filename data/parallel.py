"""Something done to many images at once, in processes that end with this one."""

import os
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import AbstractContextManager, contextmanager
from multiprocessing import get_context, parent_process
from multiprocessing.connection import wait
from typing import Any

from run.errors import UserError
from run.usage import usable_cores

WORTH_PROCESSES = 256
"""Fewer images than this are left to threads: processes take longer to start."""
MOST_PROCESSES = 61
"""Windows can wait for no more at a time; reading images keeps no more busy anywhere."""


OrderedMap = Callable[..., Iterator[Any]]
"""A ``map`` that keeps the order."""


def in_parallel(images: int, doing: str, chunk: int = 32) -> AbstractContextManager[OrderedMap]:
    """A ``map`` that keeps the order, over processes if there are enough images for that.

    Args:
        chunk: images handed to a process at a time; an interrupt waits for them.

    Raises:
        UserError: a process was ended from outside.
    """
    workers = min(usable_cores(), MOST_PROCESSES)
    processes = images >= WORTH_PROCESSES and workers > 1
    pool = ProcessPoolExecutor(workers, initializer=_begin_worker) if processes else ThreadPoolExecutor(workers)
    return _mapping(pool, doing, chunk)


def in_processes(count: int, doing: str, begin: Callable[[], object]) -> AbstractContextManager[OrderedMap]:
    """As ``in_parallel``, over processes that know nothing of this one's memory, and begin with ``begin()``."""
    # Forked ones would inherit the locks of threads that a runtime has started here, and no one to open them.
    return _mapping(ProcessPoolExecutor(count, get_context("spawn"), _begin_worker, (begin,)), doing, chunk=8)


@contextmanager
def _mapping(pool: Executor, doing: str, chunk: int) -> Iterator[OrderedMap]:
    try:
        yield lambda function, items: pool.map(function, items, chunksize=chunk)
    except BrokenProcessPool as error:
        raise UserError(
            f"a process that was {doing} was ended from outside, most often because memory ran out; "
            "run the same command again to go on, with fewer other programs"
        ) from error
    finally:
        pool.shutdown(cancel_futures=True)


def _begin_worker(begin: Callable[[], object] | None = None) -> None:
    """Leave interrupts to the parent, end when it has ended, which a killed one cannot say, and call ``begin``."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    if begin is not None:
        begin()


def _end_with_parent() -> None:
    parent = parent_process()
    assert parent is not None, "this runs in a worker process"
    wait([parent.sentinel])
    os._exit(1)
