import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from export.formats import FORMATS
from export.formats.record import FormatsRecord
from export.golden.kit import read_kit
from run.files import file_digest
from tests import support
from tests.export.formats.conftest import PARITY, TEMPERATURE, Made

FILES = {
    "openvino/model.xml",
    "openvino/model.bin",
    "executorch/model.pte",
    "coreml/model.mlpackage/Manifest.json",
    "coreml/model.mlpackage/Data/com.apple.CoreML/model.mlmodel",
    "coreml/model.mlpackage/Data/com.apple.CoreML/weights/weight.bin",
}


def formats_in(folder: Path) -> dict[str, bytes]:
    files = support.files_below(folder)
    return {name: data for name, data in files.items() if name.split("/")[0] in FORMATS}


def facts_of(folder: Path) -> dict[str, Any]:
    return dict(json.loads((folder / "formats.json").read_text(encoding="utf-8")))


@pytest.fixture
def own(plain: Made, tmp_path: Path) -> Made:
    """A student without formats, in a folder of one's own."""
    return replace(plain, folder=Path(shutil.copytree(plain.folder, tmp_path / plain.folder.name)))


def pixels_of(made: Made, count: int) -> NDArray[np.float32]:
    spec = made.classifier.spec
    return np.stack([spec.normalize(spec.render(support.picture(50, 70, seed))) for seed in range(20, 20 + count)])


def torch_logits(made: Made, pixels: NDArray[np.float32]) -> NDArray[np.float32]:
    with torch.inference_mode():
        return made.classifier.model(torch.from_numpy(pixels)).numpy()  # type: ignore[no-any-return]


def test_write_formats__files_and_facts(made: Made) -> None:
    assert set(formats_in(made.folder)) == FILES
    content = facts_of(made.folder)
    assert content["labels"] == {"names": list(support.FOUR.names), "kind": "ordinal"}
    size = made.classifier.spec.size
    wanted = {"name": "pixel_values", "layout": "NCHW", "input_size": [3, size, size], "crop_mode": "squash"}
    assert wanted.items() <= content["input"].items()
    assert tuple(content["input"]["mean"]) == made.classifier.spec.mean
    assert content["output"] == {"name": "logits", "dtype": "float32", "activation": "softmax"}
    assert content["temperature"] == TEMPERATURE
    assert list(content["formats"]) == list(FORMATS)
    for name, facts in content["formats"].items():
        own = {path: data for path, data in formats_in(made.folder).items() if path.startswith(f"{name}/")}
        assert facts["bytes"] == sum(map(len, own.values()))
        assert facts["sha256"] == {path: file_digest(made.folder / path) for path in own}
        assert (made.folder / facts["file"]).exists()


def test_formats_record__reads_what_was_written(made: Made, tmp_path: Path) -> None:
    record = FormatsRecord.read(made.folder)
    assert record is not None
    assert record.rule.labels == support.FOUR
    assert [found.status for found in record.formats.values()] == ["ran", "ran", "converted, not run"]
    record.write(tmp_path)
    assert (tmp_path / "formats.json").read_bytes() == (made.folder / "formats.json").read_bytes()


def test_write_formats__measured_where_a_runtime_is(made: Made) -> None:
    found = facts_of(made.folder)["formats"]
    assert [facts["status"] for facts in found.values()] == ["ran", "ran", "converted, not run"]
    for name in ("openvino", "executorch"):
        assert 0 < found[name]["largest"] <= found[name]["target"] == PARITY
        assert 0 < found[name]["largest_logit"] <= max(read_kit(made.folder).tolerances)
        assert found[name]["ms"] > 0
        assert found[name]["onnx_ms"] > 0
        assert found[name]["threads"] == 1
        assert found[name]["made_with"].startswith(f"{name} ")
    assert not {"largest", "ms"} & found["coreml"].keys()


def test_openvino__any_batch_gives_what_torch_gives(made: Made) -> None:
    import openvino

    settings = {"INFERENCE_PRECISION_HINT": "f32"}
    compiled = openvino.Core().compile_model(made.folder / "openvino" / "model.xml", "CPU", settings)
    for batch in (1, 5):
        pixels = pixels_of(made, batch)
        found = compiled({"pixel_values": pixels})["logits"]
        np.testing.assert_allclose(found, torch_logits(made, pixels), atol=1e-4)
    info = openvino.Core().read_model(made.folder / "openvino" / "model.xml").get_rt_info()
    assert json.loads(info["framework"]["labels"].value)["names"] == list(support.FOUR.names)


def test_executorch__gives_what_torch_gives(made: Made) -> None:
    from executorch.runtime import Runtime

    program = Runtime.get().load_program(made.folder / "executorch" / "model.pte")
    pixels = pixels_of(made, 1)
    (found,) = program.load_method("forward").execute([torch.from_numpy(pixels)])
    np.testing.assert_allclose(found.numpy(), torch_logits(made, pixels), atol=1e-4)
    (text,) = program.load_method("metadata").execute([])
    metadata = json.loads(text)
    assert metadata["labels"]["names"] == list(support.FOUR.names)
    assert metadata["weights_digest"] == made.classifier.weights_digest()
    assert metadata["temperature"] == TEMPERATURE


def test_coreml__says_what_it_takes(made: Made) -> None:
    import coremltools

    package = made.folder / "coreml" / "model.mlpackage"
    spec = coremltools.models.MLModel(str(package), skip_model_load=True).get_spec()
    (given,), (taken,) = spec.description.output, spec.description.input
    size = made.classifier.spec.size
    assert (taken.name, list(taken.type.multiArrayType.shape)) == ("pixel_values", [1, 3, size, size])
    assert (given.name, list(given.type.multiArrayType.shape)) == ("logits", [1, 4])
    float32 = coremltools.proto.FeatureTypes_pb2.ArrayFeatureType.FLOAT32
    assert taken.type.multiArrayType.dataType == given.type.multiArrayType.dataType == float32
    known = spec.description.metadata.userDefined
    assert json.loads(known["labels"])["names"] == list(support.FOUR.names)
    assert json.loads(known["temperature"]) == TEMPERATURE


def test_coreml__its_manifest_names_what_is_there(made: Made) -> None:
    package = made.folder / "coreml" / "model.mlpackage"
    manifest = json.loads((package / "Manifest.json").read_text(encoding="utf-8"))
    items = manifest["itemInfoEntries"]
    assert items[manifest["rootModelIdentifier"]]["name"] == "model.mlmodel"
    assert all((package / "Data" / item["path"]).exists() for item in items.values())
    for path in package.rglob("*"):
        assert path.stat().st_mode & 0o044 == 0o044, f"only its owner can read {path}"


def test_write_formats__nothing_of_this_machine(made: Made) -> None:
    secrets = {str(root) for root in (Path.cwd(), Path.home(), Path(sys.prefix), made.folder.parent)} - {"/"}
    secrets |= {support.HOST, support.USER}
    for name, data in {**formats_in(made.folder), "facts": (made.folder / "formats.json").read_bytes()}.items():
        found = {secret for secret in secrets if secret.encode() in data}
        assert not found, f"{name} mentions {found}"


AGAIN = """
import sys
from pathlib import Path
import torch
from export.formats import FORMATS
from tests.export.formats.conftest import Made
made = Made(torch.load(sys.argv[2], weights_only=False), Path(sys.argv[1]))
made.write("openvino")
made.write(*FORMATS)
"""


@pytest.mark.slow
def test_write_formats__same_bytes_in_another_process(made: Made, tmp_path: Path) -> None:
    """Other hash seeds, and in OpenVINO's case not the first conversion: names that count up must not show."""
    if made.folder.name != "student-onnx":
        pytest.skip("one model is enough")
    folder = shutil.copytree(made.folder, tmp_path / "again-onnx")
    for name in FORMATS:
        shutil.rmtree(folder / name)
    classifier = tmp_path / "classifier.pt"
    torch.save(made.classifier, classifier)  # made anew, its last bits could differ
    environment = {**os.environ, "PYTHONHASHSEED": "12345", "PYTHONPATH": str(support.REPOSITORY)}
    command = [sys.executable, "-c", AGAIN, str(folder), str(classifier)]
    result = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    assert result.returncode == 0, result.stderr
    titles = [FORMATS["openvino"].title, *(form.title for form in FORMATS.values())]
    assert result.stdout == ""
    assert result.stderr.splitlines() == [f"  converting to {title}" for title in titles]  # nothing of the libraries
    ours, theirs = formats_in(folder), formats_in(made.folder)
    assert ours.keys() == theirs.keys()
    assert [name for name in ours if ours[name] != theirs[name]] == []


def test_write_formats__too_far_from_the_reference(own: Made, capsys: pytest.CaptureFixture[str]) -> None:
    own.write("openvino")
    own.write("openvino", parity=1e-12)
    assert formats_in(own.folder) == {}
    facts = facts_of(own.folder)["formats"]["openvino"]
    assert facts["status"] == "not written"
    assert "bytes" not in facts
    said = capsys.readouterr().err
    assert "no file for OpenVINO: a probability differs from model.onnx by " in said
    assert "more than export.parity (1e-12)" in said
    assert facts["why_not"] in said


def test_write_formats__logits_that_only_softmax_forgives(own: Made) -> None:
    """The same number added to every logit changes no probability, but a threshold on logits would."""
    path = own.folder / "golden" / "index.json"
    index = json.loads(path.read_text(encoding="utf-8"))
    entry = next(entry for entry in index["images"] if entry["name"] == "gray")
    entry["logits"] = [value + 2 * entry["tolerance"]["logits"] for value in entry["logits"]]
    path.write_text(json.dumps(index), encoding="utf-8")
    own.write("openvino")
    assert formats_in(own.folder) == {}
    assert "a logit of the golden image gray differs" in facts_of(own.folder)["formats"]["openvino"]["why_not"]


class Determinant(torch.nn.Module):
    """Something that no phone has an operator for."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = torch.linalg.det(images).repeat(1, 2)[:, :4]
        return logits


def test_write_formats__one_that_cannot_be_converted(own: Made, capsys: pytest.CaptureFixture[str]) -> None:
    odd = replace(own, classifier=replace(own.classifier, model=Determinant()))
    odd.write("coreml", "openvino")
    found = facts_of(own.folder)["formats"]
    assert found["coreml"]["status"] == "not written"
    assert "cannot convert test_efficientnet: " in found["coreml"]["why_not"]
    assert not {part for part in found["coreml"]["why_not"].split() if part.startswith("/")}
    assert found["openvino"]["status"] == "ran"
    assert {name.split("/")[0] for name in formats_in(own.folder)} == {"openvino"}
    assert "no file for Core ML: coremltools 9" in capsys.readouterr().err


@pytest.mark.parametrize("broken", ["garbage", "not a number"])
def test_write_formats__a_file_that_does_not_run(own: Made, monkeypatch: pytest.MonkeyPatch, broken: str) -> None:
    good = FORMATS["openvino"]
    if broken == "garbage":
        bad = replace(good, convert=lambda _, path: path.write_bytes(b"<net>"))  # type: ignore[arg-type]
    else:
        bad = replace(good, load=lambda _: lambda pixels: np.full((len(pixels), 4), np.nan, np.float32))
    monkeypatch.setattr("export.formats.write.FORMATS", {"openvino": bad})
    own.write("openvino")
    assert formats_in(own.folder) == {}
    why_not = facts_of(own.folder)["formats"]["openvino"]["why_not"]
    assert why_not.startswith("model.xml cannot be run by OpenVINO: " if broken == "garbage" else "a probability")
    assert str(own.folder) not in why_not


def test_write_formats__none_asked_for(own: Made) -> None:
    before = support.files_below(own.folder)
    own.write()
    assert support.files_below(own.folder) == before
