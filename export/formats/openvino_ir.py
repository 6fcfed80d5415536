"""OpenVINO's IR: ``model.xml`` and the weights beside it in ``model.bin``."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from export.formats.format import Format, Infer, Source


def convert(source: Source, path: Path) -> None:
    """Read the ONNX file, which carries labels and input contract along, and write it as IR in float32.

    ``openvino.convert_model`` is left alone: it reports to its makers unless the user has refused that.
    """
    import openvino

    model = openvino.Core().read_model(source.onnx)
    for number, node in enumerate(model.get_ordered_ops()):  # OpenVINO numbers what it adds since the process began
        if node.get_type_name() not in ("Parameter", "Result"):
            node.set_friendly_name(f"{node.get_type_name()}_{number}")
    openvino.save_model(model, path, compress_to_fp16=False)


def load(path: Path) -> Infer:
    """Compile for the CPU, in float32: where a processor has bf16 or fp16, OpenVINO would compute in that."""
    import openvino

    settings = {
        "INFERENCE_PRECISION_HINT": "f32",
        "INFERENCE_NUM_THREADS": 1,
        "ENABLE_CPU_PINNING": False,  # a pinned thread waits for its core, however busy, and times would show that
    }
    compiled = openvino.Core().compile_model(path, "CPU", settings)

    def infer(pixels: NDArray[np.float32]) -> NDArray[np.float32]:
        return np.array(compiled({"pixel_values": pixels})["logits"])

    return infer


FORMAT = Format("OpenVINO", "openvino", Path("openvino/model.xml"), convert, load)
