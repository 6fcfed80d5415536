from dataclasses import replace
from pathlib import Path

import pytest

from hub.checkpoints import publisher
from hub.config import HubConfig
from run.folder import RunFolder
from tests.hub.fake_hub import FakeHub

pytestmark = pytest.mark.usefixtures("local_hub")

STUDENT = "mini"
REPO = f"acme/panels-{STUDENT}"
CONFIG = HubConfig(repo="acme/panels", push_checkpoints=True, checkpoint_branch="best")


def publish(folder: Path, message: str, config: HubConfig = CONFIG) -> None:
    """As training does after an epoch, in this process."""
    to_hub = publisher(config)
    assert to_hub is not None
    to_hub(STUDENT, folder, message)


def test_publisher__pushes_to_the_branch_and_leaves_main(fake_hub: FakeHub, release_run: RunFolder) -> None:
    folder = release_run.release / STUDENT
    for message in ("epoch 0", "epoch 3"):
        (folder / "config.json").write_text(f'{{"said": "{message}"}}', encoding="utf-8")
        publish(folder, message)
    assert fake_hub.repos[REPO].private
    assert fake_hub.commits(REPO) == []
    first, second = fake_hub.commits(REPO, "best")
    assert [first.summary, second.summary] == ["epoch 0", "epoch 3"]
    assert set(second.files) == {".gitattributes", *(path.name for path in folder.iterdir())}
    assert second.operations == ("file config.json",)
    assert second.files["config.json"].content == b'{"said": "epoch 3"}'


def test_publisher__training_outlives_a_refusal(
    fake_hub: FakeHub, release_run: RunFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    fake_hub.writable = False
    publish(release_run.release / STUDENT, "epoch 0")  # and training goes on
    said = capsys.readouterr().err
    assert "Warning: this checkpoint was not published" in said
    assert REPO in said
    assert "may not write here" in said


def test_publisher__training_outlives_a_lost_network(
    fake_hub: FakeHub, release_run: RunFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    fake_hub.stop()
    publish(release_run.release / STUDENT, "epoch 0")  # and training goes on
    said = capsys.readouterr().err
    assert "Warning: this checkpoint was not published" in said


def test_publisher__nothing_where_not_asked_for() -> None:
    assert publisher(HubConfig(repo="acme/panels")) is None


def test_publisher__passes_over_what_is_not_published(fake_hub: FakeHub, release_run: RunFolder) -> None:
    publish(release_run.release / STUDENT, "epoch 0", replace(CONFIG, models=("teacher",)))
    assert not fake_hub.repos
