"""Working copies: large photographs decoded and shrunk once, for training, which reads every image many times.

What trains, validates while training, or fills the view cache reads the copies. Calibration, tests and verification
read the originals. A copy lies in ``data/working/SIZE/AB/IMAGE_ID.jpg`` below the run: its shorter side has SIZE
pixels, AB are the first two digits of the image_id. Images whose shorter side is not larger than SIZE have none.

Copies are JPEG at quality 95 with full chroma. Of six large photographs, shrunk to 640 pixels, a whole image rendered
from the copy differs from one rendered from the original by 0.4 to 1.0 levels of 255 on average and 15 at most at
448 × 448, and by 0.2 to 0.3 and 5 at most at 224 × 224. Shrinking in two steps instead of one alone, as a lossless copy
does, makes 0.2 to 0.6 and 12, and 0.1 to 0.2 and 3. Lossless WebP takes twice the time to decode, PNG four times.
"""

import hashlib
import os
import re
from collections.abc import Mapping
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from PIL import Image

from data.decode import DecodeError, decode
from data.manifest import Manifest
from data.parallel import in_parallel
from data.resize import resize
from data.storage import read_bytes
from run.console import log, progress
from run.errors import UserError, listed
from run.files import atomic_path, locked
from run.folder import RunFolder

QUALITY = 95
LONGEST = 65_500
"""Pixels a side that libjpeg writes at most; an image whose copy would be longer is read as it is."""
CHUNK = 4
"""Images handed to a process at a time: an interrupt waits for them, and large ones take a while."""
BATCH = 4096
"""Images planned at a time."""

_COPY = re.compile(r"(^|/)working/\d+/[0-9a-f]{2}/[0-9a-f]{64}\.jpg$")


def make_working_copies(manifest: Manifest, run: RunFolder, size: int | None) -> Manifest:
    """Make the working copies that are missing, and give the manifest with their uris in place of the originals'.

    Several processes may ask for the same copies: one makes them while the others wait. What a killed one has made is
    kept. Where ``size`` is null, the manifest is given as it is.

    Raises:
        UserError: an image is gone or has changed since ``prepare`` read it.
    """
    if size is None:
        return manifest
    folder = run.data / "working" / str(size)
    table = manifest.table
    sides = np.stack([table.column(side).to_numpy() for side in ("width", "height")]).astype(np.int64)
    shorter, longer = sides.min(0), sides.max(0)
    large = pa.array((shorter > size) & (longer * size <= shorter * LONGEST))
    ids = table.column("image_id")
    places = pc.binary_join_element_wise(folder.as_posix(), pc.utf8_slice_codeunits(ids, 0, 2), ids, "/")
    copies = pc.binary_join_element_wise(places, ".jpg", "")
    wanted = table.select(["uri", "image_id"]).append_column("copy", copies).filter(large)
    _make_missing(wanted, folder, size)
    uris = pc.if_else(large, copies, table.column("uri"))
    return Manifest(manifest.labels, table.set_column(table.schema.get_field_index("uri"), "uri", uris))


def _make_missing(wanted: pa.Table, folder: Path, size: int) -> None:
    if not len(_missing(wanted, folder)):
        return
    # The operating system lets go of the lock however this process ends.
    with locked(folder / ".lock", wait=True):
        todo = _missing(wanted, folder)  # looked at again: the process that was waited for has made some
        failed: list[str] = []
        with in_parallel(len(todo), "shrinking images", CHUNK) as run, progress("shrinking images", len(todo)) as done:
            for start in range(0, len(todo), BATCH):
                rows = todo.slice(start, BATCH).to_pylist()
                for problem in run(partial(make_copy, size), rows):
                    done(1)
                    if problem is not None:
                        failed.append(problem)
    if failed:
        raise UserError(
            f"no working copy of {len(failed):,} images can be made; put that right and run the same command again:\n"
            f"{listed(failed)}"
        )


def _missing(wanted: pa.Table, folder: Path) -> pa.Table:
    """The rows without a copy, one for each image."""
    made = pa.array([name.removesuffix(".jpg") for _, _, names in os.walk(folder) for name in names], pa.string())
    todo = wanted.filter(pc.invert(pc.is_in(wanted.column("image_id"), value_set=made)))
    ids = todo.column("image_id").combine_chunks()
    first = pc.equal(pc.index_in(ids, value_set=ids), pa.array(range(len(ids)), pa.int32()))
    return todo.filter(first)


def make_copy(size: int, row: Mapping[str, str]) -> str | None:
    """Write the copy of ``uri`` and ``image_id`` to ``copy``, always the same bytes; returns why it cannot be made.

    Raises:
        DiskFullError: there is no room for it.
    """
    try:
        data = read_bytes(row["uri"])
        # The copy bears the image's id: made of other bytes it would stand for another image.
        if hashlib.sha256(data).hexdigest() != row["image_id"]:
            return f"{row['uri']} has changed: run `pocketeva prepare` again"
        with atomic_path(Path(row["copy"])) as unfinished:
            shrunk(decode(data), size).save(unfinished, "JPEG", quality=QUALITY, subsampling="4:4:4")
    except (DecodeError, OSError) as error:
        return f"{row['uri']}: {error}"
    return None


def shrunk(image: Image.Image, size: int) -> Image.Image:
    """The image with a shorter side of ``size`` pixels, its aspect kept."""
    short = min(image.size)
    width, height = (round(side * size / short) for side in image.size)
    return resize(image, width, height)


def warn_if_enlarged(size: int | None, input_size: int, who: str) -> None:
    """Warn where working copies are smaller than a model's input (both in pixels)."""
    if size is not None and size < input_size:
        log.print(
            f"Warning: data.working_size is {size}, and the {who} looks at {input_size} pixels: copies are enlarged"
        )


def is_copy(uri: str) -> bool:
    """True where a uri names a working copy."""
    return _COPY.search(uri) is not None
