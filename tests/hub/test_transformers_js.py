from pathlib import Path

import pytest

from hub import transformers_js
from hub.transformers_js import compare_transformers_js, require_transformers_js
from run.errors import UserError
from run.folder import RunFolder


def test_require_transformers_js__without_node_or_the_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda _: "/bin/node")
    with pytest.raises(UserError, match=r"holds no @huggingface/transformers: run `npm install"):
        require_transformers_js(str(tmp_path))
    (tmp_path / "node_modules" / "@huggingface" / "transformers").mkdir(parents=True)
    require_transformers_js(str(tmp_path))
    monkeypatch.setattr("shutil.which", lambda _: None)
    with pytest.raises(UserError, match="node is not installed"):
        require_transformers_js(str(tmp_path))


def test_compare_transformers_js__node_that_does_not_end(
    finished_run: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "node_modules" / "@huggingface" / "transformers").mkdir(parents=True)
    node = tmp_path / "node"
    node.write_text("#!/bin/sh\nexec sleep 60\n", encoding="utf-8")
    node.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    monkeypatch.setattr(transformers_js, "SECONDS", 0.2)
    with pytest.raises(UserError, match=r"did not end within 0\.2 s: leave the key out"):
        compare_transformers_js(finished_run.release / "mini-onnx", str(tmp_path))
