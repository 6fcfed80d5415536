import json
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from safetensors.torch import load_file, save_file

from models.building import build
from models.classifier import Classifier
from models.foreign import label_names
from run.errors import UserError
from tests.support import TWO


def written(folder: Path, channels: int = 3, *, said: bool = True) -> Path:
    """A timm checkpoint folder for images of so many channels, which its config may say."""
    torch.manual_seed(0)
    model = timm.create_model("test_vit", num_classes=5, in_chans=channels)
    folder.mkdir(parents=True)
    save_file({name: value.contiguous() for name, value in model.state_dict().items()}, folder / "model.safetensors")
    cfg = {"input_size": [channels if said else 3, 160, 160], "num_classes": 5, "first_conv": "patch_embed.proj"}
    cfg |= {"classifier": "head", "mean": [0.5] * channels, "std": [0.5] * channels}
    args = {"model_args": {"in_chans": channels}} if said else {}
    (folder / "config.json").write_text(
        json.dumps({"architecture": "test_vit", "num_classes": 5, "pretrained_cfg": cfg, **args})
    )
    return folder


def built(folder: Path) -> Classifier:
    return build(str(folder), TWO, key="teacher", pretrained=True)


@pytest.mark.parametrize("said", [True, False])
@pytest.mark.parametrize(("channels", "words"), [(1, "1 channel"), (4, "4 channels")])
def test_build__a_checkpoint_for_images_of_other_channels(
    tmp_path: Path, channels: int, words: str, said: bool
) -> None:
    folder = written(tmp_path / "gray", channels, said=said)
    with pytest.raises(UserError) as error:
        built(folder)
    assert str(error.value) == (
        f"teacher.model: {folder} takes images of {words}, and images here have 3: choose a checkpoint with in_chans 3"
    )


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "module._orig_mod."])
def test_build__weights_as_wrappers_save_them(tmp_path: Path, prefix: str) -> None:
    folder = written(tmp_path / "model")
    plain = built(folder).model.state_dict()["patch_embed.proj.weight"]
    weights = load_file(folder / "model.safetensors")
    save_file({f"{prefix}{name}": tensor for name, tensor in weights.items()}, folder / "model.safetensors")
    torch.testing.assert_close(built(folder).model.state_dict()["patch_embed.proj.weight"], plain)


def test_build__weights_of_8_bits(tmp_path: Path) -> None:
    folder = written(tmp_path / "model")
    weights = load_file(folder / "model.safetensors")
    weights["norm.weight"] = weights["norm.weight"].to(torch.float8_e4m3fn)
    save_file(weights, folder / "model.safetensors")
    assert built(folder).model.state_dict()["norm.weight"].isfinite().all()


def no_numbers(folder: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    weights["norm.weight"][3] = torch.nan
    save_file(weights, folder / "model.safetensors")


def changed(**keys: Any) -> Any:
    def change(folder: Path) -> None:
        config = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps({**config, **keys}))

    return change


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (
            lambda folder: (folder / "model.safetensors").rename(folder / "model-00001-of-00002.safetensors"),
            "the weights are in 1 files: save them as one",
        ),
        (no_numbers, r"values that are no numbers, the first in norm\.weight"),
        (changed(architecture="test_vitt"), "timm has no 'test_vitt'; near: test_vit"),
        (changed(pretrained_cfg={"first_conv": None}), r"does not say the size of its images"),
        (changed(model_args={"depth": 3}), "does not hold the weights of test_vit: .*Unexpected key"),
        (changed(model_args={"no_such": 3}), "model_args has 'no_such', which is not taken from a checkpoint"),
        (changed(label_names=["a", "b"]), "does not hold the weights of test_vit: .*size mismatch for head"),
    ],
)
def test_build__checkpoints_that_are_not_what_they_say(tmp_path: Path, spoil: Any, message: str) -> None:
    folder = written(tmp_path / "model")
    spoil(folder)
    with pytest.raises(UserError, match=rf"(^teacher\.model|config\.json): .*{message}") as error:
        built(folder)
    assert len(str(error.value)) < 600


@pytest.mark.parametrize(
    ("config", "names"),
    [
        ({"label_names": ["x", "y"]}, ("x", "y")),
        ({"id2label": {str(index): f"n{index}" for index in range(11)}}, tuple(f"n{index}" for index in range(11))),
        ({"id2label": {"1": "x", "0": "y"}}, ("y", "x")),
        ({"id2label": {"first": "x"}}, None),
        ({"label_names": "x, y"}, None),
        ({}, None),
    ],
)
def test_label_names__in_the_order_of_outputs(config: dict[str, Any], names: tuple[str, ...] | None) -> None:
    assert label_names(config) == names
