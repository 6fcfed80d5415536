import pytest

from export import timing
from export.timing import race, take_turns


@pytest.fixture(autouse=True)
def cold(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timing, "WARM_UP", 0)


def test_race__calls_take_turns() -> None:
    turns: list[str] = []
    medians = race([lambda: turns.append("a"), lambda: turns.append("b")], rounds=6)
    assert turns == ["a", "b"] * 6
    assert len(medians) == 2


def test_take_turns__five_rounds_although_time_is_up() -> None:
    (taken,) = take_turns([lambda: None], seconds=0)
    assert len(taken) == 5


def test_take_turns__warm_up_is_not_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timing, "WARM_UP", 2)
    calls: list[int] = []
    (taken,) = take_turns([lambda: calls.append(0)], rounds=7)
    assert (len(calls), len(taken)) == (9, 7)
