"""Fixtures of the hub room."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
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
def local_hub(fake_hub: FakeHub) -> Iterator[None]:
    """Every client in this process speaks to the server, with its token."""
    with speaking_to(fake_hub):
        yield


@contextmanager
def speaking_to(hub: FakeHub) -> Iterator[None]:
    """Every client in this process speaks to the server, with its token."""
    with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory() as cache:
        patch.setattr(constants, "HF_HUB_CACHE", cache)
        patch.setattr(constants, "HF_HUB_OFFLINE", False)
        patch.setattr(constants, "HF_HUB_DISABLE_XET", True)
        patch.setattr(constants, "ENDPOINT", hub.url)
        patch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", hub.url + "/{repo_id}/resolve/{revision}/{filename}")
        patch.setenv("no_proxy", "127.0.0.1")
        patch.setenv("HF_TOKEN", TOKEN)
        yield
