"""``format: auto``: tells a source's format from its path, and says why."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath

from data.config import Format
from data.labels import LabelSet
from data.place import is_hub_id
from data.readers.formats import READERS, classes_csv, huggingface, imagefolder
from data.readers.paths import file_name
from data.readers.source import LabelFile, Source
from data.storage import is_folder, is_remote, join, listing
from run.console import log
from run.errors import UserError, quoted

_BY_SUFFIX: dict[str, Format] = {suffix: name for name, reader in READERS.items() for suffix in reader.suffixes}
_BY_FILE_NAME: dict[str, Format] = {file: name for name, reader in READERS.items() for file in reader.file_names}
_SUFFIXES = (*_BY_SUFFIX, ".json")
"""Endings of label files; several formats end in .json, and their first characters tell them apart."""

_Found = tuple[Format, str, str]
"""The format, the path of the file or folder that is meant, and the reason."""


def resolved(source: Source) -> Source:
    """The source with its format, and the file that is meant, in place of ``auto``; one line says what and why.

    Raises:
        UserError: nothing that can be read is there, or it could be read in two ways.
    """
    format_, path, why = _found(source, source.uri)
    log.print(f"{quoted(path)}: read as format {format_}, because {why}", soft_wrap=True)
    # Looking is not reading: what was met may play no part in this format.
    source = replace(source.with_options(format=format_, path=path), met=set())
    return imagefolder.with_file_column(source) if file_name(path) in imagefolder.NAMES else source


def _found(source: Source, uri: str) -> _Found:
    suffix = _suffix(file_name(uri))
    # Asking a store whether a name with an ending is a folder costs a request, and web servers cannot say.
    if is_remote(uri) and suffix in _SUFFIXES:
        return _as_file(source, source.file())
    if is_folder(uri):
        return _as_folder(source, uri)
    if not is_remote(uri) and Path(uri).is_file():
        return _as_file(source, source.file())
    # Only now: a path that is there is never taken for a Hub id.
    if is_hub_id(source.config.path) and suffix not in _SUFFIXES:
        return "huggingface", source.config.path, "there is no such path here, so it is taken for a Hub id"
    raise UserError(f"{source.key_of('path')}: there is no file or folder {quoted(uri)}")


def _as_file(source: Source, file: LabelFile) -> _Found:
    name = file_name(file.uri)
    suffix = _suffix(name)
    if name.endswith(classes_csv.FILE):
        return "classes_csv", file.uri, f"Roboflow calls its labels {classes_csv.FILE}"
    if suffix == ".json":
        return _as_json(source, file)
    if suffix in _BY_SUFFIX:
        return _BY_SUFFIX[suffix], file.uri, f"its name ends in {suffix}"
    raise UserError(
        f"{source.key_of('path')}: {quoted(file.uri)} has no ending that says what it is: set {source.key_of('format')}"
    )


def _as_json(source: Source, file: LabelFile) -> _Found:
    with source.opened(file) as path, path.open("rb") as opened:
        start = opened.read(4096).lstrip(b"\xef\xbb\xbf \t\r\n")
    if start.startswith(b"["):
        return "label_studio", file.uri, "its JSON is a list, as Label Studio's is"
    first, newline, rest = start.partition(b"\n")
    if newline and first.rstrip().endswith(b"}") and rest.lstrip().startswith(b"{"):
        return "jsonl", file.uri, "it has a JSON object on each line"
    if start.startswith(b"{"):
        return "coco", file.uri, "its JSON is an object, as COCO's is"
    raise UserError(f"{source.key_of('path')}: {file.name} is no JSON file")


def _as_folder(source: Source, uri: str) -> _Found:
    saved = sorted(set(huggingface.SAVED) & set(listing(uri)[1]))
    if saved:
        return "huggingface", uri, f"save_to_disk writes {saved[0]}"
    if huggingface.is_downloaded(uri):
        return "huggingface", uri, "it has the Parquet files of a data set on the Hub"
    if source.labels is None:
        return "folder", uri, "it is a folder, and labels are not needed"
    files = _label_files(source, uri)
    folders = _label_folders(source, uri, source.labels)
    names = sorted({file_name(file.uri) for file in files})
    # Folders and a file may contradict each other, and whichever came first would win without a word.
    if len(names) > 1 or (names and folders):
        ways = [*names, *([f"the folders {', '.join(folders)} ({source.key_of('format')} folder)"] if folders else [])]
        raise UserError(
            f"{source.key_of('path')}: {uri} has labels in more than one place: {'; '.join(ways)}. Say which: set "
            f"{source.key_of('path')} to the file, or {source.key_of('format')}."
        )
    if not names and not folders:
        _require_nothing_below(source, uri, source.labels)
    if not names:
        why = f"its folders {', '.join(folders)} are labels" if folders else "it is a folder without a label file"
        return "folder", uri, why
    if names[0] in _BY_FILE_NAME:
        return _BY_FILE_NAME[names[0]], uri, f"it has {names[0]}, and no label folders"
    format_, path, why = _as_file(source, files[0])
    return format_, path, f"{names[0]} is its only label file, and {why}"


def _label_files(source: Source, folder: str) -> Sequence[LabelFile]:
    """The files directly in a folder that give labels, and those with an export's name in its split folders.

    A table gives labels if it has the config's label columns. The only one that there is counts too: reading it says
    which columns are missing.
    """
    folders, files = listing(folder)
    found = [LabelFile(join(folder, name), name) for name in files if _suffix(name) in _SUFFIXES]
    for split in source.split_folders(folders):
        found += source.files_in_split(split, _BY_FILE_NAME)
    giving = [file for file in found if _gives_labels(source, file)]
    return giving or (found if len(found) == 1 else [])


def _require_nothing_below(source: Source, folder: str, labels: LabelSet) -> None:
    """Refuse a folder whose labels are one level further down: which of several it is, nobody can guess."""
    for name in listing(folder)[0]:
        inner = join(folder, name)
        files = [file for file in listing(inner)[1] if _suffix(file) in _SUFFIXES]
        found = files[:1] or _label_folders(source, inner, labels)
        if found:
            raise UserError(
                f"{source.key_of('path')}: {quoted(folder)} has neither a label file nor label folders, but {name} "
                f"inside it has {', '.join(found)}: set {source.key_of('path')} to {inner}"
            )


def _gives_labels(source: Source, file: LabelFile) -> bool:
    name = file_name(file.uri)
    format_ = _BY_FILE_NAME.get(name) or _BY_SUFFIX.get(_suffix(name))
    columns = READERS[format_].columns if format_ else None
    if columns is None:
        return True
    with source.opened(file) as path:
        present = columns(path, file.name)
    return set(source.config.label_columns or [source.config.label_column]) <= set(present)


def _label_folders(source: Source, folder: str, labels: LabelSet) -> list[str]:
    """Names of the folders, here or in split folders, that are labels but for case, accents and spaces."""
    folders = listing(folder)[0]
    for split in source.split_folders(folders):
        folders += listing(join(folder, split))[0]
    return sorted({name for name in folders if labels.resembles(name)})


def _suffix(name: str) -> str:
    return PurePosixPath(name).suffix.lower()
