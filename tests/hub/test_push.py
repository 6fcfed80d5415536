from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import torch
from safetensors.torch import load_file, save_file

from hub.config import HubConfig
from hub.push import push
from hub.remote import Pushed
from run.errors import UserError
from run.files import file_digest
from run.folder import RunFolder
from tests.hub.fake_hub import FakeHub, Repo
from tests.hub.scripts import last_json, run_python
from tests.support import edit_json
from verify.certificate import Certificate
from verify.predictions import LOGITS, Predictions
from verify.verify import Verification, verify

STUDENT = "mini"
CONFIG = HubConfig(repo="acme/panels", transformers_js=False)
PAGELESS = replace(CONFIG, page=False)
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
from data.labels import LabelSet
from hub.config import HubConfig
from hub.push import push
from hub.remote import Pushed
from run.files import file_digest
from run.folder import RunFolder
from verify.config import VerifyConfig
from verify.verify import Verification
run, labels = RunFolder(Path({root!r})), LabelSet({names!r}, {kind!r})
asked = Verification(run, {name!r}, labels, VerifyConfig(agreement=0.01, conversion=0.99), ["mini"])
config = HubConfig(repo="acme/panels", page=False, transformers_js=False)
pushed = push(asked, config, dry_run=False, allow_unverified=False)
print(json.dumps([asdict(one) for one in pushed]))
"""


def push_code(run: RunFolder) -> str:
    certificate = Certificate.read(run.verify / "certificate.json")
    labels = vars(certificate.labels)
    return PUSH.format(root=str(run.root), name=certificate.name, **labels)


def test_push__one_private_commit_a_folder(fake_hub: FakeHub, release_run: RunFolder, tmp_path: Path) -> None:
    """In a process of its own, as a user's: the Hub's client reads where the Hub is when it is imported."""
    (release_run.release / STUDENT / ".partial-model.safetensors").write_bytes(b"left over")
    sent_to = last_json(run_python(push_code(release_run), fake_hub, tmp_path))
    assert {one["folder"]: one["repo"] for one in sent_to} == REPOS
    assert fake_hub.collections == {"acme/panels-1": list(REPOS.values())}
    (tag,) = {tag for repo in REPOS.values() for tag in fake_hub.repos[repo].tags}
    assert tag.startswith("release-")
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


@pytest.mark.usefixtures("local_hub")
def test_push__again_changes_nothing(fake_hub: FakeHub, verification: Verification) -> None:
    assert all(one.changed for one in pushed(verification))
    assert not any(one.changed for one in pushed(verification))
    assert all(len(fake_hub.commits(repo)) == 1 for repo in REPOS.values())


@pytest.mark.usefixtures("local_hub")
def test_push__the_student_alone(
    fake_hub: FakeHub, verification: Verification, capsys: pytest.CaptureFixture[str]
) -> None:
    student = replace(PAGELESS, models=("mini",))
    pushed(verification, student, dry_run=True)
    assert not fake_hub.repos
    assert "acme/panels-teacher" not in capsys.readouterr().out
    assert len(pushed(verification, student)) == 2
    assert set(fake_hub.repos) == {REPOS[STUDENT], REPOS[f"{STUDENT}-onnx"]}
    for repo, published in fake_hub.repos.items():
        card = published.branches["main"][-1].files["README.md"].content.decode()
        assert "acme/panels-teacher" not in card, f"{repo} has a link to what is not there"
        assert "distilled from a teacher that is not published" in card


@pytest.mark.usefixtures("local_hub")
def test_push__dry_run_touches_no_network(
    fake_hub: FakeHub, verification: Verification, capsys: pytest.CaptureFixture[str]
) -> None:
    assert [one.url for one in pushed(verification, dry_run=True)] == [None] * 4
    assert fake_hub.requests == []
    said = capsys.readouterr().out
    size = (verification.run.release / STUDENT / "model.safetensors").stat().st_size
    assert f"{size:,} bytes  model.safetensors" in said
    assert all(repo in said for repo in REPOS.values())
    assert "pipeline_tag: image-classification" in said


@pytest.mark.usefixtures("local_hub")
def test_push__a_public_repository_is_refused(fake_hub: FakeHub, verification: Verification) -> None:
    fake_hub.repos[REPOS["teacher"]] = Repo.new("public", private=False)
    with pytest.raises(UserError, match=r"^acme/panels-teacher is public on the Hub and hub\.private is true"):
        pushed(verification)
    assert not any(fake_hub.commits(repo) for repo in fake_hub.repos)


@pytest.mark.usefixtures("local_hub")
def test_push__another_ones_commit_is_not_overwritten(fake_hub: FakeHub, verification: Verification) -> None:
    fake_hub.intruder = True
    with pytest.raises(UserError, match="the branch has moved on"):
        pushed(verification)
    assert [commit.summary for commit in fake_hub.commits(REPOS["teacher"])] == ["someone else's"]


@pytest.mark.usefixtures("local_hub")
def test_push__a_wrong_token_is_the_users_to_put_right(
    verification: Verification, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_wrong")
    with pytest.raises(UserError, match=r"^acme cannot be written on the Hub") as caught:
        pushed(verification)
    assert "`hf auth login`" in str(caught.value)
    assert "hf_wrong" not in str(caught.value) + "".join(capsys.readouterr())


@pytest.mark.usefixtures("local_hub")
def test_push__no_network_is_the_users_to_put_right(fake_hub: FakeHub, verification: Verification) -> None:
    fake_hub.stop()
    with pytest.raises(UserError, match=r"^acme.* cannot be written on the Hub"):
        pushed(verification)


def pushed(verification: Verification, config: HubConfig = PAGELESS, *, dry_run: bool = False) -> list[Pushed]:
    return list(push(verification, config, dry_run=dry_run, allow_unverified=False))


def refused(verification: Verification) -> str:
    with pytest.raises(UserError) as caught:
        push(verification, CONFIG, dry_run=True, allow_unverified=False)
    return str(caught.value)


def allowed(verification: Verification) -> str:
    """The student's card when pushed all the same."""
    push(verification, CONFIG, dry_run=True, allow_unverified=True)
    return (verification.run.release / STUDENT / "README.md").read_text(encoding="utf-8")


def certificate_path(verification: Verification) -> Path:
    return verification.run.verify / "certificate.json"


def test_push__without_certificate(verification: Verification) -> None:
    certificate_path(verification).unlink()
    message = refused(verification)
    assert "certificate.json does not exist" in message
    assert "pocketeva verify" in message
    card = allowed(verification)
    assert "**Not verified.** Nothing was measured" in card
    assert "## Results" not in card


def test_push__with_another_verdict_than_pass(verification: Verification) -> None:
    strict = replace(verification, config=replace(verification.config, conversion=0.02))
    verdict = verify(strict).verdict
    assert verdict != "PASS"
    assert f"certificate.json says {verdict}" in refused(strict)
    card = allowed(strict)
    assert f"> **Not verified: the verdict is {verdict}**" in card.split("---\n", 2)[2]
    assert "## Results" in card


def set_top_verdict(content: Any) -> None:
    content["verdict"] = "FAIL"


def edit_counts(content: Any) -> None:
    evidence = next(one["evidence"] for one in content["criteria"] if one["name"] == "agreement")
    evidence["count"] -= 1


def empty_criteria(content: Any) -> None:
    content["criteria"] = []


def say_twice(content: Any) -> None:
    content["criteria"].insert(0, {**content["criteria"][0], "value": 9.0})


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (set_top_verdict, "certificate.json: verdict is FAIL, and PASS if judged with the config as it is now"),
        (say_twice, "certificate.json: number of criteria is "),
        (edit_counts, "certificate.json: evidence.count of agreement, mini-onnx/onnx/model.onnx is "),
        (
            empty_criteria,
            "certificate.json: name of parity, teacher-onnx/onnx/model.onnx is not there, and parity if judged with",
        ),
    ],
)
def test_push__an_edited_certificate(verification: Verification, change: Callable[[Any], object], said: str) -> None:
    edit_json(certificate_path(verification), change)
    assert said in refused(verification)
    card = allowed(verification)
    assert "> **Not verified.** The certificate does not hold for these files" in card
    assert "## Results" not in card


def test_push__other_criteria_than_it_was_judged_by(verification: Verification) -> None:
    stricter = replace(verification, config=replace(verification.config, agreement=0.99))
    message = refused(stricter)
    assert (
        "limit of agreement, mini-onnx/onnx/model.onnx is 0.01, and 0.99 if judged with the config as it is now"
        in message
    )
    # Criteria fewer: those behind them in the certificate are still compared with themselves.
    message = refused(replace(verification, config=replace(verification.config, accept=("sound",))))
    assert "certificate.json: accepted[0] is not there, and sound if judged with the config as it is now" in message
    assert "limit of" not in message


@pytest.mark.parametrize(
    "name",
    [
        "mini-onnx/onnx/model.onnx",
        "mini/model.safetensors",
        "mini-onnx/labels.json",
        "mini/config.json",
        "mini-onnx/preprocessor_config.json",
        "mini-onnx/golden/index.json",
    ],
)
def test_push__a_file_that_was_changed(verification: Verification, name: str) -> None:
    path = verification.run.release / name
    with path.open("ab") as file:
        file.write(b" ")
    assert f"  {name} has changed since it was judged" in refused(verification)
    # And its digest in the certificate with it.
    edit_json(certificate_path(verification), lambda content: content["files"].update({name: file_digest(path)}))
    assert f"  {name} was changed" in refused(verification)
    # And in export's own record: then the predictions are of other bytes, or parity was measured on others.
    said = {
        "mini-onnx/onnx/model.onnx": "release/mini-onnx/onnx/model.onnx has changed since it was measured",
        "mini/model.safetensors": "same_files of parity, mini-onnx/onnx/model.onnx is True, and False if judged",
    }
    if name in said:
        stamp = verification.run.root / "stamps" / "export-mini.json"
        edit_json(stamp, lambda content: content["outputs"].update({f"release/{name}": file_digest(path)}))
        assert said[name] in refused(verification)


@pytest.mark.parametrize(
    "name", ["mini/model.pt", "mini-onnx/model.pkl", "mini-onnx/onnx/model.tflite", "teacher/a.bin"]
)
def test_push__a_file_that_nobody_judged(verification: Verification, name: str) -> None:
    (verification.run.release / name).write_bytes(b"new")
    assert f"  {name} is not in the certificate" in refused(verification)
    with pytest.raises(UserError, match=f"{name} is no file that a release has"):
        allowed(verification)


@pytest.mark.parametrize(
    ("name", "old", "new", "said"),
    [
        ("mini-onnx/labels.json", '"doubtful"', '"harmless"', "labels.json says something else of the labels"),
        ("mini-onnx/config.json", '"doubtful"', '"harmless"', "config.json says something else of the labels"),
        ("mini-onnx/preprocessor_config.json", '"image_mean"', '"mean"', "says something else of the input contract"),
        ("mini/config.json", '"0": "sound"', '"0": "fine"', "mini/config.json says something else of the labels"),
        ("mini/config.json", '"std": [', '"std": [9,', "mini/config.json is not the one that was trained"),
        ("teacher/model.safetensors", None, None, "teacher/model.safetensors is not the one that was trained"),
    ],
)
def test_push__a_file_that_was_changed_and_every_digest_with_it(
    verification: Verification, name: str, old: str | None, new: str | None, said: str
) -> None:
    """Whoever has the whole folder edits the certificate and export's record too: the run itself knows better."""
    path = verification.run.release / name
    text = path.read_bytes()
    changed = text + b" " if old is None or new is None else text.replace(old.encode(), new.encode())
    assert changed != text
    path.write_bytes(changed)
    digest = file_digest(path)
    stamp = verification.run.root / "stamps" / f"export-{name.split('/')[0].removesuffix('-onnx')}.json"
    edit_json(certificate_path(verification), lambda content: content["files"].update({name: digest}))
    edit_json(stamp, lambda content: content["outputs"].update({f"release/{name}": digest}))
    message = refused(verification)
    assert said in message
    assert "has changed since" not in message


@pytest.mark.parametrize("name", ["mini-onnx/certificate.json", "mini/report.html", "teacher-onnx/report.html"])
def test_push__what_verify_writes_and_did_not(verification: Verification, name: str) -> None:
    (verification.run.release / name).write_text("PASS", encoding="utf-8")
    assert f"  {name} is not as verify wrote it" in refused(verification)


def test_push__without_what_verify_wrote(verification: Verification) -> None:
    (verification.run.release / "mini-onnx" / "certificate.json").unlink()
    assert "  mini-onnx/certificate.json is not as verify wrote it" in refused(verification)


def test_push__with_a_missing_file(verification: Verification) -> None:
    (verification.run.release / "teacher" / "model.safetensors").unlink()
    assert "teacher/model.safetensors was judged and is no longer there" in refused(verification)


def test_push__weights_that_were_replaced_and_verified_anew(verification: Verification) -> None:
    path = verification.run.release / STUDENT / "model.safetensors"
    weights = load_file(path)
    save_file({name: torch.zeros_like(value) for name, value in weights.items()}, path)
    with pytest.raises(UserError, match=r"mini/model\.safetensors was changed"):
        verify(verification)
    # Even where the record of the export is edited: parity was measured with other weights.
    stamp = verification.run.root / "stamps" / "export-mini.json"
    edit_json(
        stamp, lambda content: content["outputs"].update({f"release/{STUDENT}/model.safetensors": file_digest(path)})
    )
    assert verify(verification).verdict == "FAIL"
    assert "certificate.json says FAIL" in refused(verification)


def test_push__predictions_that_were_edited(verification: Verification) -> None:
    path = verification.run.verify / "predictions.parquet"
    found = Predictions.read(path)
    name = f"{STUDENT}-onnx/onnx/model.onnx"
    place = found.table.column_names.index(name)
    wished = pa.array([[5.0 * value for value in row] for row in found.targets.tolist()], LOGITS)
    replace(found, table=found.table.set_column(place, name, wished)).write(path)
    stamp = verification.run.root / "stamps" / "measure.json"
    edit_json(stamp, lambda content: content["outputs"].update({"verify/predictions.parquet": file_digest(path)}))
    verify(verification)
    message = refused(verification)
    assert f"release/{name} gives other scores than it was judged on" in message
    assert "on 29 test images" in message


def test_push__truths_that_were_edited(verification: Verification) -> None:
    path = verification.run.verify / "predictions.parquet"
    found = Predictions.read(path)
    place = found.table.column_names.index("target")
    wished = found.table.column("target").take(pa.array(range(len(found) - 1, -1, -1)))
    replace(found, table=found.table.set_column(place, "target", wished)).write(path)
    assert "predictions.parquet: its images, splits or targets are not those of the manifest" in refused(verification)


def test_push__a_release_that_the_ledger_does_not_know(verification: Verification) -> None:
    verification.ledger.unlink()
    assert "ledger.json does not know that this release was judged" in refused(verification)


@pytest.mark.parametrize("name", ["predictions.parquet", "latency.json"])
def test_push__with_damaged_measurements(verification: Verification, name: str) -> None:
    (verification.run.verify / name).write_bytes(b"{")
    assert f"{name} is damaged: remove it, and run `pocketeva verify` again" in refused(verification)


def test_push__with_a_damaged_certificate(verification: Verification) -> None:
    certificate_path(verification).write_text("{", encoding="utf-8")
    assert "certificate.json is not JSON" in refused(verification)


def test_push__with_a_certificate_of_an_older_version(verification: Verification) -> None:
    certificate_path(verification).write_text('{"format": 1, "verdict": "PASS"}', encoding="utf-8")
    message = refused(verification)
    assert message.endswith("has schema version 1, and this version of PocketEVA reads 4: run `pocketeva verify` again")
    assert "\n" not in message
