"""Processes that ``fitting.launch`` starts."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from fitting import launch

SUPERVISOR = """
import subprocess, sys, time
from fitting.launch import ending_with_parent
child = subprocess.Popen(["sleep", "600"], start_new_session=True, preexec_fn=ending_with_parent())
print(child.pid, flush=True)
time.sleep(600)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not tell")
def test_ending_with_parent__a_killed_supervisor_takes_its_processes_along() -> None:
    supervisor = subprocess.Popen([sys.executable, "-c", SUPERVISOR], stdout=subprocess.PIPE, text=True)
    assert supervisor.stdout is not None
    child = int(supervisor.stdout.readline())
    os.kill(child, 0)
    supervisor.kill()
    supervisor.wait()
    deadline = time.monotonic() + 120
    while not gone(child):
        assert time.monotonic() < deadline
        time.sleep(0.02)


def gone(process: int) -> bool:
    """Whether it has ended; nobody may have asked for its exit code."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"
    except FileNotFoundError:
        return True


def test_launch__tells_each_process_which_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    started = []

    class Ended:
        returncode = 0

        def __init__(self, command: list[str], *, env: dict[str, str], **_: object) -> None:
            started.append(env)

        def poll(self) -> int:
            return 0

    monkeypatch.setattr(subprocess, "Popen", Ended)
    assert launch.launch(["train", "config.yaml"], 3) == 0
    names = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE")
    assert [[env[name] for name in names] for env in started] == [[str(n), str(n), "3", "3"] for n in range(3)]
    assert len({env["MASTER_PORT"] for env in started}) == 1
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
