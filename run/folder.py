"""The run directory: its paths, and the lock that keeps one writer."""

import getpass
import os
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from run.disk import as_disk_full
from run.errors import UserError, quoted
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
            UserError: another process holds it, it holds a symbolic link, or it cannot be written to.
        """
        holder = self.root / ".holder"
        with ExitStack() as held:
            try:
                self.root.mkdir(parents=True, exist_ok=True)
                require_no_links(self.root)
                held.enter_context(locked(self.root / ".lock", wait=False))
                held.callback(holder.unlink, missing_ok=True)
                holder.write_text(f"process {os.getpid()} of {_user()} on {socket.gethostname()}", encoding="utf-8")
            except TimeoutError:
                raise UserError(f"{quoted(self.root)} is in use by {_text_of(holder)}: wait for it or end it") from None
            except OSError as error:
                if full := as_disk_full(error, self.root):
                    raise full from error
                raise UserError(
                    f"{quoted(error.filename or self.root)} cannot be written: {error.strerror}; results go there: "
                    "make it writable, or give another folder"
                ) from error
            yield


def _user() -> str:
    try:
        return getpass.getuser()
    except (ImportError, KeyError, OSError):  # as in a container, for a number that has no name
        return "a user without a name"


def _text_of(holder: Path) -> str:
    try:
        return holder.read_text(encoding="utf-8")
    except OSError:  # just taken, or just let go of
        return "another pocketeva process"
