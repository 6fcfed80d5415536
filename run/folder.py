"""The run directory: its paths, and the lock that keeps one writer."""

import fcntl
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from run.errors import UserError
from run.files import locked, require_no_links


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
            UserError: another process holds it, or it holds a symbolic link.
        """
        self.root.mkdir(parents=True, exist_ok=True)
        require_no_links(self.root)
        with ExitStack() as held:
            try:
                held.enter_context(locked(self.root / ".lock", _lock))
            except BlockingIOError:
                raise UserError(f"{self.root} is in use by another pocketeva process; wait for it or end it") from None
            yield


def _lock(number: int) -> None:
    fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
