"""A classifier as one self-contained ONNX file."""

from pathlib import Path

import onnx
import torch

from export.libraries import first_line, quietly
from export.metadata import describe
from export.onnx_graph import finished, forget_origin, least_ir_version
from models.classifier import Classifier
from run.errors import UserError
from run.files import Json, atomic_path


def write_onnx(classifier: Classifier, path: Path, *, opset: int, facts: dict[str, Json]) -> None:
    """Export to ``pixel_values`` float32 [batch, 3, S, S] → ``logits`` [batch, C], with any batch size.

    ``export.metadata`` says what goes into the file's metadata beside ``facts``. What the exporter notes about the
    machine it ran on is taken out.

    Raises:
        UserError: ONNX cannot express the model.
    """
    with atomic_path(path) as partial:
        _export(classifier, partial, opset)
        model = onnx.load(partial, load_external_data=False)
        # Before the metadata is set, because it clears that too.
        forget_origin(model)
        model.ir_version = least_ir_version(opset)
        partial.write_bytes(finished(model, {}, {**describe(classifier), **facts}))


def _export(classifier: Classifier, path: Path, opset: int) -> None:
    size = classifier.spec.size
    model = classifier.model.cpu().eval()
    try:
        with quietly():
            torch.onnx.export(
                model,
                (torch.zeros(2, 3, size, size),),
                path,
                input_names=["pixel_values"],
                output_names=["logits"],
                dynamic_shapes=({0: "batch"},),
                opset_version=opset,
                dynamo=True,
                external_data=False,
                verbose=False,
            )
    except torch.onnx.OnnxExporterError as error:
        reason = first_line(error.__cause__ or error)
        raise UserError(f"{classifier.architecture} cannot be expressed in ONNX opset {opset}: {reason}") from error
