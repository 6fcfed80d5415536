from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

import pocketeva
from data.config import ViewsConfig
from run.errors import UserError
from tests import finished


@pytest.mark.parametrize(
    ("settings", "epochs", "live_from"),
    [
        ({"count": 4}, 10, 10),
        ({"count": "live"}, 10, 0),
        ({"live": 1.0}, 10, 0),
        ({"live": 0.25}, 8, 6),
        ({"live": 0.25}, 10, 7),
        ({"live": 0.1}, 30, 27),
        ({"live": 0.1}, 2, 1),
    ],
)
def test_views__which_epochs_are_live(settings: dict[str, Any], epochs: int, live_from: int) -> None:
    assert ViewsConfig(**settings).live_from(epochs) == live_from


def test_views__live_ones_come_after_those_that_may_be_cached() -> None:
    assert ViewsConfig(count=5, live=0.5).cached == 5
    assert ViewsConfig(count="live").cached == 1, "the whole image, which a head is trained on"


def test_views__drawing_is_what_views_look_like() -> None:
    plain = ViewsConfig()
    assert ViewsConfig(count="live", mixup=0.2).drawing() == plain.drawing()
    assert ViewsConfig(brightness=0.1).drawing() != plain.drawing()
    assert asdict(plain).keys() - plain.drawing().keys() == {"count", "live", "mixup"}


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["--views.mixup=0.2"], "views.mixup is 0.2; it must be 0 where views.count is 2 and views.live is 0"),
        (["--views.count=live", "--views.live=0.5"], "views.live is 0.5; it must be 0 where views.count is live"),
        (["--views.count=alive"], "views.count is alive; it must be"),
        (["--views.count=0"], "views.count is 0; it must be 1 or more, or live"),
    ],
)
def test_views__contradictions_name_both_keys(tmp_path: Path, overrides: list[str], message: str) -> None:
    path = finished.write_config(tmp_path, finished.settings())
    with pytest.raises(UserError) as error:
        pocketeva.read_config(path, overrides)
    assert message in str(error.value)


def test_views__live_parses(tmp_path: Path) -> None:
    path = finished.write_config(tmp_path, finished.settings())
    assert pocketeva.read_config(path, ["--views.count=live", "--views.mixup=0.2"]).views.count == "live"
    mixed = pocketeva.read_config(path, ["--views.count=6", "--views.live=0.25"]).views
    assert (mixed.count, mixed.live) == (6, 0.25)
