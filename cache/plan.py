"""The plans of a view cache: the shards it consists of, decided once and written down.

Every request (these images, that many views) that is not covered yet adds a plan, ``plan-NNN.json.gz``: the missing
images sorted by id, cut into shards of ``SHARD_IMAGES``, and how many renders go through the model at a time. A shard's
number in its plan says which process makes it. As the plan outlives its making, a cache comes out the same however many
processes made it and however often they were killed.
"""

import gzip
import json
import zlib
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator
from dataclasses import asdict
from pathlib import Path

from cache.shards import Shard
from run.console import log
from run.errors import quoted
from run.files import atomic_path
from run.ranks import Rank, wait_until_empty

SHARD_IMAGES = 256
PLANS = "plan-*.json.gz"

Plan = list[Shard]


def ensure_planned(
    folder: Path, images: Collection[str], views: int, rank: Rank, batch_size: Callable[[], int]
) -> None:
    """Process 0 plans the views of these images that are on no plan yet; the others wait.

    ``batch_size`` says how many renders go through the model at a time; it is asked only where a plan is made.

    Raises:
        UserError: no plan came.
    """
    wanted = set(images)
    if rank.number:
        # One process decides: two that plan at once would cut different shards.
        wait_until_empty(lambda: _uncovered(read_plans(folder).values(), wanted, views), "planned image")
        return
    plans = read_plans(folder)
    for path in set(folder.glob(PLANS)).difference(plans):
        log.print(f"{quoted(path)} is damaged; its images are planned again", soft_wrap=True)
        path.unlink()
    missing = _uncovered(plans.values(), wanted, views)
    if missing:
        # Above every number that is taken, gaps included: a plan is never overwritten.
        number = max((int(path.name.split(".")[0].removeprefix("plan-")) for path in plans), default=-1) + 1
        _write(folder / f"plan-{number:03d}.json.gz", list(_cut(missing, views, batch_size())))


def planned_shards(folder: Path, images: Collection[str], views: int) -> list[tuple[int, Shard]]:
    """The shards that hold some of views 0 to ``views`` of these images, each with its number in its plan."""
    wanted = set(images)
    return [
        (number, shard)
        for plan in read_plans(folder).values()
        for number, shard in enumerate(plan)
        if shard.start < views and not wanted.isdisjoint(shard.images)
    ]


def unplan(folder: Path, shards: Collection[Shard]) -> None:
    """Take shards off the plans that name them."""
    for path, plan in read_plans(folder).items():
        left = [shard for shard in plan if shard not in shards]
        if len(left) < len(plan):
            _write(path, left)


def read_plans(folder: Path) -> dict[Path, Plan]:
    """All plans that can be read, in the order they were made."""
    found = {path: _read(path) for path in sorted(folder.glob(PLANS))}
    return {path: plan for path, plan in found.items() if plan is not None}


def _read(path: Path) -> Plan | None:
    try:
        records = json.loads(gzip.decompress(path.read_bytes()))["shards"]
        return [Shard(**{**record, "images": tuple(record["images"])}) for record in records]
    except (FileNotFoundError, gzip.BadGzipFile, zlib.error, EOFError, ValueError, KeyError, TypeError):
        return None


def _write(path: Path, plan: Plan) -> None:
    text = json.dumps({"shards": [asdict(shard) for shard in plan]}, ensure_ascii=False)
    with atomic_path(path) as partial:  # ids are hex digits: compressed, they take half as much
        partial.write_bytes(gzip.compress(text.encode(), compresslevel=1, mtime=0))


def _uncovered(plans: Collection[Plan], wanted: set[str], views: int) -> dict[str, int]:
    """Images that have views on no plan, with the first such view."""
    have: dict[str, int] = defaultdict(int)
    for shard in sorted((shard for plan in plans for shard in plan), key=lambda shard: shard.start):
        for image in shard.images:
            # Shards come by their first view: one that begins later leaves a gap and counts for nothing.
            if have[image] >= shard.start:
                have[image] = max(have[image], shard.stop)
    return {image: have[image] for image in wanted if have[image] < views}


def _cut(missing: dict[str, int], views: int, batch: int) -> Iterator[Shard]:
    by_start = defaultdict(list)
    # Sorted by id: a set has no order, and shards must not depend on one.
    for image in sorted(missing):
        by_start[missing[image]].append(image)
    for start, images in sorted(by_start.items()):
        for i in range(0, len(images), SHARD_IMAGES):
            yield Shard(tuple(images[i : i + SHARD_IMAGES]), start, views, batch)
