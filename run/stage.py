"""The skeleton that every stage shares: skip what is done, resume what was begun, stamp what is finished.

A stage names its inputs. Where a stamp records the same inputs and every file is as the stage left it, nothing is done
again. A killed stage leaves no stamp, so the next call goes through it once more.
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any, Protocol, cast, runtime_checkable

from run.console import log
from run.errors import listed
from run.files import Json, file_digest, read_json, remove, write_json
from run.folder import RunFolder
from run.ranks import once, this_rank
from run.text import redacted

LONGEST = 100
"""Characters of a value that a reader is shown."""


@runtime_checkable
class Described(Protocol):
    """An input too large for a stamp: the stamp has its digest, and a file beside it what changes are found by."""

    @property
    def digest(self) -> str:
        """Names the contents."""

    def save(self, path: Path) -> None:
        """Keep what changes are found by."""

    def difference(self, path: Path) -> str:
        """Changes since ``save``, in words; empty where they cannot be told."""


Inputs = Mapping[str, "Json | Described"]
"""Everything a stage depends on."""


@dataclass
class Stage:
    """One stage while it runs."""

    done: bool
    """Finished before with the same inputs: there is nothing to do."""
    inputs: Inputs
    _outputs: list[Path] = field(default_factory=list)

    def work_folder(self, folder: Path) -> Path:
        """Make ``folder`` the place of unfinished work, emptied unless its contents were begun with these very inputs.

        An interrupted fit leaves its checkpoints there. A fit with other settings, or in another number of processes,
        must not continue from them.
        """
        path = folder / "inputs.json"
        wanted = {**_with_version(self.inputs), "processes": this_rank().world}

        def empty_unless_begun_alike() -> None:
            if read_json(path) != wanted:
                remove(folder)
                write_json(path, wanted)

        once(empty_unless_begun_alike)
        return folder

    def wrote(self, paths: Iterable[Path]) -> None:
        """Record files that the stage answers for: it runs again where one of them changes."""
        self._outputs.extend(paths)


def recorded_files(folder: RunFolder, name: str) -> dict[str, str]:
    """Digests of the files that a finished stage answers for, by path below the run; none of one that has not."""
    stamp = _Stamp(folder, name).read()
    return {} if stamp is None else dict(stamp["outputs"])


def had_input(folder: RunFolder, name: str, key: str, value: Json) -> bool:
    """True where a finished stage had this value of an input."""
    stamp = _Stamp(folder, name).read()
    return stamp is not None and stamp["inputs"].get(key) == _with_version({key: value})[key]


@contextmanager
def stage(folder: RunFolder, name: str, inputs: Inputs) -> Iterator[Stage]:
    """Run one stage; the caller leaves the block at once where ``done``.

    The stamp is written after the block, and only if it ended without an error and recorded its files. All processes
    have to enter it: the first one reads and writes the stamp.

    Example:
        >>> with stage(folder, "train", inputs) as current:
        ...     if current.done:
        ...         return
        ...     write(path)
        ...     current.wrote([path])
    """
    stamp = _Stamp(folder, name)
    current = Stage(once(lambda: stamp.is_done(inputs)), inputs)
    yield current
    if not current.done:
        assert current._outputs, f"the stage {name} recorded no file"
        once(lambda: stamp.write(inputs, current._outputs))


def kept_rows(folder: RunFolder, name: str, key: str) -> Path:
    """Rows that a stage keeps of a ``Described`` input."""
    return folder.root / "stamps" / f"{name}.{key}.parquet"


@dataclass(frozen=True)
class _Stamp:
    """The record of a finished stage: its inputs, and the digest of every file it answers for."""

    run: RunFolder
    name: str

    @property
    def path(self) -> Path:
        return self.run.root / "stamps" / f"{self.name}.json"

    def read(self) -> dict[str, dict[str, Any]] | None:
        """Inputs and outputs; null where the stage has not finished, or the stamp is damaged."""
        match read_json(self.path):
            case {"inputs": dict() as inputs, "outputs": dict() as outputs}:
                return {"inputs": inputs, "outputs": outputs}
        return None

    def is_done(self, inputs: Inputs) -> bool:
        """True where nothing has changed since; says so, or what has changed."""
        stamp = self.read()
        if stamp is None:
            return False
        changes = self._changes(stamp["inputs"], inputs)
        if not changes:  # files may be large: they are read only where nothing else has changed
            changes = [
                f"{name} is not as it was" for name, digest in stamp["outputs"].items() if self._lacks(name, digest)
            ]
        reasons = f"again, because\n{listed(changes)}" if changes else "done already"
        log.print(f"{self.name}: {reasons}", soft_wrap=True)
        return not changes

    def write(self, inputs: Inputs, outputs: Iterable[Path]) -> None:
        # Paths from the root, with /, so that a run folder can be moved, to another system too.
        named = {path.relative_to(self.run.root).as_posix(): path for path in sorted(outputs)}
        digests: dict[str, Json] = {name: file_digest(path) for name, path in named.items()}
        for key, value in inputs.items():
            if isinstance(value, Described):
                value.save(kept_rows(self.run, self.name, key))
        write_json(self.path, {"inputs": _with_version(inputs), "outputs": digests})

    def _changes(self, before: Mapping[str, Json], inputs: Inputs) -> list[str]:
        """A line for each input that differs; another version of this program is one that says it all."""
        old, new = dict(_flat(before)), dict(_flat(_with_version(inputs)))
        differing = [key for key in new | old if key not in old or key not in new or old[key] != new[key]]
        if "pocketeva" in differing:  # inputs may have other keys then
            differing = ["pocketeva"]
        changes = []
        for key in differing:
            value = inputs.get(key)
            words = value.difference(kept_rows(self.run, self.name, key)) if isinstance(value, Described) else ""
            changes.append(f"{key}: {words or _change(old.get(key), new.get(key), is_input=key in new)}")
        return changes

    def _lacks(self, name: str, digest: str) -> bool:
        path = self.run.root / name
        return not path.is_file() or file_digest(path) != digest


def _change(old: Json, new: Json, *, is_input: bool) -> str:
    """One change; of digests and long lists, which tell nobody anything, only that there is one."""
    if (_is_digest(old) and _is_digest(new)) or max(map(len, map(str, (old, new)))) > LONGEST:
        return "changed"
    if old is None and new is None:  # a run of another version, whose stages had other inputs
        return f"this version {'looks at it too' if is_input else 'no longer looks at it'}"
    return f"{_shown(old)} → {_shown(new)}"


def _with_version(inputs: Inputs) -> dict[str, Json]:
    """The inputs and this program's version, as they read back from JSON: lists for tuples, digests for tables."""
    text = json.dumps({"pocketeva": version("pocketeva"), **inputs}, default=lambda described: described.digest)
    # Stamps are text that people pass on, so credentials in addresses are left out; a new signature changes nothing.
    return cast("dict[str, Json]", json.loads(redacted(text)))


def _flat(value: Json, prefix: str = "") -> Iterator[tuple[str, Json]]:
    if isinstance(value, Mapping) and value:
        for key, child in value.items():
            yield from _flat(child, f"{prefix}.{key}" if prefix else key)
    else:
        yield prefix, value


def _shown(value: Json) -> str:
    """The value; of a digest, its beginning."""
    return f"{str(value)[:8]}…" if _is_digest(value) else str(value)


def _is_digest(value: Json) -> bool:
    return re.fullmatch("[0-9a-f]{64}", str(value)) is not None
