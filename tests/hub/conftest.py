"""Fixtures of the hub room."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from run.folder import RunFolder
from tests.hub import releases
from tests.hub.fake_hub import FakeHub


@pytest.fixture(scope="session")
def released(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """A run with release and certificate; tests leave it as it is."""
    return releases.write_release(tmp_path_factory.mktemp("released") / "panels")


@pytest.fixture
def release_run(released: RunFolder, tmp_path: Path) -> RunFolder:
    """A copy, to be changed."""
    shutil.copytree(released.root, tmp_path / "panels")
    return RunFolder(tmp_path / "panels")


@pytest.fixture
def fake_hub() -> Iterator[FakeHub]:
    """A running server."""
    hub = FakeHub()
    yield hub
    hub.stop()
