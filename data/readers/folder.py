"""One folder per label, or split folders with one folder per label inside."""

from pathlib import Path

from data.config import SourceConfig
from data.labels import LabelSet
from data.readers.record import SUFFIXES, Record, is_split, one_hot, split_named
from run.errors import UserError


def read(config: SourceConfig, labels: LabelSet, store: Path) -> list[Record]:
    """Every image below ``config.path``; a label's images may lie in folders of folders.

    Raises:
        UserError: no such folder, no images, a folder that is no label, or labels and splits side by side.
    """
    root = Path(config.path)
    if not root.is_dir():
        raise UserError(f"data.path: {root} is not a folder")
    folders = _folders(root)
    splits = [folder for folder in folders if is_split(folder.name) and folder.name not in labels.names]
    if splits and len(splits) < len(folders):
        others = sorted(folder.name for folder in folders if folder not in splits)
        raise UserError(f"{root} has split folders beside {', '.join(others)}: keep either splits or labels there")
    if splits:
        records = [
            record for folder in splits for record in _labelled(folder, labels, split_named(folder.name, str(folder)))
        ]
    else:
        records = _labelled(root, labels, None)
    if not records:
        raise UserError(f"data.path: no image files below {root} ({', '.join(sorted(SUFFIXES))})")
    return records


def _labelled(root: Path, labels: LabelSet, split: str | None) -> list[Record]:
    loose = sorted(path for path in root.iterdir() if path.suffix.lower() in SUFFIXES)
    if loose:
        raise UserError(
            f"{loose[0]} and {len(loose) - 1} other images lie in no label folder: move them, or remove them"
        )
    records = []
    for folder in _folders(root):
        target = one_hot(labels.index(folder.name, str(folder)), len(labels))
        files = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES and path.is_file())
        records += [Record(uri=str(path.absolute()), target=target, split=split, where=str(path)) for path in files]
    return records


def _folders(root: Path) -> list[Path]:
    return sorted(path for path in root.iterdir() if path.is_dir() and not path.name.startswith("."))
