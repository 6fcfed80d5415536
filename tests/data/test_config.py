from dataclasses import asdict

from data.config import ViewsConfig


def test_views__drawing_is_what_views_look_like() -> None:
    plain = ViewsConfig()
    assert ViewsConfig(count=3).drawing() == plain.drawing()
    assert ViewsConfig(brightness=0.1).drawing() != plain.drawing()
    assert asdict(plain).keys() - plain.drawing().keys() == {"count"}
