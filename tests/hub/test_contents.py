"""What is pushed is what was meant: files of a release, none that names this machine."""

import json
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from huggingface_hub import HfApi

from export.page.runtime import PUSHED, RUNTIME
from hub.checkpoints import publisher
from hub.config import HubConfig
from hub.contents import require_allowed, require_impersonal
from hub.push import push
from run.errors import UserError
from run.folder import RunFolder
from tests.support import HOST, USER, named_machine
from verify.seal import files_of_release
from verify.verify import Verification

CONFIG = HubConfig(repo="acme/panels", page=False, transformers_js=False)


@pytest.fixture(autouse=True)
def no_request(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fail at the first request."""
    for name in ("create_repo", "create_branch", "model_info", "create_commit"):
        monkeypatch.setattr(HfApi, name, lambda *_, **__: pytest.fail("a request was made"))


def link(path: Path) -> None:
    path.symlink_to("/etc/hostname")


def write(path: Path) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text("secret")


def test_push__page_without_its_runtime_is_said_before_any_request(
    verification: Verification, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.raises(UserError, match=r"npm is not installed.*to push without it, say `hub\.page: false`"):
        push(verification, replace(CONFIG, page=True), dry_run=False, allow_unverified=True)
    assert not (verification.run.release / "mini-onnx" / "runtime").exists()


def test_require_allowed__the_page_and_its_runtime(verification: Verification) -> None:
    release = verification.run.release
    before = files_of_release(release)
    assert {"mini-onnx/index.html", "mini-onnx/page/page.js", "mini-onnx/page/settings.json"} <= set(before)
    assert "teacher-onnx/index.html" not in before
    for name in PUSHED:
        path = release / "mini-onnx" / RUNTIME / name
        path.parent.mkdir(exist_ok=True)
        path.write_text("pinned elsewhere")
    require_allowed([release / "mini-onnx"])
    assert files_of_release(release) == before
    write(release / "mini-onnx" / RUNTIME / "other.mjs")
    with pytest.raises(UserError, match=r"runtime/other\.mjs is no file that a release has"):
        require_allowed([release / "mini-onnx"])


@pytest.mark.parametrize(
    ("name", "make", "reason"),
    [
        ("mini/notes.txt", write, "mini/notes.txt is no file that a release has"),
        ("mini-onnx/onnx/model.onnx.data", write, "is no file that a release has"),
        ("mini-onnx/golden/deep/a.png", write, "is no file that a release has"),
        ("mini/.env", write, "mini/.env is hidden"),
        ("teacher-onnx/golden/.DS_Store", write, "is hidden"),
        ("mini-onnx/report.html", link, "is a symbolic link"),
        ("mini/onnx", link, "mini/onnx is a symbolic link"),
        ("mini/a\nb\u202e.txt", write, r"mini/a\\u000ab\\u202e\.txt is no file"),
    ],
)
def test_push__what_no_release_has_is_refused_by_name(
    verification: Verification, name: str, make: Callable[[Path], None], reason: str
) -> None:
    release_run = verification.run
    (release_run.release / "mini" / ".partial-model.safetensors").write_text("left by a killed process")
    make(release_run.release / name)
    with pytest.raises(UserError, match=reason):
        push(verification, CONFIG, dry_run=False, allow_unverified=True)


@pytest.mark.parametrize("name", ["mini-onnx/golden/README.md", "mini-onnx/rgb.onnx", "teacher/model.safetensors"])
@pytest.mark.parametrize("what", ["home", "python", "user", "host", "images"])
def test_push__no_file_names_this_machine(verification: Verification, name: str, what: str) -> None:
    words = {
        "home": f"{Path.home()}/work",
        "python": f"{sys.prefix}/lib",
        "user": f"made by {USER}.",
        "host": f'"{HOST}"',
        "images": "/data/customers/acme/images",
    }
    with (verification.run.release / name).open("ab") as file:
        file.write(b"\0" + words[what].encode() + b"\0")
    with named_machine(), pytest.raises(UserError, match=f"nothing was sent[^$]*{Path(name).name} names "):
        push(verification, CONFIG, dry_run=False, allow_unverified=True, private=["/data/customers/acme/"])


def test_require_impersonal__what_the_author_says_is_meant(release_run: RunFolder) -> None:
    (release_run.release / "mini" / "README.md").write_text(f"{USER}/panels-mini")
    with named_machine():
        require_impersonal([release_run.release / "mini"], (), f"{USER}/panels")
        with pytest.raises(UserError, match="tell of this machine"):
            require_impersonal([release_run.release / "mini"], (), "acme/panels")


def test_require_impersonal__nothing_in_a_finished_release(release_run: RunFolder) -> None:
    folders = [path for path in release_run.release.iterdir() if path.is_dir()]
    assert len(folders) == 4
    require_allowed(folders)
    with named_machine():
        require_impersonal(folders, (), "")


def test_publisher__checkpoints_are_looked_at_too(release_run: RunFolder, capsys: pytest.CaptureFixture[str]) -> None:
    publish = publisher(HubConfig(repo="acme/panels", push_checkpoints=True))
    assert publish is not None
    folder = release_run.release / "mini"
    (folder / "config.json").write_text(json.dumps({"base_model": f"local-dir:{Path.home()}/private"}))
    publish("mini", folder, "epoch 1")
    assert "Warning: this checkpoint was not published" in capsys.readouterr().err
