"""Fixtures that several rooms' tests share."""

import os

os.environ.setdefault("HF_HUB_OFFLINE", "1")  # before huggingface_hub is imported: no test needs the network
os.environ.setdefault("HF_DATASETS_OFFLINE", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
THREADS = 1
"""That tests compute with: of tiny models, more only wait for each other."""

os.environ["OMP_NUM_THREADS"] = str(THREADS)
os.environ["COLUMNS"] = "300"  # before a console is made: long temporary paths must not wrap what is looked for

import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests import one_thread  # noqa: F401  # for its effect

if TYPE_CHECKING:  # inside fixtures otherwise: the process that shares the files out would import PyTorch first
    from data.manifest import Manifest
    from run.folder import RunFolder
    from verify.certificate import Certificate

# What a shell starts in the background ignores Ctrl-C, and so would the processes that tests interrupt.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files with slow tests come first, so that processes that share the files out end at about the same time.

    Of these, files of one folder are kept apart: they share what takes long to make, and would wait for each other. The
    one that takes minutes alone is the very first, or one process would end with it while the other has nothing to do.
    """
    slow = {item.path: marker for item in items if (marker := item.get_closest_marker("slow"))}
    turns = {path: sum(path.parent == other.parent and other < path for other in slow) for path in slow}
    turns |= {path: -1 for path, marker in slow.items() if marker.kwargs.get("minutes")}
    items.sort(key=lambda item: turns.get(item.path, len(items)))


@pytest.fixture(autouse=True)
def _threads_as_before() -> Iterator[None]:
    """Fail a test that changes how many threads later ones compute with, which changes the last bits of weights."""
    yield
    torch = sys.modules.get("torch")
    if torch is not None and (threads := torch.get_num_threads()) != THREADS:
        torch.set_num_threads(THREADS)
        pytest.fail(f"the test leaves PyTorch with {threads} threads")


@pytest.fixture(scope="session", autouse=True)
def _quick_export() -> None:
    """Only where PyTorch is imported anyway."""
    if "torch" in sys.modules:
        from tests import quick_export  # noqa: F401  # for its effect


@pytest.fixture(scope="session", autouse=True)
def _few_rounds() -> Iterator[None]:
    """Time files in a few rounds: no test depends on how exact a time is, and every run that is judged takes some."""
    from export import timing

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(timing, "ROUNDS", timing.FEWEST)
        yield


@pytest.fixture(scope="session")
def elpv_run(tmp_path_factory: pytest.TempPathFactory) -> "tuple[RunFolder, Manifest]":
    """A prepared run over 64 real photographs; tests copy it or leave it as it is."""
    from tests import support

    return support.prepared_elpv(tmp_path_factory.mktemp("elpv"), 64)


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """A folder with eight real photographs in each of two label folders."""
    from tests import support

    return support.label_folders(tmp_path / "images", {"sound": 8, "broken": 8})


@pytest.fixture(scope="session")
def finished_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working folder in which a run of the smallest models has finished; tests copy it or leave it as it is."""
    from tests import finished, support

    def finish(root: Path) -> None:
        with support.named_machine():
            finished.finish(root, finished.settings())

    return support.made_once(tmp_path_factory, "finished", finish)


@pytest.fixture(scope="session")
def finished_run(finished_root: Path) -> "RunFolder":
    """The run in ``finished_root``."""
    from run.folder import RunFolder

    return RunFolder(finished_root / "outputs" / "quick")


@pytest.fixture(scope="session")
def certificate(finished_run: "RunFolder") -> "Certificate":
    """That of ``finished_run``; tests alter it by ``dataclasses.replace``."""
    from verify.certificate import Certificate

    return Certificate.read(finished_run.verify / "certificate.json")


@pytest.fixture(scope="session")
def node_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which npm installed onnxruntime-web, with its runner, and transformers.js."""
    from tests import node, support

    return support.made_once(tmp_path_factory, "node", node.install_or_skip)


@pytest.fixture(scope="session")
def multilabel_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working folder in which a multilabel run has finished; tests copy it or leave it as it is."""
    from tests import finished, support

    return support.made_once(tmp_path_factory, "multilabel", finished.finish_multilabel)
