"""The processes of ``run.ranks`` in Lightning's terms."""

import os

from lightning_fabric.plugins.environments.cluster_environment import ClusterEnvironment
from pytorch_lightning.strategies import DDPStrategy
from timm.layers import convert_sync_batchnorm
from torch import distributed, nn

from run.config import TrainerConfig
from run.ranks import local_rank, this_rank


class Processes(ClusterEnvironment):
    """Keeps Lightning from reading the environment by rules of its own, and from starting processes in mid-run."""

    @property
    def creates_processes_externally(self) -> bool:
        return True

    @property
    def main_address(self) -> str:
        return os.environ["MASTER_ADDR"]

    @property
    def main_port(self) -> int:
        return int(os.environ["MASTER_PORT"])

    @staticmethod
    def detect() -> bool:
        return False  # Lightning is handed this one and looks for no other

    def world_size(self) -> int:
        return this_rank().world

    def set_world_size(self, size: int) -> None:
        """No-op: the environment of the process says it."""

    def global_rank(self) -> int:
        return this_rank().number

    def set_global_rank(self, rank: int) -> None:
        """No-op: the environment of the process says it."""

    def local_rank(self) -> int:
        return local_rank()

    def node_rank(self) -> int:
        return 0  # nothing here depends on it


def data_parallel(trainer: TrainerConfig) -> DDPStrategy:
    """DDP that exchanges gradients only; ``share_buffers`` does the rest when it matters.

    Buffers exchanged in every forward pass would make processes wait for each other in validation, where one may have a
    batch more than another.
    """
    unused = trainer.strategy == "ddp_find_unused_parameters_true"
    return DDPStrategy(find_unused_parameters=unused, broadcast_buffers=False)


def synchronize_batch_norm(module: nn.Module) -> None:
    """Let batch norms inside ``module`` compute their statistics over all processes, on GPUs.

    Lightning's ``sync_batchnorm`` would drop the activation functions inside timm's batch norms.
    """
    for name, child in module.named_children():
        module.add_module(name, convert_sync_batchnorm(child))


def share_buffers(module: nn.Module) -> None:
    """Give process 0's buffers (running statistics of batch norms) to all."""
    if this_rank().world > 1:
        for buffer in module.buffers():
            distributed.broadcast(buffer, 0)
