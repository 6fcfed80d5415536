"""Core ML's ``.mlpackage``, an ML program in float32. Only Apple's devices run it: it is converted and not run."""

import json
import uuid
from pathlib import Path

from export.formats.format import Format, Source
from run.files import remove

CONVERSION_DATE = "com.github.apple.coremltools.conversion_date"


def convert(source: Source, path: Path) -> None:
    """Write a package that takes ``pixel_values`` [1, 3, S, S] and gives ``logits`` [1, C].

    Float32 is asked for: half precision, which coremltools takes by itself, could not be checked here.
    """
    import coremltools
    import torch

    size = source.classifier.spec.size
    exported = torch.export.export(source.classifier.model, (torch.zeros(1, 3, size, size),))
    model = coremltools.convert(
        exported.run_decompositions({}),
        inputs=[coremltools.TensorType(name="pixel_values", shape=(1, 3, size, size))],
        outputs=[coremltools.TensorType(name="logits")],
        convert_to="mlprogram",
        minimum_deployment_target=coremltools.target.iOS16,
        compute_precision=coremltools.precision.FLOAT32,
    )
    model.user_defined_metadata.update(source.metadata)
    model.save(str(path))
    _settle(path)


def _settle(package: Path) -> None:
    """Take out what differs each time: a date, random identifiers, the order of maps; and notes for debugging."""
    from coremltools.proto import Model_pb2

    manifest = package / "Manifest.json"
    content = json.loads(manifest.read_text(encoding="utf-8"))
    named = {key: str(uuid.uuid5(uuid.NAMESPACE_URL, item["path"])) for key, item in content["itemInfoEntries"].items()}
    items = {named[key]: item for key, item in content["itemInfoEntries"].items()}
    content |= {"itemInfoEntries": items, "rootModelIdentifier": named[content["rootModelIdentifier"]]}
    manifest.write_text(json.dumps(content, indent=4, sort_keys=True) + "\n", encoding="utf-8")

    program = package / "Data" / items[content["rootModelIdentifier"]]["path"]
    model = Model_pb2.Model.FromString(program.read_bytes())
    del model.description.metadata.userDefined[CONVERSION_DATE]
    program.write_bytes(model.SerializeToString(deterministic=True))
    remove(package / "executorch_debug_handle_mapping.json")
    for path in package.rglob("*"):  # coremltools lets nobody else read them
        path.chmod(0o755 if path.is_dir() else 0o644)


FORMAT = Format("Core ML", "coremltools", Path("coreml/model.mlpackage"), convert, None)
