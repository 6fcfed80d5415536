"""ExecuTorch's ``.pte`` with the XNNPACK backend, for CPUs of phones."""

import json
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from export.formats.format import Format, Infer, Source


def convert(source: Source, path: Path) -> None:
    """Write a program with the method ``forward`` for one image, and ``metadata``, which gives a JSON string."""
    import torch
    from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
    from executorch.exir import to_edge_transform_and_lower

    size = source.classifier.spec.size
    exported = torch.export.export(source.classifier.model, (torch.zeros(1, 3, size, size),))
    metadata = json.dumps({key: json.loads(value) for key, value in source.metadata.items()}, sort_keys=True)
    lowered = to_edge_transform_and_lower(
        exported, partitioner=[XnnpackPartitioner()], constant_methods={"metadata": metadata}
    )
    path.write_bytes(lowered.to_executorch().buffer)


def load(path: Path) -> Infer:
    """Load in ExecuTorch's own runtime."""
    import torch
    from executorch.extension.pybindings.portable_lib import _unsafe_reset_threadpool
    from executorch.runtime import Runtime

    _unsafe_reset_threadpool(1)
    method = Runtime.get().load_program(path).load_method("forward")

    def infer(pixels: NDArray[np.float32]) -> NDArray[np.float32]:
        images = torch.split(torch.from_numpy(pixels), 1)
        # Copied, because the next image is computed in the same memory.
        return np.concatenate([method.execute([image])[0].numpy().copy() for image in images])

    return infer


FORMAT = Format("ExecuTorch", "executorch", Path("executorch/model.pte"), convert, load)
