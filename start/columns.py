"""Tells which columns of a table hold image, label, split and group, from their names and their cells."""

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice, takewhile
from pathlib import Path
from typing import Any

from data.config import Kind, SourceConfig
from data.decode import SUFFIXES
from data.readers.formats import huggingface, imagefolder, jsonl, table
from data.readers.images import ImageRoot
from data.readers.problems import Problems
from data.readers.rows import spelled
from data.readers.source import LabelFile, Source, is_split
from data.storage import is_remote, join, listing
from run.errors import UserError, quoted

ROWS = 2000
"""Rows that are looked at."""
TRIED = 20
"""Cells of a column that are looked for among the files."""
LONGEST = 80
"""Characters of a label; longer texts are notes."""
FEWEST_GROUPS = 10
PLACES = 50
"""Folders beside a table in which its images are looked for."""

_LABEL = ("label", "labels", "class", "category", "target", "grade", "severity", "diagnosis", "species", "tag", "tags")
_GROUP = ("group", "group_id", "patient", "patient_id", "subject", "subject_id", "video", "video_id", "case_id")
_SPLIT = ("split", "set", "subset", "partition", "fold", "usage")
_NO_ROWS = "no rows: an image and a label are needed"
_EMBEDDED = b""
"""Stands for an image inside a table."""

Columns = dict[str, list[Any]]
"""By name, the cells of the first rows."""


def choose_columns(source: Source, given: SourceConfig) -> tuple[Source, Kind, tuple[str, ...], list[str]]:
    """The source with its columns named; the kind of its labels, the names known so far, and reasons.

    Args:
        given: what the user says already, which is kept.

    Raises:
        UserError: a column that the user names is not there, no column names images that are there, or which one holds
            the label is not clear.
    """
    file, columns = _sample(source)
    source = _with_given(source, given, file.name, columns)
    source, why = _with_image(source, file, columns)
    image = source.config.image_column
    flags = source.config.label_columns or ()
    free = {name: cells for name, cells in columns.items() if name not in flags}
    split = source.config.split_column or _named(free, _SPLIT[:1], _has_splits) or _named(free, _SPLIT, _are_splits)
    group = source.config.group_column or _named(free, _GROUP, _are_groups)
    source = source.with_options(split_column=split, group_column=group)
    reasons = [why]
    reasons += [f"split_column {split}: its cells are names of splits"] if split else []
    reasons += [f"group_column {group}: equal values stay in one split"] if group else []
    others = {name: cells for name, cells in columns.items() if name not in (image, split, group) or name in flags}
    options, kind, names, why = _labels(source, others, file.name)
    return source.with_options(**options), kind, names, [*reasons, why]


def _with_given(source: Source, given: SourceConfig, name: str, columns: Columns) -> Source:
    """The source with the columns that the user names as the table spells them; defaults need not be there."""
    default = SourceConfig()

    def there(key: str, column: str, shape: str = "NAME") -> str:
        found = spelled(column, columns)
        if found is None:
            names = ", ".join(map(repr, columns))
            raise UserError(f"{name}: no column {column!r}; it has {names}: give --data.{key} {shape}")
        return found

    options: dict[str, Any] = {
        key: there(key, getattr(given, key))
        for key in ("image_column", "label_column", "split_column", "group_column")
        if getattr(given, key) != getattr(default, key)
    }
    if given.label_columns:
        options["label_columns"] = [there("label_columns", column, "'[NAME, NAME]'") for column in given.label_columns]
    return source.with_options(**options)


def _with_image(source: Source, file: LabelFile, columns: Columns) -> tuple[Source, str]:
    """The image's column, and the folder that its paths start from."""
    given = source.config.image_column
    candidates = {given: columns[given]} if given in columns and given != "image" else columns
    inside = [name for name, cells in candidates.items() if any(cell is _EMBEDDED for cell in cells)]
    if inside:
        name = given if given in inside else inside[0]
        return source.with_options(image_column=name), f"image_column {name}: it holds images"
    share, _, name, root = max(_places(source, file, candidates), default=(0.0, (), "", ""))
    if share < 0.5:
        raise UserError(
            f"{file.name}: no column names images that are there (it has {', '.join(columns)}): give "
            "--data.image_column, and --data.image_root with the folder that paths start from"
        )
    found = source.with_options(image_column=name, **({"image_root": root} if root else {}))
    inside_root = ImageRoot(found, file.folder)
    if not all(_is_image(inside_root, cell) for cell in columns[name][:TRIED] if cell):
        # They lie elsewhere: below the folder that holds them all, and nowhere else.
        free = ImageRoot(found.with_options(allow_outside=True), file.folder)
        uris = [free.locate(cell, "").uri for cell in columns[name] if _is_image(free, cell)]
        root = _folder_of_all(uris)
        found = found.with_options(image_root=root)
    return found, f"image_column {name}: its cells name files" + (f" in {root}" if root else "")


def _folder_of_all(uris: Sequence[str]) -> str:
    """The deepest folder that all of them lie below."""
    levels = zip(*(uri.split("/")[:-1] for uri in uris), strict=False)
    shared = [names[0] for names in takewhile(lambda names: len(set(names)) == 1, levels)]
    if (is_remote(uris[0]) and len(shared) < 3) or not shared:
        raise UserError(
            f"images lie in places that share no folder, such as {quoted(uris[0])} and {quoted(uris[-1])}: give "
            "--data.allow_outside true, which lets the table name any file"
        )
    return "/".join(shared) or "/"


def _places(source: Source, file: LabelFile, columns: Columns) -> Iterator[tuple[float, tuple[int, ...], str, str]]:
    """For each column and each place: the share of cells that are images there."""
    folder = file.folder
    nearby = (
        [] if is_remote(folder) or source.config.image_root else [join(folder, name) for name in listing(folder)[0]]
    )
    for place in ("", *nearby[:PLACES]):
        root = ImageRoot(source.with_options(allow_outside=True, **({"image_root": place} if place else {})), folder)
        for name, cells in columns.items():
            # Of JSON lines and Parquet, cells may be lists and objects, which name no file.
            names = (cell for cell in cells if not isinstance(cell, list | dict) and cell not in (None, ""))
            tried = list(dict.fromkeys(names))[:TRIED]
            # Of equals the one counts with more different cells (a file may be called 0.png, as a label is), then the
            # table's own folder, then the name that is expected.
            bonus = (len(tried), not place, name == source.config.image_column)
            if tried:
                yield sum(_is_image(root, cell) for cell in tried) / len(tried), bonus, name, place


def _is_image(root: ImageRoot, cell: object) -> bool:
    try:
        uri = root.locate(cell, "").uri
    except UserError:
        return False
    return Path(uri).suffix.lower() in SUFFIXES if is_remote(uri) else os.path.isfile(uri)  # noqa: PTH113


def _labels(source: Source, columns: Columns, name: str) -> tuple[dict[str, Any], Kind, tuple[str, ...], str]:
    flags = source.config.label_columns
    if flags:
        return {}, _flags_kind(columns, flags), tuple(flags), "label_columns: you said so"
    given = source.config.label_column
    chosen = given if given in columns else _named(columns, _LABEL, _are_short)
    if chosen is not None:
        return _of_column(source, name, chosen, columns[chosen])
    if len(columns) >= 2 and all(map(_are_flags, columns.values())):
        flags = list(columns)
        common = re.sub(r"[^_ -]*$", "", os.path.commonprefix(flags))  # noqa: RUF071 - label_cat, label_dog
        names = tuple(flag.removeprefix(common) for flag in flags)
        options = {"label_columns": flags, "label_columns_hold": "flags"}
        return options, _flags_kind(columns, flags), names, f"label_columns {', '.join(flags)}: each holds 0 and 1"
    texts = [column for column, cells in columns.items() if _may_be_label(cells)]
    if len(texts) == 1:
        return _of_column(source, name, texts[0], columns[texts[0]])
    there = f"may be {' or '.join(texts)}" if texts else f"is none of {', '.join(columns) or 'its columns'}"
    raise UserError(f"{name}: which column holds the label is not clear; it {there}: give --data.label_column NAME")


def _of_column(
    source: Source, name: str, column: str, cells: Sequence[Any]
) -> tuple[dict[str, Any], Kind, tuple[str, ...], str]:
    options: dict[str, Any] = {"label_column": column}
    why = f"label_column {column}: {len(set(map(str, cells)))} different cells in the first {len(cells)} rows"
    numbers = tuple(dict.fromkeys(str(cell) for cell in cells if isinstance(cell, int) and not isinstance(cell, bool)))
    if any(isinstance(cell, list) for cell in cells):
        return options, "multilabel", (), f"label_column {column}: its cells are lists"
    texts = [cell for cell in cells if isinstance(cell, str) and cell]
    if texts and all(cell.startswith("[") and cell.endswith("]") for cell in texts):
        raise UserError(
            f"{name}: the cells of column {column} are lists written as text, such as {texts[0][:LONGEST]!r}: write "
            f"names with {source.config.label_separator!r} between them, or lists as JSON lines and Parquet have them"
        )
    separator = _separator(texts, source.config.label_separator)
    if separator:
        return {**options, "label_separator": separator}, "multilabel", (), f"{why}, some with {separator!r} in them"
    return options, "nominal", numbers, why


def _separator(cells: Sequence[str], preferred: str) -> str | None:
    """The sign between labels: taken apart by it, cells come to fewer labels than they are."""
    whole = set(cells)
    for sign in dict.fromkeys((preferred, ";", "|", ",")):
        parts = {part.strip() for cell in whole for part in cell.split(sign)}
        if any(sign in cell for cell in whole) and len(parts) < len(whole):
            return sign
    return None


def _may_be_label(cells: Sequence[Any]) -> bool:
    """Few different short texts, whole numbers, or lists."""
    kept = [cell for cell in cells if cell not in (None, "")]
    if any(isinstance(cell, list | dict) for cell in kept):
        return all(isinstance(cell, list) for cell in kept)
    return _are_short(kept) and 2 <= len(set(kept)) <= max(2, len(kept) // 3)


def _are_short(cells: Sequence[Any]) -> bool:
    return all(isinstance(cell, int | list) or cell is None or len(str(cell)) <= LONGEST for cell in cells)


def _are_flags(cells: Sequence[Any]) -> bool:
    return bool(cells) and {str(cell).casefold() for cell in cells} <= {"0", "1", "true", "false"}


def _flags_kind(columns: Columns, flags: Sequence[str]) -> Kind:
    rows = zip(*(columns[flag] for flag in flags), strict=True)
    sums = {sum(str(cell).casefold() in ("1", "true") for cell in row) for row in rows}
    return "nominal" if sums == {1} else "multilabel"


def _has_splits(cells: Sequence[Any]) -> bool:
    # One is enough: a name that is no split's is then refused with its row, and not passed over with the column.
    return any(map(is_split, _written(cells)))


def _are_splits(cells: Sequence[Any]) -> bool:
    written = _written(cells)
    return 2 * sum(map(is_split, written)) > len(written)


def _written(cells: Sequence[Any]) -> list[str]:
    return [str(cell) for cell in cells if cell not in (None, "")]


def _are_groups(cells: Sequence[Any]) -> bool:
    return len(set(map(str, cells))) >= FEWEST_GROUPS  # with fewer, no split could be drawn


def _named(columns: Columns, names: Sequence[str], fits: Any) -> str | None:
    """The first of these names, whatever its case, that a column has whose cells fit."""
    by_name = {column.strip().casefold(): column for column in columns}
    return next((by_name[name] for name in names if name in by_name and fits(columns[by_name[name]])), None)


def _sample(source: Source) -> tuple[LabelFile, Columns]:
    """The file, or the first of several, and its first rows."""
    format_ = source.config.format
    if format_ == "huggingface":
        saved = not is_remote(source.uri) and Path(source.uri).is_dir()
        files = source.files_inside(imagefolder.NAMES) if saved else []
        if not files:
            return source.file(), huggingface.first_rows(source, ROWS, _EMBEDDED)
        file = files[0]
        format_ = "parquet" if file.uri.endswith(".parquet") else "csv" if file.uri.endswith(".csv") else "jsonl"
    else:
        file = source.file()
    with source.opened(file) as path:
        if format_ == "parquet":
            return file, _of_parquet(path, file.name)
        problems = Problems(file.name)  # the reader says them again, all of them
        rows = list(islice(_rows(path, file.name, format_, problems), ROWS))
    if not rows:
        problems.raise_any(_NO_ROWS)
    names = list(dict.fromkeys(name for row in rows for name in row))
    return file, {name: [row.get(name) for row in rows] for name in names}


def _rows(path: Path, name: str, format_: str, problems: Problems) -> Iterator[Mapping[str, Any]]:
    if format_ == "jsonl":
        yield from (row for _, row in jsonl.rows(path, name, problems))
    else:
        found = table.Table(path, name, "\t" if format_ == "tsv" else ",", problems)
        header = found.header("an image and a label")
        if len(header) == 1:
            raise UserError(
                f"{name} has one column, {header[0]!r}: an image and a label are needed{found.hint(header)}"
            )
        yield from (row for _, row in found.rows(header))


def _holds_images(kind: Any) -> bool:
    """Bytes, or the pairs that ``datasets`` writes; other objects are notes, such as boxes."""
    import pyarrow as pa

    if pa.types.is_struct(kind):
        return {field.name for field in kind} == {"bytes", "path"}
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))


def _of_parquet(path: Path, name: str) -> Columns:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            schema = file.schema_arrow
            held = [field.name for field in schema if _holds_images(field.type)]
            plain = [column for column in schema.names if column not in held]
            batch = next(file.iter_batches(ROWS, columns=plain), None)
    except pa.ArrowException as error:
        raise UserError(f"{name} is no Parquet file that can be read: {error}") from error
    if batch is None:
        raise UserError(f"{name}: {_NO_ROWS}")
    cells: Columns = batch.to_pydict()
    return {**{column: [_EMBEDDED] for column in held}, **cells}
