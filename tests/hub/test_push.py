import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from data.decode import decode
from export.release import Release, ReleasedModel
from hub.config import HubConfig
from hub.push import push
from models import checkpoint
from models.decision import DecisionRule
from models.facts import CheckpointFacts
from run.errors import UserError
from run.folder import RunFolder
from tests import support
from tests.hub.fake_hub import FakeHub, Repo
from tests.hub.scripts import last_json, python_blocks, run_python
from verify.certificate import Certificate, Verdict

STUDENT = "mini"
CONFIG = HubConfig(repo="acme/panels")
REPOS = {
    "teacher": "acme/panels-teacher",
    "teacher-onnx": "acme/panels-teacher-ONNX",
    STUDENT: f"acme/panels-{STUDENT}",
    f"{STUDENT}-onnx": f"acme/panels-{STUDENT}-ONNX",
}
PUSH = """
import json
from dataclasses import asdict
from pathlib import Path
from hub.config import HubConfig
from hub.push import push
from run.folder import RunFolder
pushed = push(RunFolder(Path({root!r})), HubConfig(repo="acme/panels"), dry_run={dry_run}, allow_unverified=False)
print(json.dumps([asdict(one) for one in pushed]))
"""


def push_code(run: RunFolder, *, dry_run: bool = False) -> str:
    return PUSH.format(root=str(run.root), dry_run=dry_run)


def test_push__one_private_commit_a_folder(fake_hub: FakeHub, release_run: RunFolder, tmp_path: Path) -> None:
    (release_run.release / STUDENT / ".partial-model.safetensors").write_bytes(b"left over")
    pushed = last_json(run_python(push_code(release_run), fake_hub, tmp_path))
    assert {one["folder"]: one["repo"] for one in pushed} == REPOS
    assert set(fake_hub.repos) == set(REPOS.values())
    for folder, repo in REPOS.items():
        assert fake_hub.repos[repo].private
        (commit,) = fake_hub.commits(repo)
        assert commit.parent_asked == fake_hub.repos[repo].branches["main"][0].oid
        sent = {path: file.content for path, file in commit.files.items() if path != ".gitattributes"}
        local = (path for path in (release_run.release / folder).rglob("*") if path.is_file())
        assert sent == {
            path.relative_to(release_run.release / folder).as_posix(): path.read_bytes()
            for path in local
            if not path.name.startswith(".partial-")
        }
        assert "README.md" in sent


def test_push__again_changes_nothing_and_removed_files_go(
    fake_hub: FakeHub, release_run: RunFolder, tmp_path: Path
) -> None:
    old = release_run.release / "teacher-onnx" / "old.html"
    old.write_text("old", encoding="utf-8")
    first = last_json(run_python(push_code(release_run), fake_hub, tmp_path))
    assert all(one["changed"] for one in first)
    old.unlink()
    second = last_json(run_python(push_code(release_run), fake_hub, tmp_path))
    assert [one["folder"] for one in second if one["changed"]] == ["teacher-onnx"]
    assert fake_hub.commits(REPOS["teacher-onnx"])[-1].operations == ("deletedFile old.html",)
    assert all(len(fake_hub.commits(repo)) == 1 for folder, repo in REPOS.items() if folder != "teacher-onnx")


@pytest.mark.slow
@pytest.mark.parametrize("root", ["finished_root", "multilabel_root"])
def test_push__the_code_in_the_cards_gives_our_scores(
    fake_hub: FakeHub, tmp_path: Path, root: str, request: pytest.FixtureRequest
) -> None:
    (finished,) = (request.getfixturevalue(root) / "outputs").iterdir()
    shutil.copytree(finished, tmp_path / "panels")
    release_run = RunFolder(tmp_path / "panels")
    run_python(push_code(release_run), fake_hub, tmp_path).check_returncode()
    image = support.picture(97, 53)
    image.save(tmp_path / "image.jpg", quality=95)
    code = ["import json", "found = {}"]
    for folder, repo in REPOS.items():
        card = fake_hub.commits(repo)[-1].files["README.md"].content.decode()
        blocks = python_blocks(card)
        assert len(blocks) == (1 if folder.endswith("-onnx") else 2)
        code += [blocks[0], f"found[{folder!r}] = scores"]
        if len(blocks) == 2:
            code += [
                blocks[1],
                f"found[{folder!r} + '/pipeline'] = {{p['label']: p['score'] for p in classify('image.jpg')}}",
            ]
    found = last_json(run_python("\n".join([*code, "print(json.dumps(found))"]), fake_hub, tmp_path))
    assert len(found) == 6
    for source, scores in found.items():
        model = Release(release_run.release).model(source.split("/")[0].removesuffix("-onnx"))
        assert scores == pytest.approx(our_scores(model, tmp_path / "image.jpg"), abs=2e-4), source


def our_scores(model: ReleasedModel, path: Path) -> dict[str, float]:
    """Scores of the checkpoint, by label; another resize mode would give others."""
    classifier = checkpoint.load(model.checkpoint, CheckpointFacts.read(model.checkpoint).labels)
    image = decode(path.read_bytes())
    specs = classifier.spec, replace(classifier.spec, mode="center", crop_pct=0.8)
    pixels = np.stack([spec.normalize(spec.render(image)) for spec in specs])
    with torch.inference_mode():
        ours, others = DecisionRule.of(classifier.labels).probabilities(
            classifier.model(torch.from_numpy(pixels)).numpy()
        )
    assert np.abs(ours - others).max() > 5e-4, "the test sees no difference between resize modes"
    return dict(zip(classifier.labels.names, ours.tolist(), strict=True))


def test_push__dry_run_touches_no_network(fake_hub: FakeHub, release_run: RunFolder, tmp_path: Path) -> None:
    result = run_python(push_code(release_run, dry_run=True), fake_hub, tmp_path)
    assert [one["url"] for one in last_json(result)] == [None] * 4
    assert fake_hub.requests == []
    size = (release_run.release / STUDENT / "model.safetensors").stat().st_size
    assert f"{size:,} bytes  model.safetensors" in result.stdout
    assert all(repo in result.stdout for repo in REPOS.values())
    assert "pipeline_tag: image-classification" in result.stdout


def test_push__a_public_repository_is_refused(fake_hub: FakeHub, release_run: RunFolder, tmp_path: Path) -> None:
    fake_hub.repos[REPOS["teacher"]] = Repo.new("public", private=False)
    result = run_python(push_code(release_run), fake_hub, tmp_path)
    assert "UserError: acme/panels-teacher is public on the Hub and hub.private is true" in result.stderr
    assert not any(fake_hub.commits(repo) for repo in fake_hub.repos)


def test_push__another_ones_commit_is_not_overwritten(
    fake_hub: FakeHub, release_run: RunFolder, tmp_path: Path
) -> None:
    fake_hub.intruder = True
    result = run_python(push_code(release_run), fake_hub, tmp_path)
    assert "the branch has moved on" in result.stderr
    assert [commit.summary for commit in fake_hub.commits(REPOS["teacher"])] == ["someone else's"]


def test_push__a_wrong_token_is_the_users_to_put_right(
    fake_hub: FakeHub, release_run: RunFolder, tmp_path: Path
) -> None:
    result = run_python(push_code(release_run), fake_hub, tmp_path, token="hf_wrong")
    assert "run.errors.UserError: acme/panels-teacher cannot be written on the Hub" in result.stderr
    assert "`hf auth login`" in result.stderr
    assert "hf_wrong" not in result.stdout + result.stderr


def test_push__no_network_is_the_users_to_put_right(fake_hub: FakeHub, release_run: RunFolder, tmp_path: Path) -> None:
    fake_hub.stop()
    result = run_python(push_code(release_run), fake_hub, tmp_path)
    assert "run.errors.UserError: acme/panels-" in result.stderr
    assert "cannot be written on the Hub" in result.stderr


def refused(run: RunFolder) -> str:
    with pytest.raises(UserError) as caught:
        push(run, CONFIG, dry_run=True, allow_unverified=False)
    return str(caught.value)


def allowed(run: RunFolder) -> str:
    """The student's card when pushed all the same."""
    push(run, CONFIG, dry_run=True, allow_unverified=True)
    return (run.release / STUDENT / "README.md").read_text(encoding="utf-8")


def test_push__without_certificate(release_run: RunFolder) -> None:
    (release_run.verify / "certificate.json").unlink()
    message = refused(release_run)
    assert "certificate.json is not there" in message
    assert "pocketeva verify" in message
    card = allowed(release_run)
    assert "**Not verified.** Nothing was measured" in card
    assert "## Results" not in card


@pytest.mark.parametrize("verdict", ["FAIL", "INCONCLUSIVE"])
def test_push__with_another_verdict_than_pass(
    release_run: RunFolder, certificate: Certificate, verdict: Verdict
) -> None:
    criteria = tuple(
        replace(found, verdict=verdict, more_images=1234) if found.name == "agreement" else found
        for found in certificate.criteria
    )
    replace(certificate, verdict=verdict, criteria=criteria).write(release_run.verify / "certificate.json")
    assert f"certificate.json says {verdict}" in refused(release_run)
    card = allowed(release_run)
    assert card.split("---\n", 2)[2].strip().splitlines()[2].startswith(f"> **Not verified: the verdict is {verdict}**")
    assert ("About 1,234 more test images" in card) == (verdict == "INCONCLUSIVE")
    assert "## Results" in card


def test_push__with_a_changed_file(release_run: RunFolder) -> None:
    name = f"{STUDENT}-onnx/onnx/model.onnx"
    with (release_run.release / name).open("ab") as file:
        file.write(b"\0")
    assert f"release/{name} has changed since it was judged" in refused(release_run)
    card = allowed(release_run)
    assert f"> * release/{name} has changed" in card
    assert "## Results" not in card
    assert "model-index" not in card


def test_push__with_a_missing_file(release_run: RunFolder) -> None:
    (release_run.release / "teacher" / "model.safetensors").unlink()
    assert "release/teacher/model.safetensors was judged and is no longer there" in refused(release_run)


def test_push__with_a_file_never_judged(release_run: RunFolder) -> None:
    (release_run.release / f"{STUDENT}-onnx" / "onnx" / "model_q4.onnx").write_bytes(b"new")
    assert f"release/{STUDENT}-onnx/onnx/model_q4.onnx was never judged" in refused(release_run)


def test_push__with_a_damaged_certificate(release_run: RunFolder) -> None:
    (release_run.verify / "certificate.json").write_text("{", encoding="utf-8")
    assert "certificate.json is not JSON" in refused(release_run)


def test_push__with_a_certificate_of_an_older_version(release_run: RunFolder) -> None:
    (release_run.verify / "certificate.json").write_text('{"format": 1, "verdict": "PASS"}', encoding="utf-8")
    message = refused(release_run)
    assert message.endswith("has schema version 1, and this version of PocketEVA reads 2: run `pocketeva verify` again")
    assert "\n" not in message


def test_push__nowhere_and_nothing(release_run: RunFolder, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"hub\.repo is null"):
        push(release_run, HubConfig(), dry_run=True, allow_unverified=False)
    with pytest.raises(UserError, match="run `pocketeva export` first"):
        push(RunFolder(tmp_path / "empty"), CONFIG, dry_run=True, allow_unverified=True)


def test_push__certificate_is_left_alone(release_run: RunFolder) -> None:
    path = release_run.verify / "certificate.json"
    before = json.loads(path.read_text(encoding="utf-8"))
    push(release_run, CONFIG, dry_run=True, allow_unverified=False)
    assert json.loads(path.read_text(encoding="utf-8")) == before
