"""The number of images that go through a frozen model at a time.

Outputs depend on it in last digits only, so it is chosen for speed and memory. Both choices depend on the model, its
precision and the device, never on the clock, so that they come out the same again.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn.modules.module import register_module_forward_hook

MOST = 128
"""Images at a time. Worker processes hold two batches each ready; a GPU has enough to do with fewer."""
SIZES = [MOST >> power for power in range(MOST.bit_length())]
"""``MOST``, and halved again and again."""

REUSED_BYTES = 32 * 2**20
"""glibc asks the system for larger pieces of memory anew each time, and the system fills each with zeros."""


def largest_that_reuses_memory(run: Callable[[Tensor], object], size: int, device: torch.device) -> int:
    """For a CPU, the largest power of two whose intermediate results are all at most ``REUSED_BYTES``.

    A CPU does a few images as fast as many. With EVA-02 base at 448 px in bf16, 4 images took 0.55 s of two cores' time
    each, and 16 took 0.45 s more, which the system spent on zeroing memory. ``run`` takes uint8 images [B, 3, S, S].
    """
    largest = 1

    def note(_module: object, _inputs: object, output: Any) -> None:
        nonlocal largest
        if isinstance(output, Tensor):
            largest = max(largest, output.nbytes)

    hook = register_module_forward_hook(note)
    try:
        run(_images(1, size, device))
    finally:
        # The hook is global: left in place, it would note every module of the process.
        hook.remove()
    return next((batch for batch in SIZES if batch * largest <= REUSED_BYTES), 1)


def largest_that_fits(run: Callable[[Tensor], object], size: int, device: torch.device) -> int:
    """For a GPU, the largest power of two up to ``MOST`` that its memory holds; 1 where that is not known to fit."""
    for batch in SIZES:
        # From the largest down: the first one that fits is the answer.
        try:
            run(_images(batch, size, device))
        except torch.OutOfMemoryError:
            pass
        else:
            return batch
        # Out of the except block, where the error still holds the tensors of the failed pass.
        torch.cuda.empty_cache()
    return 1


def _images(count: int, size: int, device: torch.device) -> Tensor:
    return torch.zeros(count, 3, size, size, dtype=torch.uint8, device=device)
