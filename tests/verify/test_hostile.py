"""A release of somebody who means harm, or cheats: ``recheck`` ends with a message, and believes nothing."""

import json
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx
import pytest

import pocketeva
from data.manifest import Manifest
from run import files
from run.errors import UserError
from run.files import file_digest
from run.folder import RunFolder
from tests.support import FOUR, edit_json
from verify.config import VerifyConfig
from verify.consistent import onnx_contradictions
from verify.recheck import find_certificate, recheck, recheck_data

Content = dict[str, Any]
HUGE = 10**400


@pytest.fixture
def release(finished_run: RunFolder, tmp_path: Path) -> Path:
    """A student's ONNX folder, as it would be downloaded."""
    return Path(shutil.copytree(finished_run.release / "mini-onnx", tmp_path / "mini-onnx"))


@pytest.fixture
def lone(finished_run: RunFolder, tmp_path: Path) -> Path:
    """The certificate of that folder, alone."""
    (tmp_path / "alone").mkdir()
    shutil.copyfile(finished_run.release / "mini-onnx" / "certificate.json", tmp_path / "alone" / "certificate.json")
    return tmp_path / "alone"


def edit(folder: Path, change: Callable[[Content], object]) -> None:
    edit_json(folder / "certificate.json", change)


def first(content: Content, name: str) -> Content:
    """The first criterion of this name."""
    return next(one for one in content["criteria"] if one["name"] == name)


def evidence(name: str, **values: Any) -> Callable[[Content], object]:
    return lambda content: first(content, name)["evidence"].update(values)


def criterion(name: str, **values: Any) -> Callable[[Content], object]:
    return lambda content: first(content, name).update(values)


@pytest.mark.parametrize(
    "change",
    [
        evidence("agreement", n=HUGE),
        evidence("agreement", n=10**12),
        evidence("agreement", n=-5),
        evidence("agreement", count=29, n=28),
        evidence("informed", hits=10**6),
        evidence("likelihood", mean=float("nan")),
        evidence("parity", spread=float("inf")),
        evidence("agreement", n="28"),
        criterion("agreement", shared_by=0),
        criterion("agreement", confidence=1.0),
        criterion("agreement", evidence={"kind": "share"}),
        criterion("agreement", model="nobody"),
        lambda content: content.update(criteria=[7] * 1000),
        lambda content: content.update(look={"number": 0, "confidence": 0.95}),
        lambda content: content.update(confidence=0),
        lambda content: content.update(labels={"names": ["a", "a"], "kind": "nominal"}),
        lambda content: content.update(labels={"names": [], "kind": "nominal"}),
        lambda content: content.update(models={}),
        lambda content: content["models"].update({"../../elsewhere": content["models"]["mini"]}),
        lambda content: content.update(files=[]),
        lambda content: content.update(test=None),
        lambda content: content.update(more="x"),
    ],
)
def test_certificate__what_no_release_can_say(lone: Path, change: Callable[[Content], object]) -> None:
    edit(lone, change)
    with pytest.raises(UserError, match=r"certificate\.json.* (is not as|is not JSON).*download it again"):
        find_certificate(lone)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b"[" * 200_000, "is not JSON"),
        (b'{"format": 4, "name": ' + b"[" * 300 + b"]" * 300 + b"}", "is not as"),
        (b'{"format": 4, "name": "\\ud800"}', "is not as"),
        (b"\xff\xfe\x00", "is not JSON"),
        (b"", "is not JSON"),
        (b"[3]", "schema version None"),
        (b'{"format": ' + b"9" * 5000 + b"}", "is not JSON"),
    ],
)
def test_certificate__what_is_none(lone: Path, text: bytes, said: str) -> None:
    (lone / "certificate.json").write_bytes(text)
    with pytest.raises(UserError, match=said):
        find_certificate(lone)


def test_certificate__larger_than_any(lone: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "MOST_JSON", 1000)
    with pytest.raises(UserError, match=r"certificate\.json: the file is above the limit of 1,000 bytes"):
        find_certificate(lone)


@pytest.mark.parametrize("name", ["onnx/model.onnx", "labels.json", "new.png"])
def test_recheck__what_is_no_file_is_not_read(release: Path, name: str) -> None:
    path = release / name
    path.unlink(missing_ok=True)
    if name == "labels.json":
        path.symlink_to("/dev/zero")
    else:
        os.mkfifo(path)  # reading it would wait for ever
    (wrong, *_) = recheck(release)
    assert f"mini-onnx/{name} is no regular file" in wrong.wrong


@pytest.mark.parametrize(
    ("name", "make"),
    [
        (".partial-weights.pkl", lambda path: path.write_bytes(b"x")),
        ("deep/.hidden", lambda path: (path.parent.mkdir(), path.write_bytes(b"x"))),
        ("elsewhere", lambda path: path.symlink_to("/etc")),
        ("a\nok: every file is the one that was judged", lambda path: path.write_bytes(b"x")),
    ],
)
def test_recheck__files_that_hide(
    release: Path, name: str, make: Callable[[Path], object], capsys: pytest.CaptureFixture[str]
) -> None:
    make(release / name)
    assert pocketeva.main(["recheck", str(release)]) == pocketeva.NOT_VERIFIED
    said = capsys.readouterr().out
    shown = name.replace("\n", "\\u000a")
    assert f"\n  mini-onnx/{shown} is not in the certificate\n" in said
    assert "\nok: every file" not in said


def test_recheck__a_file_that_is_gone(release: Path) -> None:
    (release / "rgb.onnx").unlink()
    assert recheck(release)[0].wrong == ("mini-onnx/rgb.onnx was judged and is no longer there",)


def as_teacher(content: Content) -> None:
    """A student that calls itself a teacher need not agree with one."""
    content["models"]["mini"]["role"] = "teacher"
    content["criteria"] = [one for one in content["criteria"] if one["name"] != "agreement"]


def leave_out_int8(content: Content) -> None:
    name = "mini-onnx/onnx/model_quantized.onnx"
    content["criteria"] = [one for one in content["criteria"] if one["file"] != name]
    del content["models"]["mini"]["files"][name]


def of_another_file(content: Content) -> None:
    first(content, "parity")["evidence"].update(sha256={}, same_files=True)


def without_teacher(content: Content) -> None:
    content["models"].pop("teacher")
    content["criteria"] = [one for one in content["criteria"] if one["model"] != "teacher"]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (as_teacher, "mini is judged as a teacher, and it is a student"),
        (leave_out_int8, "mini-onnx/onnx/model_quantized.onnx is released, and was not judged"),
        (without_teacher, "there is no teacher"),
        (of_another_file, "it was not measured on this file"),
        (criterion("agreement", side="at most"), "no criterion of this name is judged like that"),
        (criterion("recall", limit=-1.0), "no criterion of this name is judged like that"),
        (
            criterion("agreement", evidence={"kind": "said", "positives": 9, "said": 9}),
            "no criterion of this name is judged like that",
        ),
        (criterion("agreement", file="mini-onnx/nothing.onnx"), "the criterion and the figures of the file"),
        (criterion("agreement", shared_by=7), "its risk is shared by 7"),
        (lambda content: content.update(profile="safety"), "operating point of 'no point' of"),
        (lambda content: content.update(confidence_together=0.5), "all bounds hold together at"),
    ],
)
def test_recheck__a_certificate_that_cheats(lone: Path, change: Callable[[Content], object], said: str) -> None:
    edit(lone, change)
    assert said in "\n".join(line for check in recheck(lone) for line in check.wrong)


LABELS = ["sound", "doubtful", "broken", "likely"]


def swap_labels(content: Content) -> None:
    content["names"] = LABELS


def swap_ids(content: Content) -> None:
    content["id2label"] = {str(index): name for index, name in enumerate(LABELS)}


def other_mean(content: Content) -> None:
    content["image_mean"] = [0.1, 0.2, 0.3]


def other_thresholds(content: Content) -> None:
    content["files"]["rgb.onnx"]["thresholds"] = [0.1, 0.1, 0.1]


SAID = [
    ("labels.json", swap_labels, "labels.json says something else of the labels"),
    ("config.json", swap_ids, "config.json says something else of the labels"),
    ("preprocessor_config.json", other_mean, "preprocessor_config.json says something else of the input contract"),
    ("thresholds.json", other_thresholds, "thresholds.json has another decision rule than rgb.onnx carries"),
]


@pytest.mark.parametrize(("name", "change", "said"), SAID)
def test_recheck__a_file_that_was_edited_and_its_digest_with_it(
    release: Path, name: str, change: Callable[[Content], object], said: str
) -> None:
    path = release / name
    edit_json(path, change)
    edit(release, lambda content: content["files"].update({f"mini-onnx/{name}": file_digest(path)}))
    changed, contradicting, *_ = recheck(release)
    assert changed.wrong == ()
    assert contradicting.wrong == (f"mini-onnx/{said}",)


def test_recheck__a_file_that_is_damaged_names_no_folder_of_this_machine(release: Path) -> None:
    (release / "thresholds.json").write_text("{", encoding="utf-8")
    (line,) = onnx_contradictions(release, FOUR)
    assert line.startswith("mini-onnx/thresholds.json is not JSON")


def test_recheck__labels_inside_a_model_that_were_edited(release: Path) -> None:
    path = release / "onnx" / "model.onnx"
    model = onnx.load(path)
    values = {entry.key: entry.value for entry in model.metadata_props}
    onnx.helper.set_model_props(model, values | {"labels": json.dumps({"names": LABELS, "kind": "ordinal"})})
    onnx.save(model, path)
    edit(release, lambda content: content["files"].update({"mini-onnx/onnx/model.onnx": file_digest(path)}))
    assert "mini-onnx/onnx/model.onnx says something else of the labels" in recheck(release)[1].wrong


def test_recheck_data__a_certificate_about_other_files(finished_run: RunFolder, tmp_path: Path) -> None:
    whole = Path(shutil.copytree(finished_run.release, tmp_path / "release"))
    (whole / "mini-onnx" / "rgb.onnx").unlink()
    manifest = Manifest.read(finished_run.manifest, FOUR)
    with pytest.raises(UserError, match="its certificate is about"):
        recheck_data(whole, manifest, VerifyConfig())


def test_recheck__the_verb_ends_with_one_message(lone: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (lone / "certificate.json").write_bytes(b"[" * 200_000)
    assert pocketeva.main(["recheck", str(lone)]) == pocketeva.WRONG_INPUT
    said = capsys.readouterr().err
    assert re.search(r"^pocketeva recheck: .*certificate\.json is not JSON", said)
    assert "Traceback" not in said
