import json
import re

import pytest

from run.text import code_span, defused, escaped, redacted

STEERING = ["\x1b[2J", "\x07", "\x00", "\r", "\x7f", "\x9b31m", "\u202e", "\u2066", "\u200f", "\u2028", "\udc80"]


@pytest.mark.parametrize("text", STEERING)
def test_escaped__what_steers_a_terminal(text: str) -> None:
    shown = escaped(f"a{text}é😀\n\tb")
    assert re.fullmatch(r"a\\u[0-9a-f]{4}\S{0,3}é😀\n\tb", shown)


def test_escaped__json_keeps_its_value() -> None:
    value = ["".join(STEERING), "é", "\n"]
    text = json.dumps(value, ensure_ascii=False)
    assert escaped(text).isprintable()
    assert json.loads(escaped(text)) == value


def test_escaped__a_name_cannot_start_a_line() -> None:
    assert escaped("a\nb\tc", one_line=True) == r"a\u000ab\u0009c"


@pytest.mark.parametrize(
    ("text", "safe"),
    [
        ("https://user:word@host/a.jpg: gone", "https://***@host/a.jpg: gone"),
        ("https://user:w@rd@host/a.jpg", "https://***@host/a.jpg"),
        ("https://h/a#access_token=abc", "https://h/a#access_token=***"),
        ("s3://key@bucket/a", "s3://***@bucket/a"),
        (
            "https://h/a?X-Amz-Credential=A%2Fb&X-Amz-Signature=00ff&w=1 x",
            "https://h/a?X-Amz-Credential=***&X-Amz-Signature=***&w=1 x",
        ),
        ("https://h/a?sv=1&sig=ab%2Bc", "https://h/a?sv=1&sig=***"),
        ('{"uri": "https://h/?token=abc", "n": 1}', '{"uri": "https://h/?token=***", "n": 1}'),
        ("https://labels/data/local-files/?d=a.jpg", "https://labels/data/local-files/?d=a.jpg"),
        ("hf://datasets/org/name@main/a.jpg", "hf://datasets/org/name@main/a.jpg"),
        ("me@host writes ?key=1", "me@host writes ?key=1"),
    ],
)
def test_redacted__credentials_and_signatures_of_addresses(text: str, safe: str) -> None:
    assert redacted(text) == safe


def test_code_span__no_name_is_markup() -> None:
    assert code_span("a`</b>\n# big\u202e") == r"`a'</b> # big\u202e`"


@pytest.mark.parametrize("cell", ["=1+1", "+1", "-1", "@x", "\tx"])
def test_defused__formulas(cell: str) -> None:
    assert defused(cell) == f"'{cell}"
    assert defused(f"a{cell}") == f"a{cell}"
