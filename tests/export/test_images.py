from pathlib import Path

import numpy as np
import onnx
import pytest

from export import images
from export.images import RenderedImages, logits_of
from export.int8.quantize import divide_logits
from export.points.fitter import set_rule
from models.decision import DecisionRule
from run.files import file_digest
from tests import support
from tests.export.conftest import Exported


@pytest.fixture
def rendered(exported: Exported) -> RenderedImages:
    uris = [str(path) for path, _ in support.elpv_rows()[:3]]
    return RenderedImages(uris, exported[0].spec)


def test_logits__computed_once_for_a_graph_whatever_its_metadata(
    exported: Exported, rendered: RenderedImages, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(exported[1].read_bytes())
    found = logits_of(path, rendered)
    np.testing.assert_array_equal(found, logits_of(path, rendered[:]))
    set_rule(path, DecisionRule.of_levels(support.FOUR))
    assert file_digest(path) != file_digest(exported[1])
    monkeypatch.setattr(images, "run_one_by_one", None)
    assert logits_of(path, rendered) is found


def test_logits__images_are_rendered_before_threads_ask_for_them(
    exported: Exported, rendered: RenderedImages, monkeypatch: pytest.MonkeyPatch
) -> None:
    # From Python 3.12 on nothing keeps each thread from rendering all images itself.
    monkeypatch.setattr(images, "run_one_by_one", lambda _, pixels: np.array("rendered" in vars(pixels)))
    assert logits_of(exported[1], rendered)


def test_logits__of_another_graph_are_its_own(exported: Exported, rendered: RenderedImages, tmp_path: Path) -> None:
    model = onnx.load(exported[1])
    divide_logits(model, 2.0)
    onnx.save(model, tmp_path / "half.onnx")
    np.testing.assert_allclose(2 * logits_of(tmp_path / "half.onnx", rendered), logits_of(exported[1], rendered), 1e-5)
