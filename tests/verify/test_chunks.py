import hashlib
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from data.manifest import Manifest
from export.runtime import Picture
from run.errors import UserError
from tests import support
from tests.support import FOUR
from verify import chunks
from verify.chunks import CHUNK, run_over

COUNT = 2 * CHUNK + 5


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    """Images of one gray level each, 0, 1, 2, …"""
    root = tmp_path_factory.mktemp("gray")
    paths = [root / f"{level:03}.png" for level in range(COUNT)]
    for level, path in enumerate(paths):
        Image.new("L", (4, 4), level).save(path)
    rows = support.rows_of(paths, FOUR, "test")
    for row, path in zip(rows, paths, strict=True):
        row["image_id"] = hashlib.sha256(path.read_bytes()).hexdigest()
    return Manifest.of(FOUR, rows)


class Gray:
    """A function that counts its calls, and takes its time."""

    def __init__(self, seconds: float = 0.0) -> None:
        self.calls = 0
        self.seconds = seconds

    def __call__(self, picture: Picture) -> NDArray[np.float32]:
        self.calls += 1
        time.sleep(self.seconds)
        return np.array([picture.image.getpixel((0, 0))[0]], np.float32)  # type: ignore[index]


@pytest.mark.parametrize("workers", [1, 3])
def test_run_over__in_the_order_of_the_images(images: Manifest, tmp_path: Path, workers: int) -> None:
    found = run_over(images, {"gray": Gray(), "again": Gray()}, tmp_path, workers)
    for name in ("gray", "again"):
        assert found[name][:, 0].tolist() == list(range(COUNT))


def test_run_over__goes_on_where_it_was_killed(images: Manifest, tmp_path: Path) -> None:
    class Killed(Gray):
        def __call__(self, picture: Picture) -> NDArray[np.float32]:
            if self.calls == CHUNK + 10:
                raise KeyboardInterrupt
            return super().__call__(picture)

    with pytest.raises(KeyboardInterrupt):
        run_over(images, {"gray": Killed()}, tmp_path, 1)
    gray, other = Gray(), Gray()
    found = run_over(images, {"gray": gray, "other": other}, tmp_path, 1)
    assert (gray.calls, other.calls) == (COUNT - CHUNK, COUNT)
    assert found["gray"][:, 0].tolist() == found["other"][:, 0].tolist() == list(range(COUNT))
    again = Gray()
    assert np.array_equal(run_over(images, {"gray": again}, tmp_path)["gray"], found["gray"])
    assert again.calls == 0


def test_run_over__an_interrupt_does_not_wait_for_the_rest(
    images: Manifest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    @contextmanager
    def interrupted(description: str, total: int) -> Iterator[Callable[[int], None]]:
        def advance(count: int) -> None:
            raise KeyboardInterrupt

        yield advance

    monkeypatch.setattr(chunks, "progress", interrupted)
    slow = Gray(seconds=0.01)
    with pytest.raises(KeyboardInterrupt):
        run_over(images, {"slow": slow}, tmp_path)
    assert slow.calls < COUNT / 2


def test_run_over__an_image_that_has_changed_or_gone(images: Manifest, tmp_path: Path) -> None:
    rows = images.table.to_pylist()[:2]
    for row, name in zip(rows, ("changed.png", "gone.png"), strict=True):
        row["uri"] = str(tmp_path / name)
    Image.new("L", (4, 4), 200).save(tmp_path / "changed.png")
    with pytest.raises(UserError, match=r"changed\.png is not the file that it was: run `pocketeva prepare` again"):
        run_over(Manifest.of(FOUR, rows), {"gray": Gray()}, tmp_path / "kept", 1)
    with pytest.raises(UserError, match=r"gone\.png cannot be read: No such file"):
        run_over(Manifest.of(FOUR, rows[1:]), {"gray": Gray()}, tmp_path / "kept", 1)
