from typing import Any

import pytest

from run.yaml_text import read_yaml


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("", None),
        ("1e-4", 1e-4),
        ("1.0e-4", 1e-4),
        ("+2E5", 2e5),
        (".5e3", 500.0),
        ("0x1e", 30),
        ("e4", "e4"),
        ("1e", "1e"),
        ("1e-3x", "1e-3x"),
        ("0x_", "0x_"),
        ('!!int ""', ""),
        ("2026-13-45", "2026-13-45"),
        ("{a: [1, {b: no}]}", {"a": [1, {"b": False}]}),
        ("a: &x {b: 1}\nc: *x", {"a": {"b": 1}, "c": {"b": 1}}),
        ("a: &x {b: 1, d: 2}\nc: {<<: *x, b: 3}", {"a": {"b": 1, "d": 2}, "c": {"b": 3, "d": 2}}),
    ],
)
def test_read_yaml__values(text: str, value: Any) -> None:
    assert read_yaml(text)[0] == value


def test_read_yaml__says_what_is_written_where() -> None:
    text = "a: 007\nb:\n  - no\n  - {c: 'x', d: ~}"
    assert read_yaml(text)[1] == {"a": "007", "b[0]": "no", "b[1].c": "x", "b[1].d": "~"}
    assert read_yaml("yes")[1] == {"": "yes"}


def test_read_yaml__aliases_share_nothing() -> None:
    value = read_yaml("a: &x {b: [1]}\nc: *x")[0]
    value["c"]["b"].append(2)
    assert value["a"] == {"b": [1]}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\nb: 2\na: 3", r"^line 3: the key a is given twice, first in line 1$"),
        ("x:\n  {b: 2, b: 2}", r"^line 2: the key b is given twice, first in line 2$"),
        ("x:\n  - b: 2\n    'b': 3", r"^line 3: the key b is given twice, first in line 2$"),
        ("a: [1", r"^it is not YAML: line 1: "),
        ("a: b: c", r"^it is not YAML: line 1: "),
        ("a: \x00", r"^it is not YAML: "),
        ("a: !!python/object/apply:os.getcwd []", r"^it is not YAML: line 1: could not determine a constructor"),
        ("a: &x [*x]", r"^line 1: an alias stands inside of what it stands for"),
        ("[" * 5000, r"nested too deeply"),
    ],
)
def test_read_yaml__refuses(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message) as error:
        read_yaml(text)
    assert "\n" not in str(error.value)


def test_read_yaml__refuses_a_few_lines_that_stand_for_billions_of_values() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 12)]
    with pytest.raises(ValueError, match=r"^its aliases make it \d+(,\d+)+ values large; 100,000 are allowed$"):
        read_yaml("\n".join(lines))
