import io
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from rich.table import Table

from run.console import SafeConsole, console, log, progress

REPOSITORY = Path(__file__).resolve().parents[2]

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


def test_show_bugs_escaped__a_traceback_is_text_of_others_too() -> None:
    code = f"""
import threading
from run.console import show_bugs_escaped
show_bugs_escaped()
thread = threading.Thread(target=lambda: 1 / 0)
thread.start()
thread.join()
raise RuntimeError({f"{NAME} {ADDRESS}"!r})
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert SHOWN in done.stderr
    assert "ZeroDivisionError" in done.stderr
    assert not {"\x1b", "\x07", "\u202e"}.intersection(done.stderr)
    assert "word" not in done.stderr.splitlines()[-1]


def test_progress__description(capsys: pytest.CaptureFixture[str]) -> None:
    with progress(NAME, 1) as advance:
        advance(1)
    assert SHOWN in capsys.readouterr().err


def test_progress__without_a_terminal_it_is_lines_with_the_time(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = iter(range(0, 10_000, 25))
    monkeypatch.setattr("run.console.time.monotonic", lambda: next(clock))
    with progress("reading images", 2000) as advance:
        for _ in range(4):
            advance(500)
    first, *_, last = capsys.readouterr().err.splitlines()
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d reading images: 1,\d00 of 2,000 in \d min \d+ s", first)
    assert "reading images: 2,000 of 2,000 in " in last


def test_both_consoles__are_safe() -> None:
    assert isinstance(console, SafeConsole)
    assert isinstance(log, SafeConsole)


WIDE = """
import sys
from rich.table import Table
from run.console import console, log, print_anywhere, show_table

print_anywhere()
table = Table("label", *(f"column-{number}" for number in range(9)))
table.add_row("gemäßigt · 5 × 3", *(f"{number / 7:.5f}" for number in range(9)))
show_table(table)
log.print("Straße – 3 ≥ 2 …")
"""


def printed(**environment: str) -> subprocess.CompletedProcess[str]:
    known = {**os.environ, **environment}
    command = [sys.executable, "-c", WIDE]
    result = subprocess.run(command, cwd=REPOSITORY, env=known, capture_output=True, encoding="utf-8", check=False)
    assert result.returncode == 0, result.stderr
    return result


def test_show_table__no_column_is_lost_and_no_word_cut_at_60_columns() -> None:
    said = printed(COLUMNS="60").stdout
    assert all(f"column-{number}" in said for number in range(9))
    assert all(f"{number / 7:.5f}" in said for number in range(9))
    assert "…" not in said


def test_print_anywhere__ascii() -> None:
    result = printed(COLUMNS="200", PYTHONIOENCODING="ascii", NO_COLOR="1")
    assert result.stderr == "Stra\\xdfe - 3 >= 2 ...\n"
    assert "gem\\xe4\\xdfigt - 5 x 3" in result.stdout
    assert "\x1b" not in result.stdout


def test_print_anywhere__unicode_stays() -> None:
    assert "gemäßigt · 5 × 3" in printed(COLUMNS="200", PYTHONIOENCODING="utf-8").stdout
