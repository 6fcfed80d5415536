"""The same command as two processes that work as one, with the environment that torchrun would give them."""

import os
import signal
import socket
import sys
import time
from collections.abc import Callable
from multiprocessing import get_context
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any

CONTEXT = get_context("forkserver")  # imports what takes long once, for all
CONTEXT.set_forkserver_preload(["tests.fitting.toy", "pocketeva", "train.train", "distill.distill", "export.export"])


class Two:
    """``command(*arguments)`` in two processes; what it returns is the exit code.

    Args:
        folder: where they work.
        command: importable.
        arguments: of the command.
    """

    def __init__(self, folder: Path, command: Callable[..., int], *arguments: Any) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        folder.mkdir(parents=True, exist_ok=True)
        self._said = [folder.parent / f"{folder.name}-{number}.txt" for number in range(2)]
        self.processes: list[ForkServerProcess] = []
        for number, said in enumerate(self._said):
            self.processes.append(CONTEXT.Process(target=_one, args=(number, port, folder, said, command, arguments)))
            self.processes[-1].start()

    def ended(self, within: float = 120) -> tuple[list[int | None], list[str]]:
        """Exit codes, and what each wrote to standard error."""
        deadline = time.monotonic() + within
        for process in self.processes:
            process.join(max(0.0, deadline - time.monotonic()))
        codes = [process.exitcode for process in self.processes]
        for process in self.processes:
            process.kill()
        return codes, [path.read_text(encoding="utf-8") for path in self._said]

    def interrupted(self, after: Path) -> "Two":
        """Ctrl-C for each, once a file is there."""
        wait_for(after, lambda: all(process.is_alive() for process in self.processes))
        for process in self.processes:
            assert process.pid is not None
            os.kill(process.pid, signal.SIGINT)
        return self


def wait_for(path: Path, alive: Callable[[], bool]) -> None:
    """Until a file is there, while somebody is alive."""
    deadline = time.monotonic() + 120
    while not path.exists():
        assert alive()
        assert time.monotonic() < deadline
        time.sleep(0.02)


def _one(
    number: int, port: int, folder: Path, said: Path, command: Callable[..., int], arguments: tuple[Any, ...]
) -> None:
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": "2"}
    os.environ |= {"RANK": str(number), "LOCAL_RANK": str(number)}
    os.chdir(folder)
    os.dup2(os.open(said, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), 2)
    sys.exit(command(*arguments))
