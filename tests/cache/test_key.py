import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from cache.key import CacheKey, ViewCache
from data.labels import LabelSet
from models.classifier import Classifier
from run.errors import UserError
from tests.cache.view_caches import SPEC, model
from tests.support import TWO, tiny


@pytest.fixture(scope="module")
def classifier() -> Classifier:
    return model()


def recorded(root: Path, key: CacheKey) -> Path:
    cache = ViewCache(root, key)
    cache.record()
    return cache.folder


def test_of__logits_depend_on_labels_and_head_features_do_not(classifier: Classifier) -> None:
    renamed = replace(classifier, labels=LabelSet(("good", "bad"), "nominal"))
    other = replace(tiny("test_resnet", TWO, 32), spec=classifier.spec)
    other.head.weight.data.add_(1)

    def same(output: str, changed: Classifier) -> bool:
        first, second = (CacheKey.of(one, output, SPEC, "32-true") for one in (classifier, changed))  # type: ignore[arg-type]
        return first.folder_name == second.folder_name

    assert [same("features", renamed), same("features", other)] == [True, True]
    assert [same("logits", renamed), same("logits", other)] == [False, False]
    squashed = replace(classifier, spec=replace(classifier.spec, size=48))
    assert not same("features", squashed)


def test_record__says_in_one_line_what_does_not_fit(
    tmp_path: Path, classifier: Classifier, capsys: pytest.CaptureFixture[str]
) -> None:
    key = CacheKey.of(classifier, "logits", SPEC, "32-true")
    first = recorded(tmp_path, key)
    assert capsys.readouterr().err == "", "there is nothing to tell of the first"
    recorded(tmp_path, key)
    recorded(tmp_path, replace(key, output="features"))
    assert capsys.readouterr().err == ""
    narrow = replace(key, views=replace(SPEC, crop_scale=(0.9, 1.0)))
    second = recorded(tmp_path, narrow)
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert f"{first.name} (views differ: crop_scale [0.5, 1.0] → [0.9, 1.0])" in said
    recorded(tmp_path, replace(key, weights="x", labels="y", precision="bf16-mixed"))
    said = capsys.readouterr().err
    assert f"{first.name} (another teacher, another label set, precision 32-true → bf16-mixed)" in said
    assert second.name in said


def test_record__copies_and_originals_of_one_run_are_no_surprise(
    tmp_path: Path, classifier: Classifier, capsys: pytest.CaptureFixture[str]
) -> None:
    originals = CacheKey.of(classifier, "features", SPEC, "32-true")
    copies = replace(originals, views=replace(SPEC, working_size=64))
    recorded(tmp_path, copies)
    recorded(tmp_path, originals)
    assert capsys.readouterr().err == ""
    recorded(tmp_path, replace(originals, views=replace(SPEC, working_size=96)))
    said = capsys.readouterr().err
    assert f"{copies.folder_name} (views differ: working_size 64 → 96)" in said
    assert originals.folder_name not in said
    recorded(tmp_path, replace(copies, views=replace(SPEC, vertical_flip=True)))
    assert f"{copies.folder_name} (views differ: vertical_flip False → True, working_size" in capsys.readouterr().err


def test_record__a_folder_with_another_key_is_refused(tmp_path: Path, classifier: Classifier) -> None:
    key = CacheKey.of(classifier, "logits", SPEC, "32-true")
    folder = recorded(tmp_path / "other", replace(key, weights="x", views=replace(SPEC, vertical_flip=True)))
    (tmp_path / "here").mkdir()
    shutil.copytree(folder, tmp_path / "here" / key.folder_name)
    with pytest.raises(UserError, match=f"{key.folder_name} does not hold what its name says") as error:
        recorded(tmp_path / "here", key)
    assert "another teacher" in str(error.value)
    assert "vertical_flip True → False" in str(error.value)


@pytest.mark.parametrize("text", ["", "{", "[]"])
def test_record__a_key_that_cannot_be_read_is_written_again(tmp_path: Path, classifier: Classifier, text: str) -> None:
    key = CacheKey.of(classifier, "logits", SPEC, "32-true")
    folder = recorded(tmp_path, key)
    (folder / "key.json").write_text(text)
    assert recorded(tmp_path, key) == folder
    assert json.loads((folder / "key.json").read_text()) == key.to_json()
