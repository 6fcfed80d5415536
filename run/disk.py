"""A full disk or a used-up quota: one message, whichever library met it."""

import errno
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from run.errors import quoted

_SAID = re.compile(r"No space left on device|Disk quota exceeded|os error (28|122)\b")
"""The words of compiled libraries, whose exceptions carry no number."""
_QUOTA = re.compile(r"Disk quota exceeded|os error 122\b")


class DiskFullError(Exception):
    """There is no room for a file. What was made before is kept; of the file itself nothing is left.

    It is no ``UserError``: what notes one and goes on with something else must not go on here.
    """


def as_disk_full(error: BaseException, path: Path | None = None) -> DiskFullError | None:
    """The error in words if a full disk is behind it; null if it is not.

    Args:
        error: as it was caught; what it came from counts too.
        path: the file that was to be written; null where only the error can tell.
    """
    if path is None and isinstance(error, DiskFullError):
        return error
    for cause in _chain(error):
        number = cause.errno if isinstance(cause, OSError) else None
        if number in (errno.ENOSPC, errno.EDQUOT) or (number is None and _SAID.search(str(cause))):
            name = getattr(cause, "filename", None)
            quota = number == errno.EDQUOT or (number is None and _QUOTA.search(str(cause)) is not None)
            return DiskFullError(_message(quota, path or (Path(name) if name else None)))
    return None


def _message(quota: bool, path: Path | None) -> str:
    what = "your quota on the disk is used up" if quota else "the disk is full"
    where = f"there is no room for {quoted(path)}" if path else f"look at outputs, and at {tempfile.gettempdir()}"
    free = ""
    with suppress(OSError):  # a quota leaves room on the disk
        free = "" if quota else f" ({shutil.disk_usage(path.parent if path else '.').free:,} bytes are free)"
    advice = "make room there (older runs below outputs, for example), and the same command goes on from here"
    return f"{what}: {where}{free}; {advice}"


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """The error, and the ones that it came from."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        yield error
        seen.add(id(error))
        error = error.__cause__ or error.__context__
