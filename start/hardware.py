"""The hardware that a run would find, and how fast it is, roughly."""

from dataclasses import dataclass

from run.usage import usable_cores

CPU_MACS = 25e9
"""Multiplications a second of one core in a transformer's pass, seen on a Xeon at 2.1 GHz without AMX."""
GPU_MACS = 6e12
"""Of a GPU in bf16: a tenth of what an H100 does (docs/benchmarks.md), so that older cards are not overrated."""
STUDENT_IMAGES = 15
"""Images a second and core on which a student of 0.2 GMAC trains, decoding included, on an EPYC without AVX-512."""
GPU_STUDENT_IMAGES = 600


@dataclass(frozen=True)
class Hardware:
    """A machine, as far as the choice of models depends on it."""

    gpu: str | None
    """Its name; null where models run on the CPU."""
    cores: int

    @property
    def macs(self) -> float:
        """Multiplications a second in a teacher's pass."""
        return GPU_MACS if self.gpu else CPU_MACS * self.cores

    @property
    def student_images(self) -> float:
        """Images a second on which a small student trains."""
        return min(GPU_STUDENT_IMAGES, STUDENT_IMAGES * self.cores * (2 if self.gpu else 1))

    def __str__(self) -> str:
        cores = f"{self.cores} cores" if self.cores > 1 else "one core"
        return f"{self.gpu}, {cores}" if self.gpu else f"no GPU, {cores}"


def find_hardware() -> Hardware:
    """This machine; without torch installed, its CPU."""
    return Hardware(_gpu(), usable_cores())


def _gpu() -> str | None:
    try:
        import torch
    except ImportError:
        return None
    if torch.cuda.is_available():
        return str(torch.cuda.get_device_name(0))
    return "Apple GPU" if torch.backends.mps.is_available() else None
