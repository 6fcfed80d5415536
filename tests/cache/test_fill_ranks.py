"""One cache made by several processes that share nothing but the folder."""

from pathlib import Path

import pytest

from cache.plan import read_plans
from cache.read import read_outputs
from cache.shards import discard
from tests.cache import view_caches
from tests.cache.view_caches import SMALL, fill, manifest, model, opened, shards
from tests.support import files_below
from tests.two import Started

VIEWS = 3


@pytest.fixture(autouse=True)
def small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    for module, name, value in SMALL:
        monkeypatch.setattr(module, name, value)


def started(root: Path, rank: int, *, patience: float = 300, batches: int = -1) -> Started:
    """A process that is one of two, killed in the middle of a batch if it is told so."""
    place = {"RANK": str(rank), "WORLD_SIZE": "2"}
    return Started(root, str(rank), view_caches.main, root, VIEWS, patience, batches, **place)


def both(root: Path) -> list[list[int]]:
    """For each of two processes: images through its own model, through both, and found."""
    processes = [started(root, rank) for rank in (1, 0)]
    results = [process.ended() for process in processes]
    assert [code for code, *_ in results] == [0, 0], results
    return [[int(word) for word in out.split()] for _, out, _ in reversed(results)]


def test_fill__two_processes_give_the_bytes_of_one(tmp_path: Path) -> None:
    classifier = model()
    fill(opened(tmp_path / "one", classifier), classifier, manifest(), VIEWS)
    (first, *_), (second, *_) = both(tmp_path / "two")
    assert (first, second) == (21, 12), "shards 0 and 2 of four and three images; shard 1 of four"
    assert files_below(tmp_path / "two") == files_below(tmp_path / "one"), "plans and keys too"


def test_fill__a_killed_process_is_missed_and_resumes(tmp_path: Path) -> None:
    classifier = model()
    whole, cut = opened(tmp_path / "whole", classifier), opened(tmp_path / "cut", classifier)
    fill(whole, classifier, manifest(), VIEWS)

    processes = [started(tmp_path / "cut", 0, patience=1.0), started(tmp_path / "cut", 1, batches=1)]
    (code, _, error), (killed, *_) = [process.ended() for process in processes]
    assert (code, killed) == (1, -9)
    assert "for other processes to finish 1 shard, for example " in error
    assert len(shards(cut)) == 4, "two shards of the first process"

    damaged = next(shard for plan in read_plans(cut.folder).values() for shard in plan)
    path = damaged.values_path(cut.folder)
    path.write_bytes(path.read_bytes()[:-2] + b"zz")
    (first, *_), (second, *_) = both(tmp_path / "cut")
    assert (first, second) == (12, 12), "each the shard of its own that is missing or wrong"
    assert shards(cut) == shards(whole)


def test_discard__beside_someone_who_reads(tmp_path: Path) -> None:
    classifier = model()
    cache = opened(tmp_path, classifier)
    fill(cache, classifier, manifest(), VIEWS)
    outputs = read_outputs(cache, manifest().column("image_id"), VIEWS)
    values = outputs[:]
    for shard in [shard for plan in read_plans(cache.folder).values() for shard in plan]:
        assert discard(cache.folder, shard)
        assert not discard(cache.folder, shard), "a second process may be late"
    assert (outputs[:] == values).all()
    assert shards(cache) == {}
