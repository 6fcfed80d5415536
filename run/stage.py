"""The skeleton that every stage shares: skip what is done, resume what was begun, stamp what is finished.

A stage names its inputs. Where a stamp records the same inputs and every file is as the stage left it, nothing is done
again. A killed stage leaves no stamp, so the next call goes through it once more.
"""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from run.console import log
from run.errors import listed
from run.files import Json
from run.folder import RunFolder, resumable
from run.ranks import once


@dataclass
class Stage:
    """One stage while it runs."""

    done: bool
    """Finished before with the same inputs: there is nothing to do."""
    inputs: Mapping[str, Json]
    _outputs: list[Path] = field(default_factory=list)

    def work_folder(self, folder: Path) -> Path:
        """``folder``, emptied unless its contents were begun with these very inputs by as many processes."""
        return resumable(folder, self.inputs)

    def wrote(self, paths: Iterable[Path]) -> None:
        """Record files that the stage answers for: it runs again where one of them changes."""
        self._outputs.extend(paths)


@contextmanager
def stage(folder: RunFolder, name: str, inputs: Mapping[str, Json]) -> Iterator[Stage]:
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
    done = once(lambda: _is_done(folder, name, inputs))
    current = Stage(done, inputs)
    yield current
    if not done:
        assert current._outputs, f"the stage {name} recorded no file"
        once(lambda: folder.mark_done(name, inputs, current._outputs))


def _is_done(folder: RunFolder, name: str, inputs: Mapping[str, Json]) -> bool:
    if folder.is_done(name, inputs):
        log.print(f"{name}: done already")
        return True
    changes = folder.changes(name, inputs)
    if changes:
        log.print(f"{name}: again, because\n{listed(changes)}", markup=False, soft_wrap=True)
    return False
