"""Images as batches: decoded once, rendered in worker processes, in an order that a seed and the epoch decide."""

import signal
from collections.abc import Callable, Iterator
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from threadpoolctl import threadpool_limits
from torch.utils.data import DataLoader, Dataset, Sampler

from data.decode import DecodeError, decode
from data.examples import Examples
from data.storage import read_bytes
from data.views import View
from data.working import is_copy
from run.errors import UserError, quoted
from run.ranks import Rank, this_rank

Render = Callable[[Image.Image, View], NDArray[np.uint8]]
"""Pixels [S, S, 3] of a view; ``models.spec.InputSpec.render`` is one."""


class ViewValues(Protocol):
    """An array [rows, views, C], or what is indexed like one and read only where it is asked for."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Rows, views, C."""

    def __getitem__(self, key: Any, /) -> NDArray[np.floating]:
        """Values [..., C]."""


Item = tuple[int, int]
"""A row of the manifest and a view index."""


class ViewDataset(Dataset[dict[str, Any]]):
    """Renders of (row, view) items, with the row's target.

    An example holds ``image`` (uint8 [3, S, S]), ``target`` (float32 [C]), ``labeled`` (1.0 or 0.0) and ``image_id``.
    Where there is a teacher, it also holds its logits for the very view, ``teacher`` (float32 [C]), or for a view that
    the teacher has not seen yet, its own render of it, ``teacher_image`` (uint8 [3, T, T]).

    Args:
        teacher: logits [rows, views, C]; an item's view indexes into it.
        teacher_render: as ``render``, for the teacher; null where ``teacher`` has all views that are asked for.
    """

    def __init__(
        self,
        examples: Examples,
        render: Render,
        teacher: ViewValues | None = None,
        teacher_render: Render | None = None,
    ) -> None:
        rows = examples.rows
        self._uris = rows.table.column("uri").combine_chunks()  # Arrow, not lists: worker processes share it
        self._ids = rows.table.column("image_id").combine_chunks()
        self._targets = rows.targets()
        self._labeled = rows.labeled()
        self._render = render
        self._spec = examples.views
        self._teacher = teacher
        self._teacher_render = teacher_render
        self._known_views = 0 if teacher is None else teacher.shape[1]

    def __getitem__(self, item: Item) -> dict[str, Any]:
        row, index = item
        image_id = self._ids[row].as_py()
        image = load(self._uris[row].as_py())
        view = self._spec.draw(image_id, index, *image.size)
        example = {
            "image": to_chw(self._render(image, view)),
            "target": self._targets[row],
            "labeled": np.float32(self._labeled[row]),
            "image_id": image_id,
        }
        if self._teacher_render is not None and index >= self._known_views:
            example["teacher_image"] = to_chw(self._teacher_render(image, view))
        elif self._teacher is not None:
            example["teacher"] = self._teacher[row, index].astype(np.float32)
        return example


class EpochSampler(Sampler[Item]):
    """Every row once an epoch, in an order drawn from the seed and the epoch, each with that epoch's view.

    Of several processes each takes every world-th row of the one order, so that their batches together are those of a
    process alone whose batches are as large as all of theirs. What does not go round evenly is left out.

    Args:
        views: the views to go through; the image in row r gets view (epoch + r) mod ``views``. Null is as 1 view and
            fresh ones from the start: view ``epoch + 1`` of every image.
        fresh_from: in this epoch every image gets view ``views``, in the next the one after that, and so on, so that
            none comes twice; null never goes beyond ``views``.

    Raises:
        UserError: there are fewer rows than processes.
    """

    def __init__(
        self, rows: int, views: int | None, seed: int, rank: Rank | None = None, *, fresh_from: int | None = None
    ) -> None:
        self._rank = rank or this_rank()
        if rows < self._rank.world:
            raise UserError(f"{rows} training images are too few for {self._rank.world} processes")
        self._rows = rows
        self._views = 1 if views is None else views
        self._fresh_from = 0 if views is None else fresh_from
        self._seed = seed
        self._epoch = 0
        self._skipped = 0

    def set_epoch(self, epoch: int) -> None:
        """Called by Lightning before each epoch, a resumed one too."""
        self._epoch = epoch

    def start_at(self, epoch: int, row: int) -> None:
        """Go on within an epoch: the next pass over it leaves out so many rows of this process, and only that pass."""
        self._epoch = epoch
        self._skipped = row

    def __iter__(self) -> Iterator[Item]:
        # The same order in every process: each takes its share of it without asking the others.
        order = np.random.default_rng((self._seed, self._epoch)).permutation(self._rows)
        share = order[self._rank.number :: self._rank.world][: len(self)].tolist()
        begun = self._skipped
        self._skipped = 0
        for row in share[begun:]:
            yield row, self._view_of(row)

    def __len__(self) -> int:
        return self._rows // self._rank.world

    def _view_of(self, row: int) -> int:
        if self._fresh_from is not None and self._epoch >= self._fresh_from:
            return self._views + self._epoch - self._fresh_from
        return (self._epoch + row) % self._views


def train_loader(
    dataset: Dataset[dict[str, Any]], sampler: EpochSampler, *, batch_size: int, workers: int
) -> DataLoader[dict[str, Any]]:
    """Shuffled batches; a last one that is not full is left out, unless it is the only one."""
    return DataLoader(
        dataset,
        batch_size=batch_size,
        sampler=sampler,
        drop_last=len(sampler) >= batch_size,
        persistent_workers=workers > 0,
        **worker_settings(workers),
    )


def whole_image_loader(
    dataset: Dataset[dict[str, Any]], rows: int, *, batch_size: int, workers: int, rank: Rank | None = None
) -> DataLoader[dict[str, Any]]:
    """View 0 of every row, in order; for one of several processes, of its share."""
    return DataLoader(
        dataset,
        batch_size=batch_size,
        sampler=whole_images(rows, rank or Rank()),
        persistent_workers=workers > 0,
        **worker_settings(workers),
    )


def worker_settings(workers: int) -> dict[str, Any]:
    """Settings of the worker processes, for every loader that reads images.

    Each runs single-threaded: torch sees to its own threads, ``_settle`` to those of numpy and scikit-learn, and Pillow
    has none. Batches are prefetched two per worker, as torch does unasked: more would only take more shared memory.
    """
    return {"num_workers": workers, "worker_init_fn": _settle, "pin_memory": torch.cuda.is_available()}


def _settle(worker: int) -> None:
    """In a worker process: one thread, or those of all workers fight for the cores; interrupts are the parent's."""
    threadpool_limits(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def whole_images(rows: int, rank: Rank) -> list[Item]:
    """View 0 of every world-th row, or where there are fewer rows than processes, of every row.

    Means over the shares, weighted by their sizes, are means over all rows either way.
    """
    return [(row, 0) for row in (range(rank.number, rows, rank.world) if rows >= rank.world else range(rows))]


def load(uri: str) -> Image.Image:
    """Decode one image, from a path or a URI.

    Raises:
        UserError: it is gone or has changed into something that does not decode since ``prepare`` read it.
    """
    try:
        return decode(read_bytes(uri))
    except (OSError, DecodeError) as error:
        remedy = "delete it and run the same command again" if is_copy(uri) else "run `pocketeva prepare` again"
        raise UserError(f"{quoted(uri)}: {error}; it was readable before: {remedy}") from error


def to_chw(pixels: NDArray[np.uint8]) -> torch.Tensor:
    """[H, W, 3] pixels as a tensor [3, H, W]."""
    return torch.from_numpy(np.ascontiguousarray(pixels.transpose(2, 0, 1)))
