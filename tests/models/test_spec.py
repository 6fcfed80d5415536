import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
from PIL import Image

from data.decode import decode
from data.resize import resize, resize_height, resize_width
from data.views import View
from models.classifier import normalize
from models.spec import InputSpec
from run.errors import UserError
from tests.support import elpv_rows, picture, pixels, uint8_batch

IMAGENET: dict[str, Any] = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}
CLIP_MEAN, CLIP_STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)


def spec(**changes: Any) -> InputSpec:
    return InputSpec(**{"size": 24, "mean": (0.5, 0.4, 0.3), "std": (0.2, 0.25, 0.3), **changes})


def test_from_pretrained_cfg__eva02_at_448() -> None:
    cfg = timm.get_pretrained_cfg("eva02_base_patch14_448.mim_in22k_ft_in22k_in1k").to_dict()
    assert cfg["interpolation"] == "bicubic"
    assert InputSpec.from_pretrained_cfg(cfg) == InputSpec(448, CLIP_MEAN, CLIP_STD, "squash", 1.0)


def test_from_pretrained_cfg__a_squashed_image_is_not_cropped() -> None:
    cfg = timm.get_pretrained_cfg("eva02_base_patch14_448.mim_in22k_ft_in22k_in1k").to_dict()
    assert InputSpec.from_pretrained_cfg({**cfg, "crop_pct": 0.9}).crop_pct == 1.0


def test_from_pretrained_cfg__a_convolutional_one() -> None:
    cfg = timm.get_pretrained_cfg("mobilenetv4_conv_small.e2400_r224_in1k").to_dict()
    found = InputSpec.from_pretrained_cfg(cfg)
    assert (found.size, found.mode, found.crop_pct) == (224, "center", cfg["crop_pct"])
    assert (found.mean, found.std) == (cfg["mean"], cfg["std"])


@pytest.mark.parametrize("given", [spec(), spec(mode="center", crop_pct=0.875), spec(size=448)])
def test_to_pretrained_cfg__round_trip(given: InputSpec) -> None:
    assert InputSpec.from_pretrained_cfg(given.to_pretrained_cfg()) == given


def test_digest__names_every_part() -> None:
    others = [spec(size=32), spec(mean=(0.5, 0.4, 0.2)), spec(std=(0.2, 0.2, 0.3)), spec(mode="center", crop_pct=0.9)]
    assert len({given.digest for given in [spec(), *others]}) == 5
    assert spec().digest == spec(crop_pct=1.0).digest


def test_with_size_and_squashed() -> None:
    center = spec(mode="center", crop_pct=0.9)
    assert center.with_size(None) is center
    assert center.with_size(99) == spec(mode="center", crop_pct=0.9, size=99)
    assert center.squashed() == spec()


@pytest.mark.parametrize("size", [(300, 200), (200, 300), (7, 5), (24, 24), (1, 90)])
def test_render__squash_is_two_passes_width_first(size: tuple[int, int]) -> None:
    image = picture(*size)
    first = image.resize((24, size[1]), Image.Resampling.BICUBIC)
    expected = first.resize((24, 24), Image.Resampling.BICUBIC)
    rendered = spec().render(image)
    assert rendered.shape == (24, 24, 3)
    assert rendered.dtype == np.uint8
    assert np.array_equal(rendered, pixels(expected))
    assert np.array_equal(rendered, spec().render(image, View((0, 0, *size))))


def test_render__a_view_is_cropped_resized_then_finished() -> None:
    image = picture(90, 60)
    view = View((10, 20, 70, 55), mirror=True, brightness=0.9)
    expected = view.finish(resize(image.crop(view.box), 24, 24))
    assert np.array_equal(spec().render(image, view), pixels(expected))
    center = spec(mode="center", crop_pct=0.9)
    assert np.array_equal(center.render(image, view), pixels(expected))


def test_render__the_view_of_a_whole_image_is_centerd_then_finished() -> None:
    image, center = picture(90, 60), spec(mode="center", crop_pct=0.9)
    whole = View((0, 0, 90, 60), mirror=True, contrast=1.1)
    expected = whole.finish(Image.fromarray(center.render(image)))
    assert np.array_equal(center.render(image, whole), pixels(expected))
    assert not np.array_equal(center.render(image, whole), spec().render(image, whole))


@pytest.mark.parametrize("crop_pct", [0.875, 0.95, 1.0])
@pytest.mark.parametrize("size", [(300, 300), (301, 200), (640, 201), (160, 160), (97, 96)])
def test_render__center_is_timms_own_evaluation_transform(size: tuple[int, int], crop_pct: float) -> None:
    """Wide images only: for tall ones Pillow takes the passes of one call in another order."""
    given = InputSpec(160, **IMAGENET, mode="center", crop_pct=crop_pct)
    image = decode(elpv_rows()[0][0].read_bytes()).resize(size)
    transform = timm.data.create_transform(
        input_size=(3, 160, 160), interpolation="bicubic", crop_pct=crop_pct, crop_mode="center", **IMAGENET
    )
    ours = torch.from_numpy(given.normalize(given.render(image)))
    difference = (ours - transform(image)).abs() * 255 * 0.225
    assert float(difference.max()) <= 1.5, "at most one step of eight bits"
    assert float(difference.mean()) < 0.05


def test_render__squash_is_timms_own_too() -> None:
    given = InputSpec(160, **IMAGENET)
    image = decode(elpv_rows()[1][0].read_bytes()).resize((400, 250))
    transform = timm.data.create_transform(
        input_size=(3, 160, 160), interpolation="bicubic", crop_pct=1.0, crop_mode="squash", **IMAGENET
    )
    difference = (torch.from_numpy(given.normalize(given.render(image))) - transform(image)).abs() * 255 * 0.225
    assert float(difference.max()) <= 1.5


def test_normalize__numpy_and_torch_agree() -> None:
    batch = uint8_batch(3, 24)
    ours = spec().normalize(batch.permute(0, 2, 3, 1).numpy())
    theirs = normalize(batch, spec())
    assert ours.shape == (3, 3, 24, 24)
    assert ours.dtype == np.float32
    np.testing.assert_allclose(ours, theirs.numpy(), rtol=0, atol=1e-6)
    expected = (batch[0, 1].double() / 255 - 0.4) / 0.25
    np.testing.assert_allclose(ours[0, 1], expected.numpy(), atol=1e-6)


def test_module__needs_no_torch() -> None:
    script = "import sys, models.spec, data.decode, data.views; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], cwd=Path(__file__).parents[2], check=False).returncode == 0


def test_to_pretrained_cfg__in_timms_words() -> None:
    assert spec(mode="center", crop_pct=0.875).to_pretrained_cfg() == {
        "input_size": [3, 24, 24],
        "interpolation": "bicubic",
        "crop_pct": 0.875,
        "crop_mode": "center",
        "mean": [0.5, 0.4, 0.3],
        "std": [0.2, 0.25, 0.3],
    }


def test_digest__never_moves() -> None:
    """Caches made by earlier versions are found by it."""
    assert spec().digest == "e8520bb71465b41451f6cdb196afdaec8da0472385a3bfeb4d70f73cd16b68b8"


@pytest.mark.parametrize("size", [(30, 47), (9, 300), (3, 2000), (50, 31), (1, 40)])
def test_resize_height__a_part_of_a_pass_is_pillows(size: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), np.uint8))
    for height in (24, 37, 7 * size[1] + 3):
        top = (height - 24) // 2
        expected = image.resize((size[0], height), Image.Resampling.BICUBIC).crop((0, top, size[0], top + 24))
        turn = Image.Transpose.TRANSPOSE
        with monkeypatch.context() as patch:
            patch.setattr("data.resize.LINES", 0)
            found = resize_height(image, height, top, 24)
            turned = resize_width(image.transpose(turn), height, top, 24)
        assert np.array_equal(np.asarray(found), np.asarray(expected))
        assert np.array_equal(np.asarray(turned.transpose(turn)), np.asarray(expected))


PEAK = """
import sys, numpy as np
from PIL import Image
from tests.data.decode_cases import peak_mib
from models.spec import InputSpec
from run.errors import UserError
import data.decode
before = peak_mib()
for mode, crop_pct in (("squash", 1.0), ("center", 0.8)):
    spec = InputSpec(448, (0.5,) * 3, (0.2,) * 3, mode, crop_pct)
    for width, height in ((1, 65_535), (65_535, 1), (1, 20_000), (400, 65_535)):
        image = Image.frombytes("RGB", (width, height), b"0" * (3 * width * height))
        assert spec.render(image).shape == (448, 448, 3)
print(peak_mib() - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_render__extreme_aspects_take_little_memory() -> None:
    command = [sys.executable, "-c", PEAK]
    root = Path(__file__).parents[2]
    done = subprocess.run(command, check=True, cwd=root, capture_output=True, text=True, timeout=300)
    assert float(done.stdout) < 700


@pytest.mark.parametrize(
    "changes",
    [{"size": 5000}, {"size": 0}, {"std": (0.0, 1.0, 1.0)}, {"mean": (float("inf"), 0, 0)}, {"crop_pct": 1.5}],
)
def test_spec__numbers_that_no_model_has(changes: dict[str, Any]) -> None:
    with pytest.raises(UserError):
        spec(**changes)
