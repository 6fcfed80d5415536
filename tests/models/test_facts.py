from pathlib import Path

import pytest

from models.facts import public_name


@pytest.mark.parametrize("name", ["acme/start", "hf-hub:acme/start", "eva02_tiny_patch14_224.mim_in22k", "gone/model"])
def test_public_name__names_of_the_hub_and_timm_stay(name: str) -> None:
    assert public_name(name) == name


def test_public_name__no_folder_of_this_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "models" / "gray").mkdir(parents=True)
    private = ("models/gray", "models", str(tmp_path / "gone"), "~/models/gray", "./gray", "../gray", "a/b/gray")
    assert {public_name(name) for name in private} == {""}
    assert public_name("local-dir:models/gray") == ""
