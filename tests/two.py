"""Processes that begin with everything imported, and the same command as two of them that work as one."""

import os
import signal
import socket
import sys
import time
from collections.abc import Callable
from multiprocessing import get_context
from pathlib import Path
from typing import Any

CONTEXT = get_context("forkserver")  # imports what takes long once, for all
CONTEXT.set_forkserver_preload(
    [
        *("tests.one_thread", "tests.quick_export", "tests.fitting.toy"),
        *("pocketeva", "train.train", "distill.distill", "export.export"),
    ]
)


class Started:
    """``command(*arguments)`` in a process of its own; what it returns is the exit code.

    Args:
        folder: where it works; what it writes to standard output and error is kept beside it.
        name: of this process among those of the folder.
        command: importable.
        arguments: of the command.
        environment: more of it.
    """

    def __init__(
        self, folder: Path, name: str, command: Callable[..., int], *arguments: Any, **environment: str
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._written = [folder.parent / f"{folder.name}-{name}.{stream}" for stream in ("out", "err")]
        self._process = CONTEXT.Process(target=_run, args=(environment, folder, self._written, command, arguments))
        self._process.start()

    def alive(self) -> bool:
        """It has not ended."""
        return self._process.is_alive()

    def send(self, number: signal.Signals) -> None:
        """Send a signal."""
        assert self._process.pid is not None
        os.kill(self._process.pid, number)

    def ended(self, within: float = 300) -> tuple[int | None, str, str]:
        """Exit code, standard output and standard error; killed if it takes longer than so many seconds."""
        self._process.join(within)
        code = self._process.exitcode
        self._process.kill()
        out, err = (path.read_text(encoding="utf-8") for path in self._written)
        return code, out, err


class Two:
    """``command(*arguments)`` in two processes, with the environment that torchrun would give them.

    Args:
        folder: where they work.
        command: importable.
        arguments: of the command.
    """

    def __init__(self, folder: Path, command: Callable[..., int], *arguments: Any) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        shared = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": "2"}
        self.processes = [
            Started(folder, number, command, *arguments, **shared, RANK=number, LOCAL_RANK=number) for number in "01"
        ]

    def ended(self) -> tuple[list[int | None], list[str]]:
        """Exit codes, and what each wrote to standard error."""
        codes, _, said = zip(*(process.ended() for process in self.processes), strict=True)
        return list(codes), list(said)

    def interrupted(self, after: Path) -> "Two":
        """Ctrl-C for each, once a file is there."""
        wait_for(after, lambda: all(process.alive() for process in self.processes))
        for process in self.processes:
            process.send(signal.SIGINT)
        return self


def wait_for(path: Path, alive: Callable[[], bool]) -> None:
    """Until a file is there, while somebody is alive."""
    deadline = time.monotonic() + 300
    while not path.exists():
        assert alive()
        assert time.monotonic() < deadline
        time.sleep(0.02)


def _run(
    environment: dict[str, str],
    folder: Path,
    written: list[Path],
    command: Callable[..., int],
    arguments: tuple[Any, ...],
) -> None:
    os.environ |= environment
    os.chdir(folder)
    for number, path in enumerate(written, 1):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
    sys.exit(command(*arguments))
