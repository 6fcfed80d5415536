"""From the names, numbers or annotators' choices in a source to a distribution, or to a probability per label."""

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from data.config import SourceConfig
from data.labels import LabelSet
from run.errors import UserError, plural

Target = tuple[float, ...]


class Answer(NamedTuple):
    """An image's labels as a source gives them."""

    target: Target
    votes: Target | None = None
    """The number of annotators who chose each label, where the source says so."""


_FLAGS = {"true": 1.0, "false": 0.0}
_SUM_TOLERANCE = 0.001


def one_hot(index: int, size: int) -> Target:
    """All mass on one label."""
    return tuple(float(i == index) for i in range(size))


def of_names(names: Iterable[object], labels: LabelSet, where: str) -> Answer:
    """An image with these labels: exactly one, unless the set is multilabel.

    Raises:
        UserError: a name is no label or stands twice, or their number is wrong.
    """
    indices = [labels.index(_name(name, labels, where), where) for name in names]
    if labels.exclusive and len(indices) != 1:
        chosen = ", ".join(labels.names[index] for index in indices) or "none"
        raise UserError(
            f"{where}: {plural(len(indices), 'label')} ({chosen}), but labels.kind {labels.kind} takes exactly one"
        )
    if len(set(indices)) != len(indices):
        raise UserError(f"{where}: a label stands there twice ({', '.join(labels.names[i] for i in indices)})")
    return Answer(tuple(float(index in indices) for index in range(len(labels))))


def of_objects(names: Iterable[str], where: str, labels: LabelSet) -> Answer:
    """An image with objects of these labels: three scratches are one label."""
    return of_names(dict.fromkeys(names), labels, where)


def of_cell(cell: object, labels: LabelSet, config: SourceConfig, where: str) -> Answer:
    """One cell: a name; for multilabel sets a list, or names with separators between them.

    Raises:
        UserError: no label, an unknown one, or several where the set takes one.
    """
    empty = cell is None or (cell == "" and labels.exclusive) or (isinstance(cell, float) and math.isnan(cell))
    if empty or (cell == -1 and not isinstance(cell, bool)):
        hint = "; " if labels.exclusive else " (an empty list says that none applies); "
        raise UserError(
            f"{where}: no label{hint}where a whole split has none, data.unlabeled_splits takes it as unlabeled, and "
            "data.leave_out leaves it out"
        )
    if isinstance(cell, list | tuple):
        return of_names(cell, labels, where)
    # In an exclusive set the separator may be part of a name.
    if not labels.exclusive and isinstance(cell, str):
        parts = [part.strip() for part in cell.split(config.label_separator)] if cell.strip() else []
        return of_names(parts, labels, where)
    return of_names([cell], labels, where)


def of_columns(cells: Sequence[object], labels: LabelSet, config: SourceConfig, where: str) -> Answer:
    """One cell per label.

    Raises:
        UserError: a cell is no number, or the numbers are not what ``label_columns_hold`` says.
    """
    hold = config.label_columns_hold
    what = f"{where}: {hold} {list(cells)}"
    numbers = tuple(_number(cell, what, flags=hold == "flags") for cell in cells)
    total = sum(numbers)
    if hold == "votes":
        if min(numbers) < 0 or total == 0:
            raise UserError(f"{what} must be 0 or more, with one above 0")
        return Answer(tuple(number / total for number in numbers), numbers)
    if hold == "flags":
        if any(number not in (0, 1) for number in numbers):
            raise UserError(f"{what} must each be 0 or 1")
        if labels.exclusive and total != 1:
            raise UserError(f"{what} have {total:g} ones, but labels.kind {labels.kind} takes exactly one")
        return Answer(numbers)
    if min(numbers) < 0 or max(numbers) > 1:
        raise UserError(f"{what} must lie between 0 and 1")
    if not labels.exclusive:
        return Answer(numbers)
    if abs(total - 1) > _SUM_TOLERANCE:
        raise UserError(f"{what} sum to {total:g}, not to 1")
    return Answer(tuple(number / total for number in numbers))


def of_annotators(choices: Sequence[Sequence[str]], labels: LabelSet, where: str) -> Answer:
    """The choices of one or more annotators; votes where several chose one label each.

    A single annotator's choice is a plain label, as it would be in a table. In a multilabel set a label's probability
    is the share of annotators who chose it.

    Raises:
        UserError: a choice is no label, or an annotator chose several where the set takes one.
    """
    targets = [of_names(chosen, labels, where).target for chosen in choices]
    votes = tuple(map(sum, zip(*targets, strict=True)))
    mean = tuple(vote / len(targets) for vote in votes)
    return Answer(mean, votes if labels.exclusive and len(targets) > 1 else None)


def _name(cell: object, labels: LabelSet, where: str) -> str:
    if isinstance(cell, str):
        return cell
    if isinstance(cell, float) and cell.is_integer():
        cell = int(cell)  # pandas makes floats of whole numbers where a cell is empty
    if isinstance(cell, int) and not isinstance(cell, bool) and str(cell) in labels.names:
        return str(cell)
    names = f" ({', '.join(labels.names)})" if labels.names else ""  # `init` has yet to meet them
    raise UserError(f"{where}: label {cell!r} is no text: labels go by name{names}, never by position")


def _number(cell: object, what: str, *, flags: bool) -> float:
    try:
        if flags and isinstance(cell, str) and cell.lower() in _FLAGS:
            return _FLAGS[cell.lower()]
        number = float(cell)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        raise UserError(f"{what} are not all numbers") from None
    if not math.isfinite(number):
        raise UserError(f"{what} must be finite and 0 or more")
    return number
