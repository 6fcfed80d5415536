"""Start one process for each device of this machine, where no torchrun or srun has."""

import ctypes
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from run.config import TrainerConfig
from run.console import log
from run.hardware import require_hardware
from run.ranks import device_count, require_processes, this_rank

PROGRAM = Path(__file__).resolve().parents[1] / "pocketeva.py"

GRACE_S = 15.0
"""Time that processes get, after one has failed, to say why and to end by themselves."""

PR_SET_PDEATHSIG = 1
"""Linux: the signal that a process gets when the one that started it is gone (``prctl(2)``)."""

KILLED = 9
"""SIGKILL, a name that Windows lacks."""

Process = subprocess.Popen[bytes]


def processes_to_start(trainer: TrainerConfig) -> int:
    """The number of processes to start on this machine; 1 where torchrun or srun has started them.

    Raises:
        UserError: this machine lacks what the config asks for; or several machines take part, and nothing has started a
            process on each.
    """
    require_hardware(trainer)
    if this_rank().world > 1:
        return 1
    if trainer.num_nodes > 1:
        require_processes(trainer)
    return device_count(trainer)


def launch(arguments: Sequence[str], count: int) -> int:
    """Run ``pocketeva`` with these arguments in ``count`` processes that work as one.

    SIGINT and SIGTERM are handed on to each. On Linux they also end when this process is killed.

    Returns:
        The exit code of process 0, or if that is 0, of the first that failed.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]  # free a moment ago; nothing better can be asked for ahead of time
    shared = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    shared |= {"WORLD_SIZE": str(count), "LOCAL_WORLD_SIZE": str(count)}
    # By its file, and with -P: from the current folder, a user's own pocketeva.py or train.py would be taken for ours.
    command = [sys.executable, "-P", str(PROGRAM), *arguments]
    processes = [
        subprocess.Popen(
            command,
            env={**os.environ, **shared, "RANK": str(number), "LOCAL_RANK": str(number)},
            start_new_session=True,  # Ctrl-C reaches each once, through this process
            preexec_fn=ending_with_parent(),
        )
        for number in range(count)
    ]
    with _handing_on_signals(processes):
        _wait(processes)
    for number, process in enumerate(processes):
        if process.returncode == -KILLED:
            log.print(f"process {number} of {count} was killed; where memory is short, the system does that")
    return next((_exit_code(process) for process in processes if process.returncode), 0)


def ending_with_parent() -> Callable[[], object] | None:
    """A function for a new process to call first, so that it gets SIGTERM once this one is gone; null but on Linux."""
    if sys.platform != "linux":
        return None
    prctl = ctypes.CDLL(None).prctl  # looked up before the fork, after which little is safe
    return lambda: prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


def _wait(processes: Sequence[Process]) -> None:
    """Wait until all have ended; once one has failed, the others have ``GRACE_S`` left."""
    deadline = float("inf")
    while any(process.poll() is None for process in processes):
        if deadline == float("inf") and any(process.returncode for process in processes):
            deadline = time.monotonic() + GRACE_S
        if time.monotonic() > deadline:
            for process in processes:
                process.kill()
        time.sleep(0.05)


@contextmanager
def _handing_on_signals(processes: Sequence[Process]) -> Iterator[None]:
    def hand_on(number: int, _: Any) -> None:
        for process in processes:
            process.send_signal(number)  # no-op once it has ended

    # On Windows nothing can hand an interrupt on, and Ctrl-C reaches all processes of the console by itself.
    wanted = [signal.SIGTERM] if os.name == "nt" else [signal.SIGINT, signal.SIGTERM]
    before = {number: signal.signal(number, hand_on) for number in wanted}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _exit_code(process: Process) -> int:
    """The code as a shell gives it: 128 + the signal where one ended the process."""
    return process.returncode if process.returncode >= 0 else 128 - process.returncode
