from pathlib import Path

import pytest

from hub.transformers_js import require_transformers_js
from run.errors import UserError


def test_require_transformers_js__without_node_or_the_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda _: "/bin/node")
    with pytest.raises(UserError, match=r"holds no @huggingface/transformers: run `npm install"):
        require_transformers_js(str(tmp_path))
    (tmp_path / "node_modules" / "@huggingface" / "transformers").mkdir(parents=True)
    require_transformers_js(str(tmp_path))
    monkeypatch.setattr("shutil.which", lambda _: None)
    with pytest.raises(UserError, match="node is not installed"):
        require_transformers_js(str(tmp_path))
