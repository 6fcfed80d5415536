"""What ``format: auto`` takes a path for, and why."""

import re
from dataclasses import replace
from pathlib import Path, PurePosixPath

from data.config import Format, SourceConfig
from data.labels import LabelSet
from data.readers import metadata
from data.readers.formats import classes_csv, coco, huggingface
from data.readers.layout import label_files, label_folders
from data.readers.source import file_name, located, opened
from data.storage import is_folder, is_remote, listing
from run.console import log
from run.errors import UserError

_SUFFIXES: dict[str, Format] = {
    ".csv": "csv",
    ".tsv": "tsv",
    ".tab": "tsv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".parquet": "parquet",
    ".xml": "cvat",
}
_USUAL: dict[Format, tuple[str, ...]] = {
    "huggingface": metadata.NAMES,
    "classes_csv": (classes_csv.FILE,),
    "coco": (coco.FILE,),
}
"""Names by which a folder is known to be an export."""

_HUB_ID = re.compile(r"[\w.-]+(/[\w.-]+)?")


def resolved(config: SourceConfig, labels: LabelSet | None) -> SourceConfig:
    """The config with its format, and the file that is meant, in place of ``auto``; says on one line what and why.

    Raises:
        UserError: nothing that can be read is there, or it could be read in two ways.
    """
    uri = located(config)
    try:
        found, why = _found(config, labels, uri)
    except OSError as error:
        raise UserError(f"data.path: {error}") from error
    log.print(f"{found.path}: read as format {found.format}, because {why}", soft_wrap=True)
    return found


def _found(config: SourceConfig, labels: LabelSet | None, uri: str) -> tuple[SourceConfig, str]:
    suffix = PurePosixPath(file_name(uri)).suffix.lower()
    if is_remote(uri) and suffix in (*_SUFFIXES, ".json"):
        return _file(config, uri)
    if is_folder(uri):
        return _folder(config, labels, uri)
    if not is_remote(uri) and Path(uri).is_file():
        return _file(config, uri)
    if _HUB_ID.fullmatch(config.path) and "/" in config.path and suffix not in (*_SUFFIXES, ".json"):
        return replace(config, format="huggingface"), "there is no such path here, so it is taken for a Hub id"
    raise UserError(f"data.path: there is no file or folder {uri}")


def _file(config: SourceConfig, uri: str) -> tuple[SourceConfig, str]:
    name = file_name(uri)
    if name.endswith(classes_csv.FILE):
        return replace(config, format="classes_csv", path=uri), f"Roboflow calls its labels {classes_csv.FILE}"
    suffix = PurePosixPath(name).suffix.lower()
    if suffix == ".json":
        return _json(config, uri, name)
    if suffix in _SUFFIXES:
        found = replace(config, format=_SUFFIXES[suffix], path=uri)
        return (metadata.with_file_column(found) if name in metadata.NAMES else found), f"its name ends in {suffix}"
    raise UserError(f"data.path: {uri} has no ending that says what it is: set data.format")


def _json(config: SourceConfig, uri: str, name: str) -> tuple[SourceConfig, str]:
    with opened(uri) as path, path.open("rb") as file:
        start = file.read(4096).lstrip(b"\xef\xbb\xbf \t\r\n")
    if start.startswith(b"["):
        return replace(config, format="label_studio", path=uri), "its JSON is a list, as Label Studio's is"
    first, newline, rest = start.partition(b"\n")
    if newline and first.rstrip().endswith(b"}") and rest.lstrip().startswith(b"{"):
        return replace(config, format="jsonl", path=uri), "it has a JSON object on each line"
    if start.startswith(b"{"):
        return replace(config, format="coco", path=uri), "its JSON is an object, as COCO's is"
    raise UserError(f"data.path: {name} is no JSON file")


def _folder(config: SourceConfig, labels: LabelSet | None, uri: str) -> tuple[SourceConfig, str]:
    saved = sorted(set(huggingface.SAVED) & set(listing(uri)[1]))
    if saved:
        return replace(config, format="huggingface", path=uri), f"save_to_disk writes {saved[0]}"
    if labels is None:
        return replace(config, format="folder", path=uri), "it is a folder, and labels are not needed"
    files, folders = label_files(uri, config), label_folders(uri, labels)
    names = sorted({PurePosixPath(file).name for file in files})
    if len(names) > 1 or (names and folders):
        ways = [*names, *([f"the folders {', '.join(folders)} (data.format folder)"] if folders else [])]
        raise UserError(
            f"data.path: {uri} has labels in more than one place: {'; '.join(ways)}. Say which: set data.path to the "
            "file, or data.format."
        )
    if not names:
        why = f"its folders {', '.join(folders)} are labels" if folders else "it is a folder without a label file"
        return replace(config, format="folder", path=uri), why
    for format_, usual in _USUAL.items():
        if names[0] in usual:
            return replace(config, format=format_, path=uri), f"it has {names[0]}, and no label folders"
    found, why = _file(config, files[0])
    return found, f"{names[0]} is its only label file, and {why}"
