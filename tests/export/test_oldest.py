import json
import os
import re
import subprocess
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest

from export.fp16 import write_fp16
from export.oldest import BY_OPSET, NEEDS, oldest_runtime
from export.onnx_file import write_onnx
from export.onnx_graph import least_ir_version
from tests import support
from tests.export.conftest import Exported
from tests.export.random_models import settled

DOCS = Path(__file__).parents[2] / "docs" / "formats.md"
OLD_PYTHON = os.environ.get("POCKETEVA_OLD_PYTHON", "")
"""A Python with an older ONNX Runtime, such as of ``old/bin/pip install 'onnxruntime==1.15.1' 'numpy<2'``."""
RUN = """
import json, sys, numpy as np, onnxruntime as ort
session = ort.InferenceSession(sys.argv[1], providers=["CPUExecutionProvider"])
pixels = np.load(sys.argv[2])
print(json.dumps(session.run(None, {"pixel_values": pixels})[0].tolist()))
"""


def graph(*nodes: str, inner: str = "float16", opset: int = 18) -> onnx.ModelProto:
    body = "\n".join(nodes)
    return onnx.parser.parse_model(f"""
        <ir_version: 8, opset_import: ["": {opset}, "com.microsoft": 1]>
        net ({inner}[1, 4] x) => ({inner}[1, 4] y) <{inner}[4] scale = {{1, 1, 1, 1}}> {{ {body} }}""")


@pytest.mark.parametrize(
    ("model", "version"),
    [
        (graph("y = LayerNormalization <axis = 1> (x, scale)", inner="float"), "1.15"),
        (graph("y = LayerNormalization <axis = 1> (x, scale)"), "1.17"),
        (graph("y = Mul (x, scale)"), "1.15"),
        (graph("y = Mul (x, scale)", opset=20), "1.17"),
        (graph("y = com.microsoft.MatMulNBits <K = 4, N = 4, bits = 8, accuracy_level = 4> (x, scale)"), "1.22"),
        (graph("y = com.microsoft.MatMulNBits <K = 4, N = 4, bits = 8> (x, scale)"), "1.23"),
    ],
)
def test_oldest_runtime__by_what_is_in_the_file(tmp_path: Path, model: onnx.ModelProto, version: str) -> None:
    onnx.save(model, tmp_path / "model.onnx")
    assert oldest_runtime(tmp_path / "model.onnx") == version


def test_oldest_runtime__no_file_asks_for_a_newer_ir_than_its_runtime_reads() -> None:
    newest = {"1.15": 9, "1.17": 9, "1.18": 10}  # IR versions that ONNX Runtime reads, by its release notes
    assert all(least_ir_version(opset) <= newest[version] for opset, version in BY_OPSET.items())


def test_oldest_runtime__the_docs_say_the_same() -> None:
    rows = dict(re.findall(r"^\| (.+?) \| (1\.\d+) \|$", DOCS.read_text(encoding="utf-8"), re.MULTILINE))
    assert rows == {need.what: need.runtime for need in NEEDS}


@pytest.mark.skipif(not OLD_PYTHON, reason="POCKETEVA_OLD_PYTHON names no Python with an older ONNX Runtime")
def test_oldest_runtime__files_run_there_and_give_the_same(exported: Exported, tmp_path: Path) -> None:
    classifier = settled("test_vit", 32, support.TWO)
    images = np.stack([np.asarray(support.picture(32, 32, seed), np.float32) for seed in range(2)]) / 255
    pixels = np.ascontiguousarray(images.transpose(0, 3, 1, 2)).astype(np.float32)
    write_onnx(classifier, tmp_path / "model.onnx", opset=18, facts={})
    write_fp16(tmp_path / "model.onnx", tmp_path / "model_fp16.onnx", pixels)
    version = subprocess.check_output([OLD_PYTHON, "-c", "import onnxruntime as o; print(o.__version__)"], text=True)
    old = [int(part) for part in version.split(".")[:2]]
    for path in (tmp_path / "model.onnx", tmp_path / "model_fp16.onnx", exported[1]):
        taken = ort.InferenceSession(path, providers=["CPUExecutionProvider"])
        np.save(tmp_path / "pixels.npy", np.resize(pixels[:1], (1, *taken.get_inputs()[0].shape[1:])))
        command = [OLD_PYTHON, "-c", RUN, str(path), str(tmp_path / "pixels.npy")]
        found = subprocess.run(command, capture_output=True, text=True, check=False)
        runs = [int(part) for part in oldest_runtime(path).split(".")] <= old
        assert (found.returncode == 0) == runs, found.stderr
        if runs:
            expected = taken.run(None, {"pixel_values": np.load(tmp_path / "pixels.npy")})[0]
            np.testing.assert_allclose(json.loads(found.stdout), expected, atol=1e-2)
