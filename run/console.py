"""The two consoles, and one way to show progress."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from run.text import escaped, redacted


class SafeConsole(Console):
    """A console on which the text of others is only text.

    Labels, names and metadata of files may hold what moves a cursor, or turns the order of letters; addresses may hold
    credentials. All that is printed comes through these two methods.
    """

    def render_str(self, text: str, **options: Any) -> Text:
        return super().render_str(redacted(escaped(text)), **options)

    def out(self, *objects: Any, **options: Any) -> None:
        super().out(*(redacted(escaped(str(item))) for item in objects), **options)


console = SafeConsole(highlight=False, markup=False, emoji=False)
"""Standard output: tables and results."""

log = SafeConsole(stderr=True, highlight=False, markup=False, emoji=False)
"""Standard error: progress and notices, so that output can be piped."""


class RateColumn(ProgressColumn):
    """Items per second."""

    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text("…/s" if speed is None else f"{speed:,.0f}/s" if speed >= 10 else f"{speed:.1f}/s")


@contextmanager
def progress(description: str, total: int) -> Iterator[Callable[[int], None]]:
    """Show a bar on standard error with a rate and the time left.

    Yields:
        A function that advances it by so many items.
    """
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
