import math
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data.config import ViewsConfig
from data.views import View, ViewSpec
from tests.support import picture, pixels

CONFIG = ViewsConfig(vertical_flip=True)
SPEC = ViewSpec.of(CONFIG)
IDS = [f"image-{number}" for number in range(400)]


def test_draw__view_zero_is_the_whole_image_unchanged() -> None:
    assert SPEC.draw("any", 0, 640, 480) == View(box=(0, 0, 640, 480))
    image = picture()
    assert np.array_equal(pixels(View(box=(0, 0, 40, 30)).finish(image)), pixels(image))


def test_draw__does_not_depend_on_order() -> None:
    keys = [(image, index) for image in IDS[:20] for index in range(5)]
    forwards = {key: SPEC.draw(*key, 300, 200) for key in keys}
    backwards = {key: ViewSpec.of(CONFIG).draw(*key, 300, 200) for key in reversed(keys)}
    assert forwards == backwards
    drawn = [view for (_, index), view in forwards.items() if index]
    assert len(set(drawn)) == len(drawn)


def test_draw__is_the_same_in_another_process() -> None:
    script = (
        "from data.config import ViewsConfig; from data.views import ViewSpec\n"
        "spec = ViewSpec.of(ViewsConfig(vertical_flip=True))\n"
        "print([spec.draw('image-1', index, 300, 200) for index in range(4)])"
    )
    command = [sys.executable, "-c", script]
    root = Path(__file__).parents[2]
    printed = subprocess.run(command, capture_output=True, text=True, check=True, cwd=root).stdout
    assert printed.strip() == str([SPEC.draw("image-1", index, 300, 200) for index in range(4)])


def test_draw__never_moves() -> None:
    """What was drawn once is drawn for ever: caches and published students depend on it."""
    view = SPEC.draw("image-1", 1, 300, 200)
    assert view.box == (3, 0, 282, 200)
    assert (view.mirror, view.flip) == (False, False)
    assert (view.brightness, view.contrast) == pytest.approx((0.9297733502987, 1.1075854481434457))


@pytest.mark.parametrize(
    ("image", "index", "size", "view"),
    [
        (
            "image-2",
            1,
            (300, 200),
            View((1, 19, 297, 200), True, True, 1.0759046376013954, 0.8554076819536225, 1.0801091254655644),
        ),
        (
            "image-4",
            7,
            (97, 53),
            View((9, 0, 90, 53), False, False, 0.9380240882395218, 0.8015214322803916, 1.157745469225766),
        ),
        (
            "image-7",
            3,
            (1000, 333),
            View((237, 37, 977, 331), True, False, 0.8542714974049328, 1.1311842922787978, 0.9584815486217251),
        ),
    ],
)
def test_draw__every_number_has_its_place(image: str, index: int, size: tuple[int, int], view: View) -> None:
    """Each of the nine drawn numbers goes where it always went: a top that follows left is still a valid crop."""
    assert SPEC.draw(image, index, *size) == view


@settings(deadline=None)
@given(
    width=st.integers(1, 5000),
    height=st.integers(1, 5000),
    image=st.text(max_size=20),
    index=st.integers(0, 10_000),
    scale=st.tuples(st.floats(0.01, 1.0), st.floats(0.01, 1.0)).map(lambda pair: (min(pair), max(pair))),
    ratio=st.tuples(st.floats(0.1, 10), st.floats(0.1, 10)).map(lambda pair: (min(pair), max(pair))),
)
def test_draw__boxes_lie_inside(
    width: int, height: int, image: str, index: int, scale: tuple[float, float], ratio: tuple[float, float]
) -> None:
    spec = ViewSpec.of(ViewsConfig(crop_scale=scale, crop_ratio=ratio))
    view = spec.draw(image, index, width, height)
    left, top, right, bottom = view.box
    assert 0 <= left < right <= width
    assert 0 <= top < bottom <= height
    for factor in (view.brightness, view.contrast, view.saturation):
        assert 0.8 <= factor <= 1.2


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (9, 1)])
def test_draw__a_line_of_pixels_keeps_one(size: tuple[int, int]) -> None:
    for view in (SPEC.draw(image, 1, *size) for image in IDS):
        assert min(view.box[2] - view.box[0], view.box[3] - view.box[1]) == 1
        assert view.box[2] <= size[0]
        assert view.box[3] <= size[1]


def test_draw__follows_its_distribution() -> None:
    views = [SPEC.draw(image, 3, 10_000, 10_000) for image in IDS]
    boxes = np.array([view.box for view in views])
    widths, heights = (boxes[:, 2:] - boxes[:, :2]).T / 10_000
    shares, ratios = widths * heights, widths / heights
    assert shares.max() <= 1.0
    assert np.mean(shares) == pytest.approx(0.74, abs=0.03)  # a little below 0.75: crops do not leave the image
    assert 0.75 - 1e-3 <= ratios.min() < 0.8
    assert 1.25 < ratios.max() <= 1.333 + 1e-3
    for flags in ([view.mirror for view in views], [view.flip for view in views]):
        assert np.mean(flags) == pytest.approx(0.5, abs=0.1)
    for factors in ([view.brightness for view in views], [view.contrast for view in views]):
        assert np.mean(factors) == pytest.approx(1, abs=0.03)
        assert np.std(factors) == pytest.approx(0.4 / math.sqrt(12), abs=0.02)
    centers = (boxes[:, :2] + boxes[:, 2:]).mean(0) / 2
    assert centers == pytest.approx([5000, 5000], abs=250)


def test_draw__no_flips_unless_asked_for() -> None:
    spec = ViewSpec.of(ViewsConfig(horizontal_flip=False))
    assert not any(view.mirror or view.flip for view in (spec.draw(image, 1, 9, 9) for image in IDS))


def test_finish__flips_and_colors() -> None:
    image = picture()
    box = (0, 0, *image.size)
    assert np.array_equal(pixels(View(box, mirror=True).finish(image)), pixels(image)[:, ::-1])
    assert np.array_equal(pixels(View(box, flip=True).finish(image)), pixels(image)[::-1])
    darker = pixels(View(box, brightness=0.5).finish(image))
    assert np.abs(darker - pixels(image) / 2).max() <= 1
    brighter = pixels(View(box, brightness=2.0).finish(image))
    assert np.array_equal(brighter, np.minimum(2 * pixels(image), 255))
    gray = pixels(View(box, saturation=0.0).finish(image))
    assert (gray == gray[..., :1]).all()
    assert pixels(View(box, contrast=0.5).finish(image)).std() < pixels(image).std() * 0.6


def test_digest__names_the_distribution_and_not_the_count() -> None:
    assert ViewSpec.of(replace(CONFIG, count=99)).digest == SPEC.digest
    changed: dict[str, Any] = {
        "crop_scale": (0.4, 1.0),
        "crop_ratio": (0.5, 2.0),
        "horizontal_flip": False,
        "vertical_flip": False,
        "brightness": 0.1,
        "contrast": 0.1,
        "saturation": 0.1,
    }
    assert changed.keys() == asdict(SPEC).keys() - {"working_size"}
    digests = {ViewSpec.of(replace(CONFIG, **{key: value})).digest for key, value in changed.items()}
    assert len(digests | {SPEC.digest}) == len(changed) + 1


def test_digest__never_moves_and_names_what_views_are_cut_from() -> None:
    """Caches made by earlier versions are found by it."""
    working = ViewSpec.of(CONFIG, 224)
    assert SPEC.digest == "a94ce3cadd4f0de5e56a92dfb46d24a942d41a074c477f300706d2ff14d832ab"
    assert working.digest == "82a90e2b61f2aa3417e68c23532b2ab0d6a1700d26d9e0342e857280ac483638"
    assert working.draw("image-1", 1, 300, 200) == SPEC.draw("image-1", 1, 300, 200)
