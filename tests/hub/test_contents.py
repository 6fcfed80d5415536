"""What is pushed is what was meant: files of a release, none that names this machine."""

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from huggingface_hub import HfApi

from hub.checkpoints import publisher
from hub.config import HubConfig
from hub.contents import require_allowed, require_impersonal
from hub.push import push
from run.errors import UserError
from run.folder import RunFolder
from tests.support import HOST, USER, named_machine
from verify.verify import Verification

CONFIG = HubConfig(repo="acme/panels")


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
