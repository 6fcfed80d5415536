"""Fixtures of the hub room."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from huggingface_hub import constants

from run.folder import RunFolder
from tests.finished import settings
from tests.hub.fake_hub import TOKEN, FakeHub
from tests.support import FOUR
from verify.config import VerifyConfig
from verify.ledger import LEDGER
from verify.verify import Verification

VERIFY = VerifyConfig(**settings()["verify"])


@pytest.fixture
def release_run(finished_run: RunFolder, tmp_path: Path) -> RunFolder:
    """A copy of a finished run, to be changed."""
    shutil.copytree(finished_run.root, tmp_path / "panels")
    shutil.copyfile(finished_run.root.parent / LEDGER, tmp_path / LEDGER)
    return RunFolder(tmp_path / "panels")


@pytest.fixture
def verification(release_run: RunFolder) -> Verification:
    """What that run is judged by."""
    return Verification(release_run, "quick", FOUR, VERIFY, ["mini"])


@pytest.fixture
def fake_hub() -> Iterator[FakeHub]:
    """A running server."""
    hub = FakeHub()
    yield hub
    hub.stop()


@pytest.fixture
def local_hub(fake_hub: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every client in this process speaks to the server, with its token."""
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setattr(constants, "ENDPOINT", fake_hub.url)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setenv("HF_TOKEN", TOKEN)
