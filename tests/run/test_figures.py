import pytest

from run.figures import between, bounded, percent


@pytest.mark.parametrize(
    ("value", "side", "rounded"),
    [(76.96, "at least", 76.9), (76.91, "at most", 77.0), (29.0, "at least", 29.0), (-30.31, "at least", -30.4)],
)
def test_bounded__never_in_its_own_favor(value: float, side: str, rounded: float) -> None:
    assert bounded(value, side) == rounded


def test_bounded__what_floating_point_loses_is_no_digit() -> None:
    assert all(bounded(100 * (whole / 100), side) == whole for whole in range(101) for side in ("at least", "at most"))


@pytest.mark.parametrize(
    ("share", "text"),
    [(1.0, "100.0%"), (1999 / 2000, "99.9%"), (0.87302, "87.3%"), (1 / 5000, "<0.1%"), (0.0005, "0.1%"), (0.0, "0.0%")],
)
def test_percent__only_all_is_all_and_only_none_is_none(share: float, text: str) -> None:
    assert percent(share) == text


def test_percent__a_bound() -> None:
    assert percent(0.7699, "at least") == "76.9%"
    assert percent(0.00001, "at most", digits=2) == "0.01%"
    assert between(0.61999, 0.84201) == "61.9–84.3"
