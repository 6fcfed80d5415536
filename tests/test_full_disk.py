"""Stages that make large files on a full disk: one message, nothing cut, and with room again the same bytes."""

import contextlib
import gc
import os
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import pocketeva
from tests import finished
from tests.support import files_below

SIZE = 64 << 20


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A small disk, which holds the temporary files too."""
    disk = tmp_path / "small"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "tmpfs", str(disk)], check=False).returncode:
        pytest.skip("no disk can be mounted here")
    (disk / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(disk / "temporary"))
    try:
        yield disk
    finally:
        subprocess.run(["umount", "--lazy", str(disk)], check=True)  # a file may still be mapped


@contextlib.contextmanager
def filled(disk: Path, left: int) -> Iterator[None]:
    """Leave so many bytes of a disk free while the block runs."""
    # What is mapped still takes room when its file is gone: let go of late, it would give a stage room after all.
    gc.collect()
    usage = os.statvfs(disk)
    filler = disk / "filler"
    filler.write_bytes(b"\0" * (usage.f_bavail * usage.f_frsize - left))
    try:
        yield
    finally:
        filler.unlink()


@pytest.mark.slow
def test_verbs__on_a_full_disk_and_with_room_again(
    small: Path, finished_root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config: dict[str, Any] = finished.settings()
    config["data"] |= {"path": str(finished_root / "images.csv")}
    config["export"] = finished.FP32_ALONE
    finished.write_config(small, config)
    run = small / "outputs" / "quick"
    with contextlib.chdir(small):
        for verb in ("prepare", "train", "distill", "export", "verify"):
            for left in (4 << 10, 40 << 10):
                before = files_below(run) if run.is_dir() else {}
                capsys.readouterr()
                with filled(small, left):
                    code = pocketeva.main([verb, "config.yaml"])
                said = capsys.readouterr().err
                assert code == pocketeva.WRONG_INPUT, f"{verb} with {left} bytes: {said}"
                assert said.count(f"pocketeva {verb}: ") == 1, said
                # The cache reckons what it needs before it begins, and says how to need less.
                assert "the disk is full: there is no room for " in said or "are free: " in said, said
                assert "Traceback" not in said
                now = files_below(run)
                assert {name: now.get(name) for name in before} == before, "what was there is as it was"
                assert not [name for name in now if ".partial-" in name]
                assert not list((small / "temporary").iterdir())
            assert pocketeva.main([verb, "config.yaml"]) == pocketeva.DONE
    expected, found = (files_below(root / "outputs" / "quick") for root in (finished_root, small))
    same = [
        name for name in expected if name.endswith((".safetensors", "/model.onnx")) or name == "data/manifest.parquet"
    ]
    assert len(same) >= 6
    assert [name for name in same if found[name] != expected[name]] == []
