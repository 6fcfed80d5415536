"""The run directory: its paths, the lock that keeps one writer, and the stamps of finished stages."""

import fcntl
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import cast

from run.console import log
from run.errors import UserError, listed
from run.files import Json, file_digest, remove, write_json
from run.ranks import once, this_rank


@dataclass(frozen=True)
class RunFolder:
    """``outputs/NAME`` and the paths below it."""

    root: Path

    @property
    def data(self) -> Path:
        """``manifest.parquet`` and ``audit.json``."""
        return self.root / "data"

    @property
    def manifest(self) -> Path:
        """A row per image (``data.manifest``)."""
        return self.data / "manifest.parquet"

    @property
    def cache(self) -> Path:
        """Outputs of frozen models, per image × view."""
        return self.root / "cache"

    @property
    def teacher(self) -> Path:
        """The fine-tuned teacher: ``model/``, metrics, checkpoints of an unfinished fit."""
        return self.root / "teacher"

    def student(self, name: str) -> Path:
        """One distilled student, laid out like the teacher."""
        return self.root / "students" / name

    @property
    def release(self) -> Path:
        """The files that are judged and published."""
        return self.root / "release"

    @property
    def verify(self) -> Path:
        """The certificate."""
        return self.root / "verify"

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the run for this process.

        Raises:
            UserError: another process holds it.
        """
        self.root.mkdir(parents=True, exist_ok=True)
        # A lock of the operating system, which lets go of it however the process ends; the file itself means nothing.
        with (self.root / ".lock").open("w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise UserError(f"{self.root} is in use by another pocketeva process; wait for it or end it") from None
            yield

    def is_done(self, stage: str, inputs: Mapping[str, Json]) -> bool:
        """True where ``stage`` was finished with these very inputs and its files are as it left them."""
        stamp = self._read_stamp(stage)
        if stamp is None or stamp["inputs"] != _with_version(inputs):
            return False
        outputs = cast("dict[str, str]", stamp["outputs"])
        return all(
            (self.root / path).is_file() and file_digest(self.root / path) == digest for path, digest in outputs.items()
        )

    def skips(self, stage: str, inputs: Mapping[str, Json]) -> bool:
        """``is_done``, and say so; where the stage has to run again, say what changed."""
        return once(lambda: self._skips(stage, inputs))

    def _skips(self, stage: str, inputs: Mapping[str, Json]) -> bool:
        if self.is_done(stage, inputs):
            log.print(f"{stage}: done already")
            return True
        changes = self.changes(stage, inputs)
        if changes:
            log.print(f"{stage}: again, because\n{listed(changes)}", markup=False, soft_wrap=True)
        return False

    def changes(self, stage: str, inputs: Mapping[str, Json]) -> list[str]:
        """Differences to the last finished ``stage``, as ``key: old → new`` lines; empty where it never ran.

        Another version of this program is one difference that says it all: inputs have other keys then.
        """
        stamp = self._read_stamp(stage)
        if stamp is None:
            return []
        old, new = dict(_flat(stamp["inputs"])), dict(_flat(_with_version(inputs)))
        keys = [*new, *(key for key in old if key not in new)]
        differing = [key for key in keys if old.get(key) != new.get(key)]
        differing = ["pocketeva"] if "pocketeva" in differing else differing
        return [f"{key}: {_shown(old.get(key))} → {_shown(new.get(key))}" for key in differing]

    def mark_done(self, stage: str, inputs: Mapping[str, Json], outputs: Iterable[Path]) -> None:
        """Record that ``stage`` ended well: its inputs, and the digest of every file it is answerable for."""
        digests: dict[str, Json] = {str(path.relative_to(self.root)): file_digest(path) for path in sorted(outputs)}
        write_json(self._stamp_path(stage), {"inputs": _with_version(inputs), "outputs": digests})

    def _stamp_path(self, stage: str) -> Path:
        return self.root / "stamps" / f"{stage}.json"

    def _read_stamp(self, stage: str) -> dict[str, Json] | None:
        path = self._stamp_path(stage)
        return cast("dict[str, Json]", json.loads(path.read_text(encoding="utf-8"))) if path.is_file() else None


def _shown(value: Json) -> str:
    """The value; of a digest, its beginning."""
    text = str(value)
    return f"{text[:8]}…" if re.fullmatch("[0-9a-f]{64}", text) else text


def resumable(folder: Path, inputs: Mapping[str, Json]) -> Path:
    """``folder``, emptied unless what lies in it was begun with these very inputs.

    An interrupted fit leaves its checkpoints here; a fit with other settings, or in another number of processes, must
    not continue from them.
    """
    path = folder / "inputs.json"
    wanted = {**_with_version(inputs), "processes": this_rank().world}

    def empty_unless_fit() -> None:
        if not (path.is_file() and json.loads(path.read_text(encoding="utf-8")) == wanted):
            remove(folder)
            write_json(path, wanted)

    once(empty_unless_fit)
    return folder


def _with_version(inputs: Mapping[str, Json]) -> dict[str, Json]:
    """The inputs and this program's version, as they read back from JSON (lists for tuples)."""
    return cast("dict[str, Json]", json.loads(json.dumps({"pocketeva": version("pocketeva"), **inputs})))


def _flat(value: Json, prefix: str = "") -> Iterator[tuple[str, Json]]:
    if isinstance(value, Mapping):
        for key, child in value.items():
            yield from _flat(child, f"{prefix}.{key}" if prefix else key)
    else:
        yield prefix, value
