"""Which images each stage's stamp depends on: a changed row runs exactly those stages again that have seen it."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cache.frozen import FrozenModel
from data.config import DataConfig, ViewsConfig
from data.manifest import SPLITS, Manifest
from data.prepare import prepare
from data.readers.record import Record
from distill.config import StudentConfig
from distill.distill import distill
from export.config import ExportConfig
from export.export import export, export_baseline
from models.classifier import Classifier
from run.context import RunContext
from run.files import Json
from run.folder import RunFolder
from run.stage import _Stamp
from tests.support import TWO, context, elpv_rows, tiny
from train.config import TeacherConfig
from train.train import train
from verify.measure import measure

LEARNED = ("train", "val")
DEPENDS_ON = {
    "prepare": SPLITS,
    "train": LEARNED,
    "distill-mini": (*LEARNED, "unlabeled"),
    "distill-plain": (*LEARNED, "unlabeled"),
    "export-teacher": ("train", "val", "calibration"),
    "export-plain": ("calibration",),
    "measure": ("calibration", "test"),
}
"""Images of which splits a stage reads. A student on labels alone trains for as many steps as one with a teacher."""


class Asked(Exception):  # noqa: N818
    """A stage asks whether it is done; it goes no further."""

    def __init__(self, stage: str, inputs: Mapping[str, Json]) -> None:
        super().__init__(stage)
        self.stage, self.inputs = stage, inputs


@pytest.fixture(autouse=True)
def stages_only_ask(monkeypatch: pytest.MonkeyPatch) -> None:
    def is_done(stamp: _Stamp, inputs: Mapping[str, Json]) -> bool:
        raise Asked(stamp.name, inputs)

    monkeypatch.setattr(_Stamp, "is_done", is_done)


@pytest.fixture(scope="module")
def teacher() -> Classifier:
    return tiny()


def rows() -> list[dict[str, Any]]:
    """Two photographs in each split; those without a label too."""
    paths = [path for path, _ in elpv_rows()]
    return [
        {
            "image_id": path.stem,
            "uri": str(path),
            "target": None if split == "unlabeled" else [1.0, 0.0],
            "split": split,
            "group": path.stem,
            "status": "ok",
        }
        for path, split in zip(paths, (*SPLITS, *SPLITS), strict=False)
    ]


def changed(split: str) -> list[dict[str, Any]]:
    """The same, but for one photograph of a split: its label, or itself where it has none."""
    found = rows()
    row = next(row for row in found if row["split"] == split)
    if row["target"] is None:
        path = elpv_rows()[len(found)][0]
        row.update(image_id=path.stem, uri=str(path), group=path.stem)
    else:
        row["target"] = [0.0, 1.0]
    return found


def ask(stage: str, run: RunContext, given: list[dict[str, Any]], teacher: Classifier) -> Mapping[str, Json]:
    """What a stage's stamp would hold for these rows."""
    manifest, views = Manifest.of(TWO, given), ViewsConfig(count=2)
    records = [
        Record(uri=row["uri"], where="here", target=row["target"] and tuple(row["target"]), split=row["split"])
        for row in given
    ]
    mini = StudentConfig(name="mini", model="test_efficientnet")
    plain = replace(mini, name="plain", loss="labels")
    frozen = FrozenModel(teacher, "logits", run)
    manifest.write(run.folder.manifest)
    calls: dict[str, Callable[[], object]] = {
        "prepare": lambda: prepare(run.folder, TWO, DataConfig(format="folder", path="images"), records=records),
        "train": lambda: train(run, manifest, TeacherConfig(model="test_vit"), views),
        "distill-mini": lambda: distill(run, manifest, mini, views, frozen),
        "distill-plain": lambda: distill(run, manifest, plain, views, frozen),
        "export-teacher": lambda: export(run, manifest, ExportConfig(), {"teacher": teacher}),
        "export-plain": lambda: export_baseline(run, manifest, ExportConfig(), "plain", teacher),
        "measure": lambda: measure(run.folder, manifest, [], []),
    }
    with pytest.raises(Asked) as caught:
        calls[stage]()
    assert caught.value.stage == stage
    return dict(caught.value.inputs)


@pytest.fixture
def run(tmp_path: Path) -> RunContext:
    """A run with just so many files that every stage can ask."""
    folder = RunFolder(tmp_path / "run")
    files = [folder.teacher / "model" / name for name in ("model.safetensors", "config.json")]
    files += [folder.student("plain") / "model" / "model.safetensors"]
    files += [folder.release / "teacher" / "model.safetensors", folder.release / "teacher-onnx" / "onnx" / "model.onnx"]
    for path in files:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"weights")
    return context(folder)


@pytest.mark.parametrize("split", SPLITS)
@pytest.mark.parametrize("stage", DEPENDS_ON)
def test_stages__depend_on_the_images_of_their_splits(
    run: RunContext, teacher: Classifier, stage: str, split: str
) -> None:
    before = ask(stage, run, rows(), teacher)
    assert ask(stage, run, rows(), teacher) == before
    after = ask(stage, run, changed(split), teacher)
    assert (after != before) == (split in DEPENDS_ON[stage])


@pytest.mark.parametrize("stage", DEPENDS_ON)
def test_stages__depend_on_which_split_an_image_is_in(run: RunContext, teacher: Classifier, stage: str) -> None:
    """Every image stays, but the first ones of two splits change places."""
    read = DEPENDS_ON[stage]
    other = read[1] if len(read) > 1 else next(split for split in SPLITS if split not in read)
    swapped = rows()
    for row in swapped[: len(SPLITS)]:
        row["split"] = {read[0]: other, other: read[0]}.get(row["split"], row["split"])
    assert ask(stage, run, swapped, teacher) != ask(stage, run, rows(), teacher)
