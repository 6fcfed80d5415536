import errno
from pathlib import Path

import pytest

from run.disk import DiskFullError, as_disk_full
from run.files import atomic_path, write_text


def coming_from(error: Exception, cause: Exception) -> Exception:
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), "the disk is full"),
        (OSError(errno.EDQUOT, "Disk quota exceeded"), "your quota on the disk is used up"),
        (RuntimeError("I/O error: No space left on device (os error 28)"), "the disk is full"),
        (RuntimeError("Disk quota exceeded (os error 122)"), "your quota on the disk is used up"),
        (coming_from(RuntimeError("unexpected pos 704"), OSError(errno.ENOSPC, "full")), "the disk is full"),
    ],
)
def test_as_disk_full__whoever_says_it(tmp_path: Path, error: BaseException, says: str) -> None:
    full = as_disk_full(error, tmp_path / "model.onnx")
    assert full is not None
    assert str(full).startswith(f"{says}: there is no room for {tmp_path}/model.onnx")
    assert ("bytes are free" in str(full)) == (says == "the disk is full"), "room on the disk is no room in the quota"
    assert as_disk_full(full) is full


def test_as_disk_full__names_the_file_that_the_error_names() -> None:
    full = as_disk_full(OSError(errno.ENOSPC, "No space left on device", "outputs/a/run.yaml"))
    assert "no room for outputs/a/run.yaml" in str(full)
    assert "look at outputs, and at " in str(as_disk_full(OSError(errno.ENOSPC, "No space left on device")))


@pytest.mark.parametrize(
    "error",
    [OSError(errno.EACCES, "Permission denied"), ValueError("full"), OSError(errno.EIO, "No space left on device")],
)
def test_as_disk_full__nothing_else(error: Exception) -> None:
    assert as_disk_full(error, Path("a")) is None


def test_atomic_path__of_a_full_disk_leaves_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "folder"
    write_text(path / "weights", "old")

    def write() -> None:
        with atomic_path(path) as partial:
            write_text(partial / "weights", "new")
            with atomic_path(partial / "cut"):
                raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(DiskFullError, match=f"no room for {path} "):
        write()
    assert [(file.name, file.read_text()) for file in tmp_path.rglob("*") if file.is_file()] == [("weights", "old")]
