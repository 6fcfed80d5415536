"""A configured source, its label files, and the names by which it may call splits."""

import os
import re
from collections.abc import Container, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import Any

from data.config import SourceConfig
from data.labels import LabelSet
from data.readers.paths import file_name, normal, parent
from data.storage import is_folder, is_remote, join, listing, local_copy, shown
from run.errors import UserError, quoted

_SPLIT_NAMES: Mapping[str, str] = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "validate", "dev", "devel", "development"), "val"),
    **dict.fromkeys(("calibration", "calib"), "calibration"),
    **dict.fromkeys(("test", "testing"), "test"),
    **dict.fromkeys(("unlabeled", "unlabelled"), "unlabeled"),
}
_SHOWN = 20
"""Names that a message about an unknown one lists."""
_AROUND = re.compile(r"[-_ ]?(?:set|split|images|data)?[-_ ]?(?:20\d\d)?$")
"""What people put after a split's name: ``train2017``, ``test_images``."""


def split_named(name: str, where: str) -> str:
    """A source's split name in this project's words, whatever its case.

    Raises:
        UserError: the name says none of train, val, calibration, test and unlabeled.
    """
    split = _split_of(name)
    if split is None:
        raise UserError(
            f"{where}: split {name!r} is none of {', '.join(_SPLIT_NAMES)}; data.leave_out takes names of splits to "
            "leave out"
        )
    return split


def is_split(name: str, labels: LabelSet | None = None) -> bool:
    """True for a folder's name that says it holds a split, and is no label but for its case."""
    return _split_of(name) is not None and not (labels is not None and labels.resembles(name))


def _split_of(name: str) -> str | None:
    folded = name.strip().casefold()
    return _SPLIT_NAMES.get(folded) or _SPLIT_NAMES.get(_AROUND.sub("", folded))


@dataclass(frozen=True)
class LabelFile:
    """A file that gives labels."""

    uri: str
    name: str
    """Its name in messages, after the split folder that it lies in."""
    split: str | None = None
    """The split folder that it lies in, as the source calls it."""

    @property
    def folder(self) -> str:
        """Its folder; relative image paths start there."""
        return parent(self.uri)


@dataclass(frozen=True)
class Source:
    """One configured place to read records from; every reader takes it."""

    config: SourceConfig
    labels: LabelSet | None
    """Null where only images matter: the source's labels and splits are left alone then."""
    store: Path
    """Folder for images that are no files in the source; they are written there under their digest."""
    key: str = "data"
    """The config's section, which messages blame."""
    met: set[str] = field(default_factory=set, compare=False)
    """The names of splits and folders that readers met; ``names_met`` compares the config's with them."""
    revisions: dict[str, str] = field(default_factory=dict, compare=False)
    """By data set of the Hub, the commit that was read where the config pins none."""
    metadata: tuple[str, ...] = ()
    """Columns that verification slices by (``verify.slices``); they are carried into the manifest."""

    @property
    def uri(self) -> str:
        """``path``, normal; a ``UserError`` where it is empty."""
        if not self.config.path:
            raise UserError(
                f"{self.key_of('path')} is empty: format {self.config.format} needs the file or folder to read"
            )
        return normal(os.path.expanduser(self.config.path))  # noqa: PTH111

    def key_of(self, option: str) -> str:
        """The whole key of one of the source's options, for messages."""
        return f"{self.key}.{option}"

    def with_options(self, **options: Any) -> "Source":
        """The same source with other options in its config."""
        return replace(self, config=replace(self.config, **options))

    @property
    def chosen(self) -> set[str]:
        """The names that ``leave_out`` and ``unlabeled_splits`` give."""
        return {*self.config.leave_out, *self.config.unlabeled_splits}

    def split_folders(self, folders: Iterable[str]) -> list[str]:
        """Those that hold a split, by their names or because the config says so, without those that are left out."""
        self.met.update(folders)
        named = self.config.unlabeled_splits
        kept = (name for name in folders if name not in self.config.leave_out)
        return [name for name in kept if name in named or is_split(name, self.labels)]

    def without_labels(self, split: str | None) -> "Source":
        """The same source, or one whose labels are left alone where a whole split is unlabeled."""
        unlabeled = split is not None and (split in self.config.unlabeled_splits or _split_of(split) == "unlabeled")
        return replace(self, labels=None) if unlabeled else self

    @contextmanager
    def names_met(self) -> Iterator[None]:
        """Refuse, after the block, a name in ``leave_out`` or ``unlabeled_splits`` that nothing in the source has."""
        try:
            yield
        except UserError as error:
            # A wrong name may be the cause of it; where nothing was met yet, nothing is known of it.
            if any(self.met) and (unknown := self._unknown()):
                raise UserError(f"{unknown}\n{error}") from error
            raise
        if unknown := self._unknown():
            raise UserError(unknown)

    def _unknown(self) -> str:
        names = sorted(map(shown, filter(None, self.met)))
        there = f"has {', '.join(names[:_SHOWN])}" if names else "names no splits that count here"
        return "\n".join(
            f"{self.key_of(option)}: {self.config.path} has no {', '.join(unknown)}; it {there}"
            for option in ("leave_out", "unlabeled_splits")
            if (unknown := sorted(set(getattr(self.config, option)) - self.met))
        )

    def file(self) -> LabelFile:
        """The source itself."""
        return LabelFile(self.uri, file_name(self.uri))

    def files(self, name: str) -> list[LabelFile]:
        """The source itself if it is a file, or the files of this name in its folder or its split folders.

        Raises:
            UserError: there is none, or there are some both in the folder and in its split folders.
        """
        if PurePosixPath(self.uri).suffix == PurePosixPath(name).suffix or not is_folder(self.uri):
            return [self.file()]
        found = self.files_inside((name,))
        if not found:
            raise UserError(
                f"{self.key_of('path')}: there is no {name} in {quoted(self.uri)}, nor in folders train, valid or test "
                "inside it"
            )
        return found

    def files_inside(self, names: tuple[str, ...]) -> list[LabelFile]:
        """The file with one of these names in the source's folder, or in each of its split folders.

        Raises:
            UserError: two files would say something of one image.
        """
        folders, files = listing(self.uri)
        outer = [LabelFile(join(self.uri, name), name) for name in files if name in names]
        inner: list[LabelFile] = []
        for folder in self.split_folders(folders):
            found = self.files_in_split(folder, names)
            self._require_one(folder, found)
            inner += found
        self._require_one(self.uri, [*outer, *inner] if outer else [])
        return outer or inner

    def files_in_split(self, split: str, names: Container[str]) -> list[LabelFile]:
        """The files with one of these names in a split folder."""
        place = join(self.uri, split)
        return [LabelFile(join(place, name), f"{split}/{name}", split) for name in listing(place)[1] if name in names]

    def _require_one(self, folder: str, files: list[LabelFile]) -> None:
        if len(files) > 1:
            first, *others = (file.name for file in files)
            raise UserError(
                f"{self.key_of('path')}: {quoted(folder)} has {first} and {', '.join(others)}: set "
                f"{self.key_of('path')} to the one to read"
            )

    def opened(self, file: LabelFile) -> AbstractContextManager[Path]:
        """A label file on this machine, fetched first if it is a URI.

        Raises:
            UserError: there is no such file.
            OSError: it cannot be had; ``data.readers.read`` says so under the source's key.
        """
        if not is_remote(file.uri) and not Path(file.uri).is_file():
            raise UserError(f"{self.key_of('path')}: {quoted(file.uri)} is not a file")
        return local_copy(file.uri)
