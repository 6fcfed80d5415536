import io
import json

import pytest
from rich.table import Table

from run.console import SafeConsole, console, log, progress

NAME = "sound\x1b]0;mine\x07\u202egpj.exe"
SHOWN = r"sound\u001b]0;mine\u0007\u202egpj.exe"
ADDRESS = "https://me:word@host/a?sig=f00"


def test_console__names_steer_no_terminal_and_secrets_stay() -> None:
    stream = io.StringIO()
    safe = SafeConsole(file=stream, width=200, force_terminal=True, highlight=False, markup=False, emoji=False)
    table = Table("label", NAME)
    table.add_row(NAME, ADDRESS)
    safe.print(table)
    safe.print(f"{NAME}: {ADDRESS}", style="red")
    safe.out(json.dumps({"label": NAME, "path": ADDRESS}, ensure_ascii=False), highlight=False)
    said = stream.getvalue()
    assert said.count(r"\u202egpj.exe") == 4
    assert not {"\x07", "\u202e"}.intersection(said)
    assert "\x1b]" not in said
    assert "word" not in said
    assert "f00" not in said
    assert json.loads(said.splitlines()[-1])["label"] == NAME


def test_progress__description(capsys: pytest.CaptureFixture[str]) -> None:
    with progress(NAME, 1) as advance:
        advance(1)
    assert SHOWN in capsys.readouterr().err


def test_both_consoles__are_safe() -> None:
    assert isinstance(console, SafeConsole)
    assert isinstance(log, SafeConsole)
