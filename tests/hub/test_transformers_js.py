"""What the cards say of transformers.js' resize where it cannot be measured; ``test_loaders`` measures it."""

import json
from pathlib import Path

import pytest

from export.page.runtime import cache
from export.release import Release, ReleasedModel
from hub import transformers_js
from hub.transformers_js import LOCKED, PACKAGE, measure_transformers_js
from run.folder import RunFolder


@pytest.fixture
def model(finished_run: RunFolder) -> ReleasedModel:
    """A student."""
    return Release(finished_run.release).model("mini")


@pytest.fixture(autouse=True)
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only folder with programs, of a user whose cache is empty."""
    (tmp_path / "bin").mkdir()
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "bin"


def program(path: Path, script: str) -> None:
    path.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
    path.chmod(0o755)


@pytest.mark.parametrize(
    ("scripts", "fetch", "said"),
    [
        ({}, True, "Node.js is not installed"),
        ({"node": "exit 0"}, True, "npm is not installed"),
        ({"node": "exit 0", "npm": "touch called"}, False, "`pocketeva push` fetches what that takes"),
        ({"node": "exit 0", "npm": "echo no route >&2; exit 1"}, True, "npm failed: no route"),
    ],
)
def test_measure__a_line_says_why_not(
    model: ReleasedModel,
    programs: Path,
    capsys: pytest.CaptureFixture[str],
    scripts: dict[str, str],
    fetch: bool,
    said: str,
) -> None:
    for name, script in scripts.items():
        program(programs / name, script)
    assert measure_transformers_js([model], fetch=fetch) == {}
    assert said in capsys.readouterr().err
    assert not cache(PACKAGE).exists()


@pytest.mark.parametrize(
    ("script", "said"), [("exec /bin/sleep 60", "node did not end within 0.2 s"), ("exit 1", "failed")]
)
def test_measure__node_that_does_not_end_or_fails(
    model: ReleasedModel,
    programs: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    script: str,
    said: str,
) -> None:
    program(programs / "npm", "exit 0")
    program(programs / "node", script)
    monkeypatch.setattr(transformers_js, "SECONDS", 0.2)
    assert measure_transformers_js([model], fetch=True) == {}
    assert said in capsys.readouterr().err
    assert cache(PACKAGE).is_dir()


def test_lock__names_every_package_by_digest() -> None:
    packages = json.loads((LOCKED / "package-lock.json").read_text(encoding="utf-8"))["packages"]
    assert packages.pop("") == {
        "dependencies": json.loads((LOCKED / "package.json").read_text(encoding="utf-8"))["dependencies"]
    }
    assert all(one["integrity"].startswith("sha512-") and "resolved" not in one for one in packages.values())
