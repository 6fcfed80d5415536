import pytest

from start.kinds import guess_kind


@pytest.mark.parametrize(
    ("names", "ordered"),
    [
        (["medium", "none", "high", "low"], ["none", "low", "medium", "high"]),
        (["2", "0", "1"], ["0", "1", "2"]),
        (["grade 3", "grade 1", "grade 2"], ["grade 1", "grade 2", "grade 3"]),
        (["2_severe", "0_none", "1_mild"], ["0_none", "1_mild", "2_severe"]),
        (
            ["defective", "functional", "possibly defective", "probably defective"],
            ["functional", "possibly defective", "probably defective", "defective"],
        ),
        (["severe", "moderate", "very severe", "mild"], ["mild", "moderate", "severe", "very severe"]),
    ],
)
def test_guess_kind__scales(names: list[str], ordered: list[str]) -> None:
    assert guess_kind(names, exclusive=True)[:2] == ("ordinal", ordered)


@pytest.mark.parametrize(
    ("names", "ordered"),
    [
        (["dog", "cat", "bird"], ["bird", "cat", "dog"]),
        (["good", "bad"], ["bad", "good"]),
        (["cat1", "dog2", "bird3"], ["bird3", "cat1", "dog2"]),
        (["1", "2", "4"], ["1", "2", "4"]),
        ([str(digit) for digit in range(10)], [str(digit) for digit in range(10)]),
        (["good", "ok", "bad"], ["bad", "good", "ok"]),
        (["a10", "a2", "b1"], ["a2", "a10", "b1"]),
    ],
)
def test_guess_kind__no_scale(names: list[str], ordered: list[str]) -> None:
    assert guess_kind(names, exclusive=True)[:2] == ("nominal", ordered)


def test_guess_kind__several_at_a_time() -> None:
    assert guess_kind(["2", "1", "3"], exclusive=False)[:2] == ("multilabel", ["1", "2", "3"])
