"""The two consoles, and one way to show progress."""

import codecs
import io
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from types import TracebackType
from typing import Any

from rich.console import Console
from rich.measure import Measurement
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeRemainingColumn,
)
from rich.table import Table
from rich.text import Text

from run.text import escaped, redacted
from run.usage import duration


class SafeConsole(Console):
    """A console on which the text of others is only text.

    Labels, names and metadata of files may hold what moves a cursor, or turns the order of letters; addresses may hold
    credentials. All that is printed comes through these two methods.
    """

    def render_str(self, text: str, **options: Any) -> Text:
        return super().render_str(redacted(escaped(text)), **options)

    def out(self, *objects: Any, **options: Any) -> None:
        super().out(*(redacted(escaped(str(item))) for item in objects), **options)


LINE_EVERY_S = 60.0
"""Between two lines about the same work, where there is no terminal for a bar."""

console = SafeConsole(highlight=False, markup=False, emoji=False)
"""Standard output: tables and results."""

log = SafeConsole(stderr=True, highlight=False, markup=False, emoji=False)
"""Standard error: progress and notices, so that output can be piped."""


_IN_ASCII = str.maketrans(
    {"·": "-", "–": "-", "—": "-", "−": "-", "→": "->", "×": "x", "…": "...", "≤": "<=", "≥": ">=", "′": "'", "━": "-"}
)


def print_anywhere() -> None:
    """Let standard output and error take any text: what their encoding lacks is spelled in ASCII."""
    codecs.register_error("pocketeva", _spelled)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper) and not is_unicode(stream):
            stream.reconfigure(errors="pocketeva")


def show_bugs_escaped() -> None:
    """Print tracebacks as everything else is printed: a message in one may have been written by others."""

    def show(kind: type[BaseException], error: BaseException | None, trace: TracebackType | None) -> None:
        log.out("".join(traceback.format_exception(kind, error, trace)), end="")

    sys.excepthook = show
    threading.excepthook = lambda found: show(found.exc_type, found.exc_value, found.exc_traceback)


def is_unicode(stream: Any) -> bool:
    """True where a stream can take any character."""
    return (stream.encoding or "ascii").lower().startswith("utf")


def _spelled(error: UnicodeError) -> tuple[str, int]:
    assert isinstance(error, UnicodeEncodeError)
    text = error.object[error.start : error.end].translate(_IN_ASCII)
    return text.encode("ascii", "backslashreplace").decode(), error.end


def show_table(table: Table) -> None:
    """Print a table with all of its columns and words whole, also where the terminal is narrower than that."""
    least = Measurement.get(console, console.options.update(max_width=10_000), table).minimum
    if least > console.width:
        table.width = least
    console.print(table, crop=False)


def say_with_time(text: str) -> None:
    """Print a line on standard error that begins with the time: for logs that are read later."""
    log.print(f"{datetime.now():%Y-%m-%d %H:%M:%S} {text}", soft_wrap=True)


@contextmanager
def _progress_lines(description: str, total: int) -> Iterator[Callable[[int], None]]:
    started = said = time.monotonic()
    done = 0

    def say() -> None:
        seconds = time.monotonic() - started
        say_with_time(f"{description}: {done:,} of {total:,} in {duration(seconds)}")

    def advance(count: int) -> None:
        nonlocal done, said
        done += count
        if time.monotonic() - said > LINE_EVERY_S:
            said = time.monotonic()
            say()

    yield advance
    say()


class RateColumn(ProgressColumn):
    """Items per second."""

    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text("…/s" if speed is None else f"{speed:,.0f}/s" if speed >= 10 else f"{speed:.1f}/s")


@contextmanager
def progress(description: str, total: int) -> Iterator[Callable[[int], None]]:
    """Show a bar on standard error with a rate and the time left; without a terminal, lines with the time.

    Yields:
        A function that advances it by so many items.
    """
    if not log.is_terminal:
        with _progress_lines(description, total) as advance:
            yield advance
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=20),
        MofNCompleteColumn(),
        RateColumn(),
        TimeRemainingColumn(),
        TextColumn("left"),
    )
    with Progress(*columns, console=log) as bar:
        task = bar.add_task(redacted(escaped(description)), total=total)
        yield lambda count: bar.advance(task, count)
