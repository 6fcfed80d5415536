from pathlib import Path

from hub.checkpoints import publisher
from hub.config import HubConfig
from run.folder import RunFolder
from tests.hub.fake_hub import FakeHub
from tests.hub.scripts import run_python

PUBLISH = """
from pathlib import Path
from hub.checkpoints import publisher
from hub.config import HubConfig
publish = publisher(HubConfig(repo="acme/panels", push_checkpoints=True, checkpoint_branch="best"))
publish({name!r}, Path({folder!r}), {message!r})
print("training goes on")
"""
STUDENT = "mini"
REPO = f"acme/panels-{STUDENT}"


def publish_code(folder: Path, message: str) -> str:
    return PUBLISH.format(name=STUDENT, folder=str(folder), message=message)


def test_publisher__pushes_to_the_branch_and_leaves_main(
    fake_hub: FakeHub, release_run: RunFolder, tmp_path: Path
) -> None:
    folder = release_run.release / STUDENT
    for message in ("epoch 0", "epoch 3"):
        (folder / "config.json").write_text(f'{{"said": "{message}"}}', encoding="utf-8")
        result = run_python(publish_code(folder, message), fake_hub, tmp_path)
        assert result.stdout == "training goes on\n", result.stderr
    assert fake_hub.repos[REPO].private
    assert fake_hub.commits(REPO) == []
    first, second = fake_hub.commits(REPO, "best")
    assert [first.summary, second.summary] == ["epoch 0", "epoch 3"]
    assert set(second.files) == {".gitattributes", *(path.name for path in folder.iterdir())}
    assert second.operations == ("file config.json",)
    assert second.files["config.json"].content == b'{"said": "epoch 3"}'


def test_publisher__training_outlives_a_refusal(fake_hub: FakeHub, release_run: RunFolder, tmp_path: Path) -> None:
    fake_hub.writable = False
    result = run_python(publish_code(release_run.release / STUDENT, "epoch 0"), fake_hub, tmp_path)
    assert result.stdout == "training goes on\n", result.stderr
    assert "Warning: this checkpoint was not published" in result.stderr
    assert REPO in result.stderr
    assert "may not write here" in result.stderr


def test_publisher__training_outlives_a_lost_network(fake_hub: FakeHub, release_run: RunFolder, tmp_path: Path) -> None:
    fake_hub.stop()
    result = run_python(publish_code(release_run.release / STUDENT, "epoch 0"), fake_hub, tmp_path)
    assert result.stdout == "training goes on\n", result.stderr
    assert "Warning: this checkpoint was not published" in result.stderr


def test_publisher__nothing_where_not_asked_for() -> None:
    assert publisher(HubConfig(repo="acme/panels")) is None


def test_publisher__passes_over_what_is_not_published(
    fake_hub: FakeHub, release_run: RunFolder, tmp_path: Path
) -> None:
    code = publish_code(release_run.release / STUDENT, "epoch 0").replace(
        "push_checkpoints", 'models=("teacher",), push_checkpoints'
    )
    assert run_python(code, fake_hub, tmp_path).stdout == "training goes on\n"
    assert not fake_hub.repos
