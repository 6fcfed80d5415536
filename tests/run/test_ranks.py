import os
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch

import run.ranks
from fitting.launch import launch, processes_to_start
from fitting.processes import synchronize_batch_norm
from run.config import TrainerConfig
from run.errors import UserError
from run.ranks import Rank, connect, device_count, local_rank, require_processes, this_rank, wait_until_empty
from tests.support import REPOSITORY, tiny, uint8_batch


@pytest.mark.parametrize(
    ("environment", "rank"),
    [
        ({}, Rank(0, 1)),
        ({"RANK": "3", "WORLD_SIZE": "8", "LOCAL_RANK": "1"}, Rank(3, 8)),
        ({"SLURM_PROCID": "2", "SLURM_NTASKS": "4"}, Rank(2, 4)),
        ({"SLURM_JOB_ID": "7", "SLURM_PROCID": "2", "SLURM_NTASKS": "8", "SLURM_STEP_NUM_TASKS": "4"}, Rank(2, 4)),
        ({"SLURM_JOB_ID": "7", "SLURM_PROCID": "0", "SLURM_NTASKS": "8"}, Rank(0, 1)),
        ({"RANK": "1", "WORLD_SIZE": "2", "SLURM_PROCID": "0", "SLURM_NTASKS": "1"}, Rank(1, 2)),
        ({"RANK": "1"}, Rank(0, 1)),
    ],
)
def test_this_rank__of_the_environment(environment: dict[str, str], rank: Rank) -> None:
    assert this_rank(environment) == rank


@pytest.mark.parametrize(("number", "world"), [("2", "2"), ("-1", "2"), ("one", "2"), ("0", "")])
def test_this_rank__an_environment_that_makes_no_sense_is_refused(number: str, world: str) -> None:
    with pytest.raises(UserError, match="environment"):
        this_rank({"RANK": number, "WORLD_SIZE": world})


def test_local_rank__of_torchrun_or_slurm() -> None:
    assert local_rank({}) == 0
    assert local_rank({"LOCAL_RANK": "3", "SLURM_LOCALID": "1"}) == 3
    assert local_rank({"SLURM_LOCALID": "1"}) == 1


def test_wait_until_empty__is_patient_while_something_appears(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0

    def sleep(_: float) -> None:
        nonlocal now
        now += 6

    monkeypatch.setattr(time, "sleep", sleep)
    monkeypatch.setattr(time, "monotonic", lambda: now)
    monkeypatch.setattr(run.ranks, "PATIENCE_S", 10.0)
    left = iter([["c", "b", "a"], ["c", "b", "a"], ["c", "b"], ["c", "b"], ["c"], ["c"], []])
    wait_until_empty(lambda: next(left), "shard")
    assert now == 36
    with pytest.raises(UserError, match=r"waited 10 s for other processes to finish 1 shard, for example x:"):
        wait_until_empty(lambda: ["x"], "shard")
    assert now == 48


@pytest.mark.parametrize(("devices", "count"), [(3, 3), ([4, 5], 2), ("auto", 1), (-1, 1)])
def test_device_count__on_a_cpu(devices: Any, count: int) -> None:
    assert device_count(TrainerConfig(accelerator="cpu", devices=devices)) == count


def test_require_processes__one_for_each_device(monkeypatch: pytest.MonkeyPatch) -> None:
    trainer = TrainerConfig(accelerator="cpu", devices=2, num_nodes=3)
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "6")
    require_processes(trainer)
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(
        UserError, match=r"expected 6 processes \(trainer\.devices 2 × trainer\.num_nodes 3\), found 2;"
    ):
        require_processes(trainer)


def test_connect__without_a_place_to_meet(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("RANK", "1"), ("WORLD_SIZE", "2"), ("MASTER_ADDR", "127.0.0.1")):
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("MASTER_PORT", raising=False)
    with pytest.raises(UserError, match="set MASTER_PORT in the environment"):
        connect(TrainerConfig(accelerator="cpu", devices=2))


LISTENING = """
import os, sys
from pathlib import Path
from run.config import TrainerConfig
from run.ranks import connect, disconnect, once
connect(TrainerConfig(accelerator="cpu", devices=2))
own = {os.readlink(path) for path in Path("/proc/self/fd").iterdir() if path.is_socket()}
tables = [Path(f"/proc/self/net/{name}").read_text().splitlines()[1:] for name in ("tcp", "tcp6")]
rows = [line.split() for table in tables for line in table]
print(*[row[1].split(":")[0] for row in rows if row[3] == "0A" and f"socket:[{row[9]}]" in own])
once(lambda: None)
disconnect()
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_connect__processes_of_one_machine_listen_for_nobody_else() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    shared = {**os.environ, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "WORLD_SIZE": "2"}
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", LISTENING],
            env={**shared, "RANK": str(number)},
            cwd=REPOSITORY,
            stdout=subprocess.PIPE,
            text=True,
        )
        for number in range(2)
    ]
    places = [place for process in processes for place in process.communicate(timeout=300)[0].split()]
    assert [process.returncode for process in processes] == [0, 0]
    assert set(places) == {"0100007F"}, "127.0.0.1 as the kernel writes it"


def test_processes_to_start__several_machines_need_a_launcher() -> None:
    assert processes_to_start(TrainerConfig(accelerator="cpu", devices=4)) == 4
    with pytest.raises(UserError, match=r"expected 8 processes .*, found 1"):
        processes_to_start(TrainerConfig(accelerator="cpu", devices=4, num_nodes=2))


@pytest.mark.slow
def test_launch__what_is_wrong_is_said_once(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert launch(["train", str(tmp_path / "none.yaml")], 2) == 2
    assert capfd.readouterr().err.count("none.yaml") == 1


def test_synchronize_batch_norm__keeps_what_timm_puts_inside() -> None:
    classifier = tiny("test_efficientnet", size=64)
    before = classifier.normalize(uint8_batch(2, 64))
    expected = classifier.model(before)
    parameters = list(classifier.model.parameters())
    synchronize_batch_norm(classifier.model)
    assert any(isinstance(module, torch.nn.SyncBatchNorm) for module in classifier.model.modules())
    assert all(a is b for a, b in zip(parameters, classifier.model.parameters(), strict=True)), "the optimizer's"
    torch.testing.assert_close(classifier.model.eval()(before), expected)
