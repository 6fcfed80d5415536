import pytest

from run.errors import listed, plural


@pytest.mark.parametrize(
    ("count", "words", "text"),
    [
        (0, ("image",), "0 images"),
        (1, ("image",), "1 image"),
        (1200, ("image",), "1,200 images"),
        (1, ("image lies", "images lie"), "1 image lies"),
        (2, ("image lies", "images lie"), "2 images lie"),
    ],
)
def test_plural__agrees(count: int, words: tuple[str, ...], text: str) -> None:
    assert plural(count, *words) == text


def test_listed__says_how_many_more() -> None:
    assert listed("abc", limit=2) == "  a\n  b\n  … and 1 more"
    assert listed("ab", limit=2) == "  a\n  b"
