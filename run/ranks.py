"""Several processes for one command, one per device: which of them this one is, and how they act as one.

torchrun, ``srun`` or ``fitting.launch`` start the same command many times, and every process goes through the same
stages. Process 0 does what touches files (``once``) while the others wait; all of them do a fit. Torch is imported only
where there are several processes, because ``predict`` and ``verify`` do without it.
"""

import os
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeVar, cast

from run.config import TrainerConfig
from run.console import console, log, progress
from run.errors import UserError

if TYPE_CHECKING:
    import torch

T = TypeVar("T")

PATIENCE_S = 1800.0
"""How long a process waits for others while nothing new appears."""

POLL_S = 0.5


@dataclass
class _Others:
    """What ties this process to the others."""

    group: Any = None
    """A process group for waiting, however long; null before ``connect``."""
    store: Any = None
    """Keys and values that all processes see."""
    left_out: bool = False
    """Process 0 is doing something by itself."""


_others = _Others()


class EndedElsewhereError(Exception):
    """Another process has found what ends the run, and says so."""


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
    """This process's number on its machine, which says which of its GPUs is meant."""
    return int(environment.get("LOCAL_RANK", environment.get("SLURM_LOCALID", "0")))


def wait_until_empty(left: Callable[[], Collection[str]], what: str) -> None:
    """Poll ``left`` until it gives nothing; what it names is on its way from other processes.

    Args:
        left: names what is not there yet.
        what: for the progress bar and the message.

    Raises:
        UserError: for ``PATIENCE_S`` seconds nothing new appeared.
    """
    missing = left()
    if not missing:
        return
    with progress(f"waiting for {what} of other processes", len(missing)) as advance:
        newest = time.monotonic()
        while missing:
            time.sleep(POLL_S)
            now_missing = left()
            if len(now_missing) < len(missing):
                advance(len(missing) - len(now_missing))
                newest = time.monotonic()
            elif time.monotonic() - newest > PATIENCE_S:
                raise UserError(
                    f"no other process has finished any of {len(missing)} {what} for {PATIENCE_S:,.0f} s, for example "
                    f"{min(missing)}: see how the others ended and start all of them again; what is made is kept"
                )
            missing = now_missing


def device_count(trainer: TrainerConfig) -> int:
    """How many devices of one machine the config asks for."""
    if isinstance(trainer.devices, list):
        return len(trainer.devices)
    if trainer.devices not in ("auto", -1):
        return int(trainer.devices)
    import torch

    on_gpus = trainer.accelerator in ("auto", "gpu", "cuda") and torch.cuda.is_available()
    return torch.cuda.device_count() if on_gpus else 1


def require_processes(trainer: TrainerConfig) -> None:
    """There has to be one process for each device.

    Raises:
        UserError: there are more or fewer.
    """
    world, devices = this_rank().world, device_count(trainer)
    if world != devices * trainer.num_nodes:
        raise UserError(
            f"trainer.devices × trainer.num_nodes is {devices} × {trainer.num_nodes}, and processes were started: "
            f"{world}. There has to be one for each device; docs/machines.md shows how several machines are started"
        )


def connect(trainer: TrainerConfig) -> None:
    """Meet the other processes; all but process 0 fall silent. Does nothing where there are none.

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
    from torch.distributed.rendezvous import rendezvous

    with_gpus = torch.cuda.is_available()
    if with_gpus:
        torch.cuda.set_device(local_rank() % torch.cuda.device_count())
    store, *_ = next(rendezvous("env://", rank.number, rank.world))
    backend = "cpu:gloo,cuda:nccl" if with_gpus else "gloo"
    distributed.init_process_group(backend, store=store, rank=rank.number, world_size=rank.world)
    _others.store = store
    _others.group = distributed.new_group(backend="gloo", timeout=timedelta(days=30))
    console.quiet = log.quiet = rank.number > 0


def disconnect() -> None:
    """Part from the other processes; all of them have to call this."""
    if _others.group is not None:
        from torch import distributed

        distributed.destroy_process_group()
        _others.group = _others.store = None


def once(work: Callable[[], T]) -> T:
    """Let process 0 do something while the others wait; all get what it returns.

    Meanwhile ``this_rank`` says that process 0 is alone.
    """
    rank = this_rank()
    if rank.world == 1:
        return work()
    from torch import distributed

    assert _others.group is not None, "connect() first"
    answer: list[Any] = [None]
    if rank.number == 0:
        with _by_itself():
            answer = [work()]
    distributed.broadcast_object_list(answer, src=0, group=_others.group)
    return cast("T", answer[0])


@contextmanager
def _by_itself() -> Iterator[None]:
    _others.left_out = True
    try:
        yield
    finally:
        _others.left_out = False


def in_any_process(condition: bool, device: "torch.device") -> bool:
    """Whether the condition holds in any of the processes, which all have to ask.

    Args:
        condition: in this one.
        device: what this process computes on; the answer travels the way gradients do.
    """
    if this_rank().world == 1:
        return condition
    import torch

    flag = torch.tensor(float(condition), device=device)
    torch.distributed.all_reduce(flag, torch.distributed.ReduceOp.MAX)
    return bool(flag)


def first_to_fail() -> bool:
    """Whether no other process has called this: of many that fail for one reason, one speaks."""
    if _others.store is None:
        return this_rank().number == 0
    try:
        return bool(_others.store.add("failures", 1) == 1)
    except RuntimeError:  # process 0 kept the store, and has ended
        return False
