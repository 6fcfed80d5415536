"""Bounds on what a model file of a stranger may take while it is opened and run."""

from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path
from threading import Thread
from typing import TypeVar

import onnxruntime as ort

try:
    import resource
except ImportError:  # Windows
    resource = None  # type: ignore[assignment]

from run.errors import UserError, plural, quoted

T = TypeVar("T")

MOST_SECONDS = 300
"""Of one inference: the largest EVA-02 takes a tenth of it on one slow core."""
_SPARE = 3 * 2**30
_TIMES = 6
"""Bytes of memory beyond ``_SPARE`` for each byte of a file: weights are read, laid out anew and packed for the CPU."""


@contextmanager
def bounded_memory(path: Path, *more: Path, images: int = 1) -> Iterator[None]:
    """Refuse this process more memory, while the block runs, than sound models in files of this size take.

    On Linux only: other systems do not heed the limit. Whoever asks for more gets an error, which is then said.

    Args:
        path: a file that is opened; the error names it.
        more: files that are open at the same time.
        images: run at the same time.
    """
    status = Path("/proc/self/status")
    lines = status.read_text(encoding="utf-8").splitlines() if status.is_file() else []
    taken = next((1024 * int(line.split()[1]) for line in lines if line.startswith("VmData:")), None)
    sizes = (each.stat().st_size for each in (path, *more) if each.is_file())
    allowed = images * _SPARE + _TIMES * sum(sizes)
    if taken is None or resource is None:
        yield
        return
    before = resource.getrlimit(resource.RLIMIT_DATA)
    if before[0] == resource.RLIM_INFINITY or before[0] > taken + allowed:
        resource.setrlimit(resource.RLIMIT_DATA, (taken + allowed, before[1]))
    try:
        yield
    except MemoryError as error:
        most = f"{allowed / 2**30:.0f} GiB of memory"
        raise UserError(f"{quoted(path)} asks for more than {most}: it is not run") from error
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, before)


def within_time(run: Callable[[ort.RunOptions], T], seconds: float | None, what: str = "one image") -> T:
    """Open or run a session in another thread, and wait for it no longer than this.

    ONNX Runtime is told to end a run that takes too long, and heeds it between two nodes. A single node that never ends
    cannot be ended at all: its thread is left behind, and ends with this process.

    Args:
        run: what to do; options by which ONNX Runtime can be told to end a run.
        seconds: most that it may take; null leaves it be, and costs no thread.
        what: takes them, for the message.
    """
    options = ort.RunOptions()
    if seconds is None:
        return run(options)
    found: Future[T] = Future()

    def work() -> None:
        try:
            found.set_result(run(options))
        except BaseException as error:  # noqa: BLE001 - raised again where it is waited for
            found.set_exception(error)

    # A daemon: an executor's thread would be waited for when the process ends.
    Thread(target=work, daemon=True).start()
    try:
        return found.result(seconds)
    except TimeoutError:
        if found.done():
            raise
        raise UserError(f"{what} took more than {plural(round(seconds), 'second')}: it is not run") from None
    finally:
        options.terminate = True
