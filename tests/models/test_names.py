from pathlib import Path

import pytest
import timm

from models.names import architectures, require_name
from run.errors import UserError


def test_architectures__are_those_that_timm_registers() -> None:
    assert set(timm.list_models()) <= architectures()
    assert all(map(timm.is_model, architectures()))


@pytest.mark.parametrize(
    ("name", "pretrained"),
    [
        ("eva02_base_patch14_448.mim_in22k_ft_in22k_in1k", True),
        ("timm/test_vit", False),
        ("someone/a_model", True),
        ("hf-hub:someone/a_model", True),
    ],
)
def test_require_name__one_of_timm_or_of_elsewhere(name: str, *, pretrained: bool) -> None:
    require_name(name, "teacher", pretrained=pretrained)


def test_require_name__a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine").mkdir()
    for name in ("mine", "local-dir:mine", "./mine", str(tmp_path / "mine")):
        require_name(name, "teacher", pretrained=True)
    for name in ("local-dir:yours", "./yours", str(tmp_path / "yours"), "deep/in/yours"):
        with pytest.raises(UserError, match=r"teacher\.model: there is no folder .*yours"):
            require_name(name, "teacher", pretrained=True)
    with pytest.raises(UserError, match="timm has no 'mine'"):
        require_name("mine", "teacher", pretrained=False)


@pytest.mark.parametrize(
    "name", ["mobilenetv4_conv_smal", "hf-hub:mobilenetv4_conv_smal", "mobilenetv4_conv_smal.e2400"]
)
def test_require_name__the_nearest(name: str) -> None:
    with pytest.raises(UserError, match=r"students\[0\]\.model: timm has no .*; near: mobilenetv4_conv_small"):
        require_name(name, "students[0]", pretrained=True)
