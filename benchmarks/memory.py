"""Peak memory of training the teacher, computed without a GPU.

``python -m benchmarks.memory [--model eva02_base_patch14_448 --size 448] [--batches 1 8 16 32]``

Each setting's training step is gone through with tensors that have shapes and no numbers (torch's ``FakeTensorMode``),
while what a device would hold is added up: weights, gradients, AdamW's two moments, activations in bf16, what the
backward pass needs. Not counted: an averaged copy of the weights (``ema_decay``, 0.32 GiB for EVA-02 base), CUDA's own
context, the allocator's rounding, and the workspace of kernels.

* ``full``, ``lora``, ``last_blocks``: a step over so many images at a time (``trainer.micro_batch``).
* ``head``: the frozen backbone's pass; the last layer's own step is over features and takes next to nothing.
"""

import argparse
import weakref
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn import functional
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map_only

from benchmarks import common, material
from benchmarks.steps import teacher_in
from models.classifier import Classifier
from models.facts import Mode
from train.module import TeacherModule

GIB = 2**30
MODES: tuple[Mode, ...] = ("full", "lora", "last_blocks", "head")


def options() -> argparse.Namespace:
    """Parse the command line."""
    parser = common.parser_of(__doc__, "model", "size")
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 8, 16, 32], help="images at a time")
    parser.add_argument("--modes", nargs="+", default=list(MODES), choices=MODES)
    return parser.parse_args()


def main() -> None:
    """Compute every setting and print one JSON object."""
    given = options()
    peaks: dict[str, dict[int, float]] = {}
    for mode in given.modes:
        peaks |= peaks_of(mode, given)
    common.report(
        "memory",
        ratio=None,
        against="nothing: peaks by mode and images at a time",
        machine=f"none: computed by torch {torch.__version__}",
        model=f"{given.model} at {given.size}, bf16",
        peak_gib=peaks,
    )


def peaks_of(mode: Mode, given: argparse.Namespace) -> dict[str, dict[int, float]]:
    """GiB by setting and images at a time."""
    classifier = material.untrained(given.model, given.size)
    # Made with numbers, which shapes follow from, and turned into shapes afterwards.
    module = None if mode == "head" else teacher_in(mode, classifier, checkpointing=False).train()
    fake = FakeTensorMode()
    _without_numbers(module or classifier.model.eval(), fake)
    found: dict[str, dict[int, float]] = {}
    for checkpointing in (False,) if module is None else (False, True):
        if module is not None:
            module.checkpoint_activations(checkpointing)
        name = f"{mode}, checkpointing" if checkpointing else mode
        found[name] = {}
        for batch_size in given.batches:
            with fake:
                images = torch.zeros(batch_size, 3, given.size, given.size, dtype=torch.uint8)
                peak = _pass_peak(classifier, images) if module is None else _step_peak(classifier, module, images)
            found[name][batch_size] = peak
            common.say(f"{name}, {batch_size} images: {peak} GiB")
    return found


def _pass_peak(classifier: Classifier, images: Tensor) -> float:
    def features() -> None:
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
            classifier.features(classifier.normalize(images))

    return _peak(classifier.model, features)


def _step_peak(classifier: Classifier, module: TeacherModule, images: Tensor) -> float:
    # Not the module's own groups: they hold the weights with numbers.
    optimizer = torch.optim.AdamW(weight for weight in module.parameters() if weight.requires_grad)
    targets = torch.zeros(len(images), dtype=torch.long)

    def step() -> None:
        with torch.autocast("cpu", torch.bfloat16):
            logits = classifier.model(classifier.normalize(images)).float()
            loss = functional.cross_entropy(logits, targets)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        optimizer.zero_grad()

    return _peak(module, step)


def _without_numbers(model: nn.Module, fake: FakeTensorMode) -> None:
    for module in model.modules():
        if isinstance(module, nn.LayerNorm):
            # As autocast does on a GPU and does not on a CPU: what it is given is kept in float32.
            module.register_forward_pre_hook(lambda _, given: (given[0].float(),))
        for tensors in (module._parameters, module._buffers):
            for name, tensor in tensors.items():
                tensors[name] = None if tensor is None else fake.from_tensor(tensor)  # type: ignore[assignment]


class Held(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Adds up the bytes of all tensors that are alive, and remembers the largest sum.

    Torch's own ``MemTracker`` does this by module too, which takes minutes for each setting.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._known: set[int] = set()
        self._bytes = 0
        self.peak = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        found = func(*args, **(kwargs or {}))
        tree_map_only(Tensor, self.note, found)
        return found

    def note(self, tensor: Tensor) -> None:
        """Count a tensor's memory until it is freed; views share it."""
        storage = tensor.untyped_storage()
        key = id(storage)
        if key not in self._known:
            self._known.add(key)
            self._bytes += storage.nbytes()
            self.peak = max(self.peak, self._bytes)
            weakref.finalize(storage, self._forget, key, storage.nbytes())

    def _forget(self, key: int, size: int) -> None:
        self._known.discard(key)
        self._bytes -= size


def _peak(model: nn.Module, step: Callable[[], None]) -> float:
    """GiB of the largest moment in two steps: AdamW makes its moments in the first."""
    held = Held()
    for tensor in (*model.parameters(), *model.buffers()):
        held.note(tensor)
    with held:
        step()
        step()
    return round(held.peak / GIB, 2)


if __name__ == "__main__":
    common.start_like_the_product()
    main()
