"""A certificate in a reader's hands."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import pocketeva
from run.errors import UserError
from run.files import file_digest
from run.folder import RunFolder
from tests import finished
from verify.certificate import Certificate
from verify.evidence import Share
from verify.recheck import Check, _criteria, _missing, _repeated, _verdicts, recheck


@pytest.fixture
def release(finished_run: RunFolder, tmp_path: Path) -> Path:
    shutil.copytree(finished_run.release, tmp_path / "release")
    return tmp_path / "release"


def wrong(checks: list[Check]) -> list[str]:
    return [line for check in checks for line in check.wrong]


def test_recheck__a_release_and_each_folder_with_a_certificate(release: Path) -> None:
    (release / "mini-onnx" / ".gitattributes").write_text("*.onnx", encoding="utf-8")  # as the Hub adds it
    renamed = release.parent / "downloaded"
    shutil.copytree(release / "mini-onnx", renamed)
    for place in (release, release / "teacher-onnx", release / "teacher", renamed):
        assert wrong(recheck(place)) == []


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("mini-onnx/onnx/model.onnx", "mini-onnx/onnx/model.onnx has changed since it was judged"),
        ("mini-onnx/labels.json", "mini-onnx/labels.json has changed since it was judged"),
        ("mini-onnx/weights.pkl", "mini-onnx/weights.pkl is not in the certificate"),
    ],
)
def test_recheck__a_file_that_was_changed_or_added(release: Path, name: str, said: str) -> None:
    with (release / name).open("ab") as file:
        file.write(b" ")
    assert wrong(recheck(release)) == [said]
    assert wrong(recheck(release / "mini-onnx")) == [said]


def test_recheck__a_checkpoint_that_says_something_else(release: Path) -> None:
    config = release / "mini" / "config.json"
    config.write_bytes(config.read_bytes().replace(b"sound", b"SOUND"))
    path = release / "mini" / "certificate.json"
    certificate = Certificate.read(path)
    # Its author wrote the digests too.
    replace(certificate, files={**certificate.files, "mini/config.json": file_digest(config)}).write(path)
    assert "mini/config.json says something else of the labels" in wrong(recheck(release / "mini"))


def test_recheck__no_certificate_or_two(release: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"holds no certificate\.json: give a release"):
        recheck(tmp_path)
    path = release / "mini-onnx" / "certificate.json"
    path.write_text(path.read_text(encoding="utf-8") + "\n", encoding="utf-8")
    with pytest.raises(UserError, match="holds certificates that differ"):
        recheck(release)


def test_recheck__a_run_is_not_its_release(finished_run: RunFolder, release: Path) -> None:
    with pytest.raises(UserError, match=r"is a run: give its release, .*release$"):
        recheck(finished_run.root)
    for path in release.glob("mini*"):  # of a model that is called so
        path.rename(release / path.name.replace("mini", "release"))
    assert "is a run" not in str(recheck(release))


def edited(certificate: Certificate, name: str, **changes: Any) -> Certificate:
    """The certificate with its first criterion of this name changed."""
    first = certificate.of(name=name)[0]  # type: ignore[arg-type]
    criteria = [replace(one, **changes) if one is first else one for one in certificate.criteria]
    return replace(certificate, criteria=tuple(criteria))


@pytest.mark.parametrize(
    ("edit", "said"),
    [
        (lambda found: edited(found, "agreement", lower=0.999), "lower is 0.999, and "),
        (lambda found: edited(found, "agreement", verdict="FAIL"), "verdict is FAIL, and PASS follows"),
        (lambda found: edited(found, "agreement", confidence=0.5), "confidence is 0.5, and "),
        (lambda found: edited(found, "agreement", evidence=Share(n=28, count=1)), "value is "),
        (lambda found: edited(found, "parity", limit=1e-9), "verdict is PASS, and FAIL follows"),
        (lambda found: replace(found, confidence_together=0.95), "all bounds hold together at "),
        (lambda found: replace(found, look=replace(found.look, number=3)), "look 3 asks for another confidence"),
    ],
)
def test_recheck__bounds_and_verdicts_follow_from_counts(
    certificate: Certificate, edit: Callable[[Certificate], Certificate], said: str
) -> None:
    assert list(_criteria(certificate)) == []
    assert said in "\n".join(_criteria(edit(certificate)))


def test_recheck__verdicts_follow_from_criteria(certificate: Certificate) -> None:
    assert list(_verdicts(certificate)) == []
    failed = edited(certificate, "agreement", verdict="FAIL")
    assert list(_verdicts(failed)) == ["mini: PASS, and FAIL follows from its criteria"]
    assert "the release: FAIL, and PASS follows from its models" in list(
        _verdicts(replace(certificate, verdict="FAIL"))
    )


def test_recheck__every_criterion_is_there(certificate: Certificate) -> None:
    assert list(_missing(certificate)) == []
    gone = [line.split(" of ")[0] for line in _missing(replace(certificate, criteria=()))]
    assert {*gone} == {one.name for one in certificate.criteria}
    assert len(gone) == len(certificate.criteria)
    softened = edited(certificate, "dead label", tier="reported")
    (line,) = _missing(softened)
    assert line == "dead label of 'sound' of teacher-onnx/onnx/model.onnx, which must pass, is missing"
    safer = replace(certificate, profile="safety")
    assert all("which must pass" in line for line in _missing(safer))


def test_recheck__what_is_said_twice_is_the_same(certificate: Certificate) -> None:
    assert list(_repeated(certificate)) == []
    other = edited(certificate, "agreement", evidence=Share(n=28, count=1))
    assert "the criterion and the figures of the file count differently" in "\n".join(_repeated(other))
    files = {**certificate.files, "mini/model.safetensors": "0" * 64}
    assert "it was measured on other files than are listed" in "\n".join(_repeated(replace(certificate, files=files)))


def test_recheck__the_verb(
    release: Path, finished_root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert pocketeva.main(["recheck", str(release)]) == pocketeva.DONE
    said = capsys.readouterr().out
    assert said.startswith("ok: every file is the one")
    assert "not checked: that the counts are those of the files" in said
    claim = "what its author claims: quick: PASS, on images that were judged for the 1st time\n"
    assert said.endswith(f"nothing above contradicts {claim}")
    path = release / "mini-onnx" / "certificate.json"
    content = json.loads(path.read_text(encoding="utf-8"))
    content["models"]["mini"]["verdict"] = "FAIL"
    for copy in release.glob("*/certificate.json"):
        copy.write_text(json.dumps(content), encoding="utf-8")
    assert pocketeva.main(["recheck", str(release)]) == pocketeva.NOT_VERIFIED
    said = capsys.readouterr().out
    assert "WRONG: the verdicts follow from the criteria\n  mini: FAIL, and PASS follows" in said
    assert said.endswith(f"WRONG above contradicts {claim}")
    assert pocketeva.main(["recheck", str(tmp_path / "nowhere" / "at all" / "x")]) == pocketeva.WRONG_INPUT


def test_recheck__with_the_images(
    release: Path,
    finished_root: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(finished.copied(finished_root, tmp_path / "work"))
    assert pocketeva.main(["recheck", str(release), "--data", "config.yaml"]) == pocketeva.DONE
    assert "ok: the files give these counts on the images" in capsys.readouterr().out
    # Counts that are consistent and untrue: only the images tell.
    for path in release.glob("*/certificate.json"):
        content = json.loads(path.read_text(encoding="utf-8"))
        found = next(one for one in content["criteria"] if one["name"] == "finite")
        found["evidence"]["n"] = 1000
        path.write_text(json.dumps(content), encoding="utf-8")
    assert pocketeva.main(["recheck", str(release), "--data", "config.yaml"]) == pocketeva.NOT_VERIFIED
    assert "WRONG: the files give these counts on the images\n  finite, teacher-onnx" in capsys.readouterr().out
