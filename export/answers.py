"""Answers of ``predict`` for each file, and three ways to print them: a table, JSON lines, CSV."""

import csv
import io
import json
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

from rich import box
from rich.table import Table

from data.labels import LabelSet
from data.storage import shown
from export.predictor import Prediction
from run.console import console, is_unicode, show_table
from run.text import defused

Format = Literal["table", "json", "csv"]

SCORE_WIDTH = 5
MS_WIDTH = 8
LEAST_PATH_WIDTH = 16


@dataclass(frozen=True)
class Answer:
    """One file: a prediction, or why there is none."""

    path: str
    prediction: Prediction | None
    error: str = ""


def _print_json(answer: Answer, top: int | None) -> None:
    """An object: ``path``, then ``label``, or ``labels`` of a multilabel set, ``scores`` and ``ms``; or ``error``."""
    found = answer.prediction
    row: dict[str, Any] = {"path": shown(answer.path)}
    if found is None:
        row["error"] = answer.error
    else:
        row |= {"labels": list(found.labels)} if found.label is None else {"label": found.label}
        row["scores"] = {name: round(score, 6) for name, score in _scores(found, top).items()}
        row["ms"] = round(found.ms, 2)
    console.out(json.dumps(row, ensure_ascii=not is_unicode(sys.stdout)), highlight=False)


class Csv:
    """A row each: ``path``, ``label`` (several joined by ``|``), scores, ``ms``, ``error``.

    Args:
        labels: a column ``score_LABEL`` for each.
        top: columns ``label_1``, ``score_1`` and so on instead; null has the others.
    """

    def __init__(self, labels: LabelSet, top: int | None) -> None:
        self._top = top
        ranks = range(1, min(top or 0, len(labels)) + 1)
        ranked = [column for rank in ranks for column in (f"label_{rank}", f"score_{rank}")]
        self._scores = ranked if top else [f"score_{name}" for name in labels.names]
        self._print(["path", "label", *self._scores, "ms", "error"])

    def write(self, answer: Answer) -> None:
        path = defused(shown(answer.path))
        found = answer.prediction
        if found is None:
            self._print([path, "", *[""] * len(self._scores), "", answer.error])
            return
        scores = {name: f"{score:.6f}" for name, score in _scores(found, self._top).items()}
        cells = [defused(cell) for pair in scores.items() for cell in pair] if self._top else list(scores.values())
        self._print([path, defused("|".join(found.labels)), *cells, f"{found.ms:.2f}", ""])

    def _print(self, cells: Iterable[str]) -> None:
        line = io.StringIO()
        csv.writer(line, lineterminator="").writerow(cells)
        console.out(line.getvalue(), highlight=False)


class TableRows:
    """A table of fixed widths, which grows as answers come; what cannot be read is left out.

    The longest label sets a width. Labels that are not decided stand in parentheses.
    """

    def __init__(self, labels: LabelSet, top: int | None) -> None:
        self._top = top
        longest = max(len(name) for name in labels.names) + 2 * (top is not None)
        room = console.width - SCORE_WIDTH - MS_WIDTH - 4 * 2 - 3  # spaces beside each column, and between them
        self._label_width = max(len("label"), min(longest, room - LEAST_PATH_WIDTH))
        self._path_width = max(LEAST_PATH_WIDTH, room - self._label_width)
        self._header = True

    def write(self, answer: Answer) -> None:
        if answer.prediction is not None:
            show_table(self._table(answer.path, answer.prediction))
            self._header = False

    def _table(self, path: str, found: Prediction) -> Table:
        table = Table(box=box.SIMPLE_HEAD, show_header=self._header, show_edge=False)
        table.add_column("image", width=self._path_width, overflow="fold")
        table.add_column("label", width=self._label_width, overflow="fold")
        table.add_column("score", width=SCORE_WIDTH, justify="right")
        table.add_column("ms", width=MS_WIDTH, justify="right")
        lines = {name: score for name, score in found.top().items() if name in found.labels}
        if self._top:
            lines |= found.top(self._top)
        names = (name if name in found.labels else f"({name})" for name in lines)
        scores = (f"{score:.3f}" for score in lines.values())
        table.add_row(shown(path), "\n".join(names) or "none", "\n".join(scores), f"{found.ms:.1f}")
        return table


def printer(form: Format, labels: LabelSet, top: int | None) -> Callable[[Answer], None]:
    """A function that prints answers as they come.

    Args:
        top: scores to print, the likeliest first; null prints all in the label set's order, and in a table those of
            what is decided.
    """
    if form == "json":
        return partial(_print_json, top=top)
    return Csv(labels, top).write if form == "csv" else TableRows(labels, top).write


def _scores(found: Prediction, top: int | None) -> Mapping[str, float]:
    return found.scores if top is None else found.top(top)
