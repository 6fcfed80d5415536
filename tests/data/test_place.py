import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from data.config import SourceConfig
from data.place import require_place
from run.errors import UserError


@pytest.mark.parametrize(
    ("settings", "key"),
    [
        ({"path": "panls"}, r"data\.path: .*; the nearest that is there: .*/panels$"),
        ({"path": "file:///nowhere/panels"}, r"data\.path: there is no file or folder /nowhere/panels"),
        ({"path": "panels/labels.csv"}, r"data\.path: there is no file or folder panels/labels\.csv"),
        ({"path": "org/panels", "format": "csv"}, r"data\.path: there is no file or folder org/panels"),
        ({"path": "panels", "image_root": "my images"}, r"data\.image_root: there is no file or folder 'my images'"),
    ],
)
def test_require_place__not_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settings: dict[str, Any], key: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "panels").mkdir()
    with pytest.raises(UserError, match=key):
        require_place(SourceConfig(**settings), "data")


@pytest.mark.parametrize(
    "settings",
    [
        {"path": "panels"},
        {"path": ""},  # `Source.uri` says what to do
        {"path": "s3://bucket/panels", "image_root": "https://images.example/"},
        {"path": "org/panels-1.0"},
        {"path": "org/panels@main", "format": "huggingface"},
        {"path": "any", "format": "elpv"},
    ],
)
def test_require_place__there_or_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settings: dict[str, Any]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "panels").mkdir()
    require_place(SourceConfig(**settings), "data")


@pytest.mark.parametrize("verb", ["run", "prepare", "views", "init"])
def test_verbs__a_missing_folder_is_said_before_anything_slow_is_imported(tmp_path: Path, verb: str) -> None:
    config = tmp_path / "config.yaml"
    config.write_text("labels: {names: [a, b]}\ndata: {path: nowhere/at/all}\n", encoding="utf-8")
    given = "nowhere/at/all" if verb == "init" else str(config)
    code = (
        f"import sys, pocketeva; code = pocketeva.main([{verb!r}, {given!r}]); "
        "assert not {'torch', 'timm'} & set(sys.modules); sys.exit(code)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, cwd=tmp_path)
    assert result.returncode == 2, result.stderr
    assert result.stderr.startswith(f"pocketeva {verb}: data.path: there is no file or folder nowhere/at/all")
    assert not (tmp_path / "outputs").exists()
