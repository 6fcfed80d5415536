"""Ranks: the processes of one command, one per device, and how they act as one.

torchrun, ``srun`` or ``fitting.launch`` start the same command many times, and every process goes through the same
stages. Process 0 does what touches files (``once``) while the others wait; all of them do a fit.
"""

import os
import socket
import sys
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeVar, cast

from run.config import TrainerConfig
from run.console import console, log, progress
from run.errors import UserError, plural

if TYPE_CHECKING:
    import torch

T = TypeVar("T")

PATIENCE_S = 1800.0
"""Longest wait for other processes while nothing new appears."""

POLL_S = 0.5
LOOPBACK = "127.0.0.1"


@dataclass
class _Others:
    """The connection of this process to the others."""

    group: Any = None
    """A process group without a short timeout, for ``once``; null before ``connect``."""
    store: Any = None
    """Torch's key-value store, which all processes see."""
    left_out: bool = False
    """Process 0 is inside ``once``."""


_others = _Others()


class EndedElsewhereError(Exception):
    """A peer process hit the error that ends the run, and reports it."""


@dataclass(frozen=True)
class Rank:
    """This process is number ``number`` of ``world``."""

    number: int = 0
    world: int = 1

    def __post_init__(self) -> None:
        if not 0 <= self.number < self.world:
            raise UserError(f"the environment says that this is process {self.number} of {self.world}, counted from 0")


def this_rank(environment: Mapping[str, str] = os.environ) -> Rank:
    """The rank that torchrun, ``srun`` or ``fitting.launch`` gave this process; alone and inside ``once`` it is 0 of 1.

    Inside a SLURM job only ``SLURM_STEP_NUM_TASKS`` counts, which ``srun`` sets for the tasks it starts: the batch
    script itself also sees the job's ``SLURM_NTASKS``, but is alone.

    Raises:
        UserError: the environment contradicts itself.
    """
    if _others.left_out:
        return Rank()
    tasks = "SLURM_STEP_NUM_TASKS" if "SLURM_JOB_ID" in environment else "SLURM_NTASKS"
    for number, world in (("RANK", "WORLD_SIZE"), ("SLURM_PROCID", tasks)):
        if number in environment and world in environment:
            try:
                return Rank(int(environment[number]), int(environment[world]))
            except ValueError as error:
                values = f"{number}={environment[number]} and {world}={environment[world]}"
                raise UserError(f"{values} in the environment do not name a process: {error}") from error
    return Rank()


def local_rank(environment: Mapping[str, str] = os.environ) -> int:
    """This process's number on its machine, and so the number of its GPU."""
    return int(environment.get("LOCAL_RANK", environment.get("SLURM_LOCALID", "0")))


def wait_until_empty(left: Callable[[], Collection[str]], what: str) -> None:
    """Wait until other processes have made everything that ``left`` names.

    Args:
        left: names what is not there yet; asked again and again.
        what: the noun for one of them, for the progress bar and the message.

    Raises:
        UserError: for ``PATIENCE_S`` seconds nothing new appeared.
    """
    missing = left()
    if not missing:
        return
    with progress(f"waiting for {what}s of other processes", len(missing)) as advance:
        newest = time.monotonic()
        while missing:
            time.sleep(POLL_S)
            now_missing = left()
            if len(now_missing) < len(missing):
                advance(len(missing) - len(now_missing))
                newest = time.monotonic()
            elif time.monotonic() - newest > PATIENCE_S:
                raise UserError(
                    f"waited {PATIENCE_S:,.0f} s for other processes to finish {plural(len(missing), what)}, for "
                    f"example {min(missing)}: see how they ended and start all of them again; what is made is kept"
                )
            missing = now_missing


def device_count(trainer: TrainerConfig) -> int:
    """The number of devices of one machine that the config asks for."""
    if isinstance(trainer.devices, list):
        return len(trainer.devices)
    if trainer.devices not in ("auto", -1):
        return int(trainer.devices)
    import torch

    on_gpus = trainer.accelerator in ("auto", "gpu", "cuda") and torch.cuda.is_available()
    return torch.cuda.device_count() if on_gpus else 1


def require_processes(trainer: TrainerConfig) -> None:
    """Check that one process was started for each device."""
    world = this_rank().world
    devices = device_count(trainer)
    expected = devices * trainer.num_nodes
    if world != expected:
        raise UserError(
            f"expected {plural(expected, 'process', 'processes')} (trainer.devices {devices} × trainer.num_nodes "
            f"{trainer.num_nodes}), found {world}; docs/machines.md shows how several machines are started"
        )


def connect(trainer: TrainerConfig) -> None:
    """Meet the other processes and silence all but process 0. Does nothing where this one is alone.

    Raises:
        UserError: there are more or fewer processes than devices, or the environment does not say where to meet.
    """
    rank = this_rank()
    if rank.world == 1:
        return
    require_processes(trainer)
    missing = [name for name in ("MASTER_ADDR", "MASTER_PORT") if name not in os.environ]
    if missing:
        raise UserError(f"set {' and '.join(missing)} in the environment of every process (docs/machines.md)")
    import torch
    from torch import distributed

    with_gpus = torch.cuda.is_available()
    if with_gpus:
        torch.cuda.set_device(local_rank() % torch.cuda.device_count())
    store = _meet(rank)
    backend = "cpu:gloo,cuda:nccl" if with_gpus else "gloo"
    distributed.init_process_group(backend, store=store, rank=rank.number, world_size=rank.world)
    _others.store = store
    # Process 0 may export for hours while the others wait in `once`: the default timeout would end them.
    _others.group = distributed.new_group(backend="gloo", timeout=timedelta(days=30))
    console.quiet = log.quiet = rank.number > 0


def _meet(rank: Rank) -> Any:
    """Torch's key-value store. On one machine nobody else can reach it: torch's own listens on every interface."""
    from torch.distributed import TCPStore  # type: ignore[attr-defined]
    from torch.distributed.rendezvous import rendezvous

    place = os.environ["MASTER_ADDR"]
    port = int(os.environ["MASTER_PORT"])
    if place not in (LOOPBACK, "localhost") or os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True":
        return next(rendezvous("env://", rank.number, rank.world))[0]
    # Without these, Gloo and NCCL listen on the interface that the machine's name leads to.
    for library in ("GLOO", "NCCL"):
        os.environ.setdefault(f"{library}_SOCKET_IFNAME", "lo" if sys.platform == "linux" else "lo0")
    if rank.number:
        return TCPStore(LOOPBACK, port, rank.world, is_master=False)
    listening = socket.create_server((LOOPBACK, port))
    return TCPStore(LOOPBACK, port, rank.world, is_master=True, master_listen_fd=listening.detach())


def disconnect() -> None:
    """Leave the group of processes; all of them have to call this."""
    if _others.group is not None:
        from torch import distributed

        distributed.destroy_process_group()
        _others.group = _others.store = None


def once(work: Callable[[], T]) -> T:
    """Let process 0 do something while the others wait; all get what it returns.

    Meanwhile ``this_rank`` says that process 0 is alone: what it calls must not wait for the others.
    """
    rank = this_rank()
    if rank.world == 1:
        return work()
    from torch import distributed

    assert _others.group is not None, "connect() first"
    answer: list[Any] = [None]
    if rank.number == 0:
        _others.left_out = True
        try:
            answer = [work()]
        finally:
            _others.left_out = False
    distributed.broadcast_object_list(answer, src=0, group=_others.group)
    return cast("T", answer[0])


def in_any_process(condition: bool, device: "torch.device") -> bool:
    """True where the condition holds in any of the processes, all of which have to call this.

    Args:
        device: what this process computes on; the answer travels the way gradients do.
    """
    if this_rank().world == 1:
        return condition
    import torch

    flag = torch.tensor(float(condition), device=device)
    torch.distributed.all_reduce(flag, torch.distributed.ReduceOp.MAX)
    return bool(flag)


def first_to_fail() -> bool:
    """True in the first process that calls this: of many that fail for one reason, one reports it."""
    if _others.store is None:
        return this_rank().number == 0
    try:
        return bool(_others.store.add("failures", 1) == 1)
    except RuntimeError:  # process 0 kept the store, and has ended
        return False
