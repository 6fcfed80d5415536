"""Fixtures of the hub room."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from run.folder import RunFolder
from tests.hub.fake_hub import FakeHub


@pytest.fixture
def release_run(finished_run: RunFolder, tmp_path: Path) -> RunFolder:
    """A copy of a finished run, to be changed."""
    shutil.copytree(finished_run.root, tmp_path / "panels")
    return RunFolder(tmp_path / "panels")


@pytest.fixture
def fake_hub() -> Iterator[FakeHub]:
    """A running server."""
    hub = FakeHub()
    yield hub
    hub.stop()
