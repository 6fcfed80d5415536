from dataclasses import dataclass, field
from typing import Any

import pytest

from run.overrides import override


@dataclass
class Fit:
    lr: float = 0.1


@dataclass
class Student:
    name: str
    fit: Fit = field(default_factory=Fit)


@dataclass
class Root:
    students: list[Student]
    fit: Fit
    more: Fit | None = None
    title: str = ""
    others: list[Student] = field(default_factory=list)
    formats: list[str] = field(default_factory=list)


def values() -> dict[str, Any]:
    return {
        "students": [{"name": "a"}, {"name": "b", "fit": {"lr": 1}}],
        "fit": {"lr": 1},
        "more": None,
        "formats": ["x"],
    }


def overridden(*given: str) -> tuple[dict[str, Any], dict[str, str], list[str]]:
    into, texts = values(), {"fit.lr": "1", "formats[0]": "x"}
    return into, texts, override(Root, into, texts, given)


@pytest.mark.parametrize(
    ("given", "place", "value"),
    [
        (["--fit.lr", "2"], ("fit", "lr"), 2),
        (["--fit.lr=2"], ("fit", "lr"), 2),
        (["--fit.lr", "-2"], ("fit", "lr"), -2),
        (["--fit.lr", "1e-3"], ("fit", "lr"), 1e-3),
        (["--fit.lr="], ("fit", "lr"), None),
        (["--students[0].fit.lr", "2"], ("students", 0, "fit", "lr"), 2),
        (["--students[1].fit.lr=2"], ("students", 1, "fit", "lr"), 2),
        (["--students[b].fit.lr=2"], ("students", 1, "fit", "lr"), 2),
        (["--others[0].fit.lr=2"], ("others", 0, "fit", "lr"), 2),
        (["--students[1].name", "007"], ("students", 1, "name"), "007"),
        (["--students[1]", "{name: c}"], ("students", 1), {"name": "c"}),
        (["--students", "[{name: c}]"], ("students",), [{"name": "c"}]),
        (["--more.lr", "2"], ("more", "lr"), 2),
        (["--more", "null"], ("more",), None),
        (["--title", "a: b"], ("title",), "a: b"),
        (["--title=--a=b"], ("title",), "--a=b"),
        (["--formats", "[y, z]"], ("formats",), ["y", "z"]),
        (["--formats[0]", "y"], ("formats", 0), "y"),
        (["--fit.lr", "2", "--fit.lr", "3"], ("fit", "lr"), 3),
    ],
)
def test_override__puts_a_value_in_its_place(given: list[str], place: tuple[str | int, ...], value: Any) -> None:
    found, _, problems = overridden(*given)
    assert problems == []
    for key in place:
        found = found[key]  # type: ignore[index]
    assert found == value


def test_override__leaves_the_rest_alone() -> None:
    found, _, _ = overridden("--students[0].fit.lr", "2")
    assert found == {**values(), "students": [{"name": "a", "fit": {"lr": 2}}, values()["students"][1]]}


def test_override__notes_what_is_written() -> None:
    _, texts, _ = overridden("--fit.lr", "yes", "--formats", "[no, {a: 1}]", "--students[0].name", "1.0")
    assert texts == {
        "fit.lr": "yes",
        "formats[0]": "no",
        "formats[1].a": "1",
        "students[0].name": "1.0",
    }


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        (["stray"], "stray is neither a key nor a value of one: keys begin with --"),
        (["--fit.lr"], "--fit.lr has no value: write --fit.lr VALUE"),
        (["--fit.lr", "--title", "x"], "--fit.lr has no value: write --fit.lr VALUE"),
        (["--fit.lrr", "1"], "there is no key fit.lrr; did you mean fit.lr?"),
        (["--titel=x"], "there is no key titel; did you mean title?"),
        (["--name=x"], "there is no key name; did you mean students[0].name?"),
        (["--title.x=x"], "there is no key title.x"),
        (["--=x"], "there is no key "),
        (["--students.name", "x"], "students is a list: write --students[0].name for the first of it"),
        (["--students[2].name", "x"], "there is no students[2]"),
        (["--students[c].name", "x"], "there is no students[c]; names there: a, b"),
        (["--students[].name", "x"], "students is a list: write --students[0].name"),
        (["--others[c].name", "x"], "there is no others[c]"),
        (["--students[0][0]", "x"], "there is no students[0][0]"),
        (["--fit[0].lr", "x"], "there is no fit[0]"),
        (["--fit.lr", "[1"], "fit.lr is [1: it is not YAML: line 1: "),
    ],
)
def test_override__says_what_is_wrong(given: list[str], problem: str) -> None:
    found, _, problems = overridden(*given)
    assert problems[0].startswith(problem)
    assert len(problems) == 1
    assert found == {**values(), **({"title": "x"} if "--title" in given else {})}


def test_override__of_a_section_that_is_something_else() -> None:
    into: dict[str, Any] = {"fit": 5}
    assert override(Root, into, {}, ["--fit.lr=1", "--formats[0]=x"]) == [
        "there is no fit.lr: fit is 5",
        "there is no formats[0]",
    ]
    assert into == {"fit": 5}
