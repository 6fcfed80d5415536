"""What reads working copies, and what reads originals."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from data import loaders
from data.examples import Examples
from data.manifest import Manifest
from data.storage import read_bytes
from data.working import is_copy
from distill.cache import build_cache, check_cache
from models import checkpoint
from run.context import RunContext
from run.folder import RunFolder
from tests.distill.test_distill import STUDENT, TEACHER, VIEWS, distilled
from tests.support import FOUR, context, copied
from tests.train.test_train import trained
from train.suspects import write_suspects
from train.teacher import load_teacher

SIZE = 40
Prepared = tuple[RunFolder, Manifest]


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """The uris that models were shown images from."""
    uris: set[str] = set()

    def noted(uri: str) -> bytes:
        uris.add(uri)
        return read_bytes(uri)

    monkeypatch.setattr(loaders, "read_bytes", noted)
    return uris


def taken(read: set[str]) -> tuple[set[str], set[str]]:
    """The image_ids of the copies and the uris of the originals that were read; then forget them."""
    copies = {Path(uri).stem for uri in read if is_copy(uri)}
    originals = {uri for uri in read if not is_copy(uri)}
    read.clear()
    return copies, originals


def run_in(folder: Path, run: RunFolder, size: int | None) -> RunContext:
    return context(copied(run, folder), working_size=size)


@pytest.mark.parametrize("mode", ["head", "full"])
def test_stages__learn_from_copies_and_calibrate_on_originals(
    elpv_run: Prepared, tmp_path: Path, read: set[str], mode: Any
) -> None:
    run, manifest = run_in(tmp_path / "run", elpv_run[0], SIZE), elpv_run[1]
    learned, held_out = (set(manifest.usable(*names).column("image_id")) for names in (("train", "val"), ("val",)))
    calibrated = set(manifest.usable("val").column("uri"))
    teacher_config = replace(TEACHER, mode=mode)
    trained(run, manifest, teacher_config, VIEWS)
    by_teacher = taken(read)
    load_teacher(run, FOUR).compute_logits(Examples.make_working_copies(manifest.usable("val"), VIEWS, run), 1)
    assert taken(read)[1] == set(), "its logits are those of copies, whoever asks"
    distilled(run, manifest, STUDENT, VIEWS)
    by_student = taken(read)
    for copies, originals in (by_teacher, by_student):
        assert originals == calibrated
        assert held_out < copies <= learned, "a last batch that is not full is left out"
    assert build_cache(run, manifest, teacher_config, VIEWS, [STUDENT]).images_x_views == 0, (
        "the stages asked for all of it"
    )
    assert check_cache(run, manifest, teacher_config, VIEWS, 8)
    assert len(list(run.folder.cache.iterdir())) == (2 if mode == "head" else 1), "no cache mixes the two"
    stored = {path.stem for path in (run.folder.data / "working").rglob("*.jpg")}
    assert stored == learned, "nothing else is copied"


def test_stages__another_working_size_trains_again_and_the_same_does_not(
    elpv_run: Prepared, tmp_path: Path, read: set[str]
) -> None:
    run, manifest = run_in(tmp_path / "run", elpv_run[0], SIZE), elpv_run[1]
    teacher = trained(run, manifest, TEACHER, VIEWS)
    student = distilled(run, manifest, STUDENT, VIEWS)
    taken(read)
    assert trained(run, manifest, TEACHER, VIEWS).weights_digest() == teacher.weights_digest()
    assert distilled(run, manifest, STUDENT, VIEWS).weights_digest() == student.weights_digest()
    assert taken(read) == (set(), set())
    without = replace(run, working_size=None)
    other = trained(without, manifest, TEACHER, VIEWS)
    assert other.weights_digest() != teacher.weights_digest()
    assert taken(read)[0] == set()
    assert distilled(without, manifest, STUDENT, VIEWS).weights_digest() != student.weights_digest()
    assert taken(read)[0] == set()


def test_write_suspects__finds_what_training_cached(elpv_run: Prepared, tmp_path: Path, read: set[str]) -> None:
    run, manifest = run_in(tmp_path / "run", elpv_run[0], SIZE), elpv_run[1]
    trained(run, manifest, TEACHER, VIEWS)
    taken(read)
    write_suspects(run, manifest, checkpoint.load(run.folder.teacher / "model", FOUR), VIEWS)
    copies, originals = taken(read)
    assert originals == set()
    assert copies == set(manifest.usable("calibration", "test").column("image_id"))
