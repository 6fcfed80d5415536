import os
import re
from pathlib import Path

import pytest

from run import usage
from run.usage import duration, limit_threads, peak_memory, usable_cores


@pytest.mark.parametrize(
    ("limit", "bound", "cores"),
    [
        (None, 8, 8),
        ("max 100000", 8, 8),
        ("150000 100000", 8, 2),
        ("50000 100000", 8, 1),
        ("800000 100000", 2, 2),
        ("", 3, 3),
    ],
)
def test_usable_cores__of_a_container_and_of_what_a_process_is_bound_to(
    limit: str | None, bound: int, cores: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(bound)), raising=False)
    monkeypatch.setattr(usage, "_QUOTA", tmp_path / "cpu.max")
    if limit is not None:
        (tmp_path / "cpu.max").write_text(limit)
    assert usable_cores.__wrapped__() == cores


def test_usable_cores__without_either(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(usage, "_QUOTA", tmp_path / "none")
    assert usable_cores.__wrapped__() == (os.cpu_count() or 1)


@pytest.mark.parametrize(
    ("limit", "asked", "threads"),
    [("200000 100000", None, "2"), ("200000 100000", "7", "7"), ("max 100000", None, None)],
)
def test_limit_threads__to_a_container_and_not_what_a_user_asked_for(
    limit: str, asked: str | None, threads: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)
    monkeypatch.setattr(usage, "_QUOTA", tmp_path / "cpu.max")
    monkeypatch.setattr(usage, "usable_cores", usable_cores.__wrapped__)
    (tmp_path / "cpu.max").write_text(limit)
    monkeypatch.setenv("OMP_NUM_THREADS", asked or "")
    if asked is None:
        monkeypatch.delenv("OMP_NUM_THREADS")
    limit_threads()
    assert os.environ.get("OMP_NUM_THREADS") == threads


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0.04, "0.0 s"), (59.4, "59.4 s"), (75.2, "1 min 15 s"), (3599.6, "1 h 0 min"), (7384, "2 h 3 min")],
)
def test_duration(seconds: float, said: str) -> None:
    assert duration(seconds) == said


def test_peak_memory__of_this_process() -> None:
    found = re.match(r"(\d+\.\d) GB", peak_memory())
    assert found
    assert 0 < float(found[1]) < 64
