import json
import os
import re
import shutil
import signal
from collections.abc import Callable, Mapping
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
import yaml

import pocketeva
from data.audit import Audit
from distill.config import StudentConfig
from distill.module import StudentModule
from fitting.module import FitModule
from models import checkpoint
from models.facts import CheckpointFacts
from tests import finished, support
from tests.hub.conftest import speaking_to
from tests.hub.fake_hub import FakeHub
from tests.two import Started, wait_for
from train.module import TeacherModule
from verify.seal import PICTURES

Change = Callable[[dict[str, Any]], object]
STAGES = ("prepare", "train", "distill-mini", "export-teacher", "export-mini", "verify")


def set_key(dotted: str, value: object) -> Change:
    """A change of one key of a config; ``students.0.fit.lr`` reaches into the list."""

    def change(config: dict[str, Any]) -> None:
        *sections, last = dotted.split(".")
        place: Any = config
        for section in sections:
            place = place[int(section)] if isinstance(place, list) else place.setdefault(section, {})
        place[last] = value

    return change


def main(root: Path, monkeypatch: pytest.MonkeyPatch, *arguments: str, change: Change | None = None) -> int:
    """Run in ``root``, with a config of its own if a change is given."""
    monkeypatch.chdir(root)
    if change is not None:
        config = finished.settings()
        change(config)
        finished.write_config(root, config)
    return pocketeva.main(arguments)


def one_message(capsys: pytest.CaptureFixture[str]) -> str:
    """What a refused command said: nothing on standard output, one message, no traceback."""
    printed = capsys.readouterr()
    assert printed.out == ""
    assert "Traceback" not in printed.err
    (start,) = re.finditer(r"^pocketeva \w+: ", printed.err, re.MULTILINE)
    return printed.err[start.start() :]


def stages(said: str, ending: str) -> list[str]:
    return [stage for stage in STAGES if f"{stage}: {ending}" in said]


def leftovers(root: Path) -> list[Path]:
    return [path for path in root.rglob("*") if ".partial-" in path.name]


@pytest.fixture
def root(finished_root: Path, tmp_path: Path) -> Path:
    return finished.copied(finished_root, tmp_path / "work")


@pytest.fixture
def fresh(finished_root: Path, tmp_path: Path) -> Path:
    """Images and config, nothing done."""
    root = finished.copied(finished_root, tmp_path / "work")
    (root / "outputs").rename(tmp_path / "elsewhere")
    return root


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (set_key("nope", 1), "there is no key nope"),
        (set_key("teacher.full.lrr", 1e-3), "there is no key teacher.full.lrr; did you mean teacher.full.lr?"),
        (
            set_key("students.0.fit.epoch", 1),
            "there is no key students[0].fit.epoch; did you mean students[0].fit.epochs?",
        ),
        (set_key("teacher.full.lr", "fast"), "teacher.full.lr is fast; it must be a number"),
        (set_key("students.0.fit.epochs", "few"), "students[0].fit.epochs is few; it must be a whole number"),
        (set_key("data.format", "zip"), "data.format is zip; it must be one of auto, folder, csv"),
        (set_key("students", {"name": "a"}), 'students is {"name": "a"}; it must be a list of sections'),
        (set_key("teacher.full.lr", -1.0), "teacher.full.lr is -1.0; it must be above 0"),
        (set_key("teacher.head.patience", 0), "teacher.head.patience is 0; it must be 1 or more"),
        (set_key("teacher.head.epochs", 3), "there is no key teacher.head.epochs; did you mean teacher.lora.epochs?"),
        (
            set_key("teacher.head.weight_decays", [0.1, 0.1]),
            "teacher.head.weight_decays is [0.1, 0.1]; it must be numbers above 0 that fall",
        ),
        (set_key("students.0.fit.warmup", 1.5), "students[0].fit.warmup is 1.5; it must be at least 0 and below 1"),
        (set_key("students.0.image_size", 0), "students[0].image_size is 0; it must be 1 or more"),
        (set_key("data.splits", {"val": 0.5, "test": 0.6}), "data.splits.test is 0.6; it must be less"),
        (set_key("views.crop_scale", [0.9, 0.5]), "views.crop_scale is [0.9, 0.5]; it must be two positive numbers"),
        (set_key("name", "../up"), "name is ../up; it must be letters"),
        (set_key("students", []), "students is []; it must be a list with one student or more"),
        (
            set_key("hub", {"repo": "acme/solar-"}),
            "hub.repo is acme/solar-; it must be another one: it makes acme/solar--teacher, a name of 14 characters, "
            "and the Hub refuses that: Cannot have -- or .. in repo_id",
        ),
        (
            set_key("hub", {"license": "Apache License 2.0"}),
            "hub.license is Apache License 2.0; it must be an identifier of the Hub, such as apache-2.0, or other",
        ),
        (set_key("hub", {"models": ["mini", "max"]}), "hub.models[1] is max; it must be one of teacher, mini"),
        (lambda config: config.pop("labels"), "labels is missing"),
        (lambda config: config["labels"].pop("names"), "labels.names is missing"),
    ],
)
def test_read_config__wrong_keys_are_named_by_their_whole_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], change: Change, message: str
) -> None:
    assert main(tmp_path, monkeypatch, "run", "config.yaml", change=change) == 2
    said = one_message(capsys)
    assert said.startswith(f"pocketeva run: config.yaml: {message}")
    assert len(said.splitlines()) == 1
    assert not (tmp_path / "outputs").exists()


@pytest.mark.parametrize(
    ("name", "repo", "reason"),
    [
        ("mini-", "acme/solar-mini-", "The name cannot start or end with '-' or '.'"),
        ("v1..2", "acme/solar-v1..2", "Cannot have -- or .. in repo_id"),
        ("x" * 90, "acme/solar-x*", "the maximum length is 96"),
    ],
)
def test_read_config__a_students_repositories_are_checked_by_every_verb(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    name: str,
    repo: str,
    reason: str,
) -> None:
    def change(config: dict[str, Any]) -> None:
        set_key("hub", {"repo": "acme/solar"})(config)
        set_key("students.0.name", name)(config)

    for verb in ("prepare", "push"):
        assert main(tmp_path, monkeypatch, verb, "config.yaml", change=change) == 2
        said = capsys.readouterr().err
        assert re.search(rf"students\[0\]\.name is {re.escape(name)}; .* it makes {repo}", said)
        assert reason in said
    assert not (tmp_path / "outputs").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--teacher.full.lrr", "1"], "there is no key teacher.full.lrr; did you mean teacher.full.lr?"),
        (["--teacher.epochs=3"], "there is no key teacher.epochs; did you mean teacher.lora.epochs?"),
        (["--students[0].fit.lrs=3"], "there is no key students[0].fit.lrs; did you mean students[0].fit.lr?"),
        (["--nope"], "there is no key nope"),
        (["--teacher.full.lr", "fast"], "teacher.full.lr is fast; it must be a number"),
        (["--teacher.full.lr", "-1"], "teacher.full.lr is -1; it must be above 0"),
        (["--students[0].fit.lr", "-1"], "students[0].fit.lr is -1; it must be above 0"),
        (["stray"], "stray is neither a key nor a value of one"),
    ],
)
def test_read_config__wrong_overrides(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    message: str,
) -> None:
    assert main(tmp_path, monkeypatch, "train", "config.yaml", *arguments, change=lambda _: None) == 2
    assert one_message(capsys).startswith(f"pocketeva train: config.yaml: {message}")
    assert not (tmp_path / "outputs").exists()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"name: [a\n b: c", "config.yaml: it is not YAML: line 2: "),
        (b"", "config.yaml: it must hold keys and values; the keys are name"),
        (b"- a\n- b", "config.yaml: it must hold keys and values"),
        (b"\xff\xfe\x00name", "config.yaml is not UTF-8"),
    ],
)
def test_read_config__no_config_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], text: bytes, message: str
) -> None:
    (tmp_path / "config.yaml").write_bytes(text)
    assert main(tmp_path, monkeypatch, "run", "config.yaml") == 2
    assert message in one_message(capsys)


def test_read_config__missing_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(tmp_path, monkeypatch, "run", "config.yaml") == 2
    assert "config.yaml does not exist: give the path of a config file" in one_message(capsys)


def test_read_config__overrides_and_numbers_as_people_write_them(tmp_path: Path) -> None:
    path = finished.write_config(tmp_path, finished.settings())
    text = path.read_text(encoding="utf-8")
    assert "lr: 0.003" in text
    path.write_text(text.replace("lr: 0.003", "lr: 3e-3"), encoding="utf-8")
    config = pocketeva.read_config(
        path, ["--teacher.full.lr=3e-5", "--seed", "7", "--students[0].fit.epochs", "4", "--teacher.image_size=null"]
    )
    assert config.students[0].fit.lr == 0.003
    assert (config.teacher.full.lr, config.seed, config.students[0].fit.epochs) == (3e-5, 7, 4)
    assert config.teacher.image_size is None
    assert config.teacher.full.epochs == 10  # the default beside a key that was given
    assert config.views.crop_scale == (0.5, 1.0)


def test_run__the_resolved_config_reads_back(finished_root: Path) -> None:
    given = pocketeva.read_config(finished_root / "config.yaml")
    assert pocketeva.read_config(finished_root / "outputs" / "quick" / "run.yaml") == given


def bad_label(root: Path) -> None:
    rows = finished.read_rows(root / "images.csv")
    finished.write_rows(root / "images.csv", [{**rows[0], "label": "sond"}, *rows[1:]])


def empty_class(root: Path) -> None:
    rows = finished.read_rows(root / "images.csv")
    kept = [row for row in rows if (row["label"], row["split"]) != ("likely", "train")]
    finished.write_rows(root / "images.csv", kept)


def without_test(root: Path) -> None:
    config = finished.settings()
    config["data"] = {"format": "folder", "path": "small", "splits": {"test": 0.0001}}
    config["labels"] = {"names": ["sound", "broken"]}
    finished.write_config(root, config)
    support.label_folders(root / "small", {"sound": 20, "broken": 20})


def unreadable_image(root: Path) -> None:
    (root / finished.read_rows(root / "images.csv")[0]["image"]).write_bytes(b"no photograph")


def missing_image(root: Path) -> None:
    (root / finished.read_rows(root / "images.csv")[0]["image"]).unlink()


@pytest.mark.parametrize(
    ("spoil", "parts"),
    [
        (bad_label, ["images.csv, line 2: label 'sond' is not in labels.names", "did you mean 'sound'?"]),
        (empty_class, ["no training images for likely", "take the label out of labels.names"]),
        (without_test, ["the test split has no images", "raise data.splits.test"]),
        (unreadable_image, ["1 of 121 images cannot be read", ".png: not an image", "data.skip_unreadable"]),
        (missing_image, ["1 image not found", "line 2: "]),
    ],
)
def test_prepare__wrong_data(
    fresh: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    spoil: Callable[[Path], None],
    parts: list[str],
) -> None:
    spoil(fresh)
    assert main(fresh, monkeypatch, "run", "config.yaml") == 2
    said = one_message(capsys)
    assert said.startswith("pocketeva run: ")
    for part in parts:
        assert part in said
    left = {path.name for path in (fresh / "outputs").rglob("*") if path.suffix != ".parquet"}
    assert left <= {"quick", ".lock", "run.yaml", "data", "scan", "refused.txt"}, "what was read is kept, and no more"
    assert not (fresh / "outputs" / "quick" / "data" / "manifest.parquet").exists()


@pytest.mark.parametrize(
    ("verb", "first"),
    [("train", "prepare"), ("distill", "prepare"), ("export", "prepare"), ("verify", "export")],
)
def test_verbs__out_of_order(
    fresh: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], verb: str, first: str
) -> None:
    assert main(fresh, monkeypatch, verb, "config.yaml") == 2
    assert f"run `pocketeva {first}` first" in one_message(capsys)


def test_verbs__one_after_the_other(
    fresh: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(fresh, monkeypatch, "prepare", "config.yaml") == 0
    capsys.readouterr()
    for verb, first in (("distill", "train"), ("export", "train"), ("verify", "export")):
        assert main(fresh, monkeypatch, verb, "config.yaml") == 2
        assert f"run `pocketeva {first}` first" in one_message(capsys)
    assert main(fresh, monkeypatch, "train", "config.yaml") == 0
    capsys.readouterr()
    assert main(fresh, monkeypatch, "export", "config.yaml") == 2
    assert "run `pocketeva distill` first" in one_message(capsys)
    assert leftovers(fresh) == []


def test_run__second_time_does_nothing(
    root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    before = stamps(root)
    assert main(root, monkeypatch, "run", "config.yaml") == 0
    assert stages(capsys.readouterr().err, "done already") == list(STAGES)
    assert stamps(root) == before


def stamps(root: Path) -> Mapping[str, int]:
    """When each file was last written; not the resolved config, the cards and the cache's key, which tell of a run."""
    always = {"run.yaml", "README.md", *PICTURES, "key.json", ".lock"}
    paths = [path for path in sorted((root / "outputs").rglob("*")) if path.is_file() and path.name not in always]
    return {str(path.relative_to(root)): path.stat().st_mtime_ns for path in paths}


def test_run__another_key_of_a_student(
    root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    before = stamps(root)
    assert main(root, monkeypatch, "run", "config.yaml", "--students[0].temperature=2") == 0
    said = capsys.readouterr().err
    assert stages(said, "done already") == ["prepare", "train", "export-teacher"]
    assert stages(said, "again, because") == ["distill-mini", "export-mini", "verify"]
    assert "student.temperature: 1.0 → 2.0" in said
    after = stamps(root)
    changed = {name for name in after if after[name] != before.get(name)}
    # The certificate lies beside every model of the release, and speaks of the student too.
    of_teacher = {name for name in changed if "/release/teacher/" in name or "/teacher/model/" in name}
    assert of_teacher == {"outputs/quick/release/teacher/certificate.json"}
    assert not [name for name in changed if name.endswith("teacher-onnx/onnx/model.onnx")]
    assert [name for name in changed if name.endswith("mini-onnx/onnx/model.onnx")]


def test_run__other_labels_than_the_checkpoint(
    root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    teacher = root / "outputs" / "quick" / "teacher" / "model"
    other = support.tiny("test_vit", support.TWO, 32)
    checkpoint.save(other, teacher, CheckpointFacts(labels=support.TWO, mode="head"))
    assert main(root, monkeypatch, "export", "config.yaml") == 2
    said = one_message(capsys)
    assert "teacher/model was made for the labels ['sound', 'broken'] (nominal)" in said
    assert "labels are never reindexed" in said


def test_run__other_labels_than_the_manifest(
    root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(root, monkeypatch, "train", "config.yaml", change=set_key("labels.kind", "nominal")) == 2
    assert "manifest.parquet was made for the labels" in one_message(capsys)


def test_train__unknown_model(root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(root, monkeypatch, "train", "config.yaml", "--teacher.model=eva02_tinny_patch14_224") == 2
    said = one_message(capsys)
    assert "teacher.model: timm has no 'eva02_tinny_patch14_224'; near: eva02_tiny_patch14_224" in said
    assert leftovers(root) == []


def test_verify__exit_code_of_a_release_that_does_not_pass(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert main(root, monkeypatch, "run", "config.yaml", "--verify.agreement=0.999") == 3


def test_main__no_verb(capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in (["dance"], ["run"]):
        with pytest.raises(SystemExit) as stop:
            pocketeva.main(arguments)
        assert stop.value.code == 2
    assert "usage: pocketeva" in capsys.readouterr().err
    assert pocketeva.main([]) == pocketeva.DONE
    assert "\nexample:\n  pocketeva " in capsys.readouterr().out


def test_main__version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        pocketeva.main(["--version"])
    assert stop.value.code == 0
    assert capsys.readouterr().out == f"pocketeva {version('pocketeva')}\n"


def test_main__output(fresh: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert main(fresh, monkeypatch, "prepare", "config.yaml", "--output", "other place") == 0
    assert (fresh / "other place" / "quick" / "data" / "manifest.parquet").is_file()
    assert not (fresh / "outputs").exists()


def test_read_config__what_may_be_left_out(tmp_path: Path) -> None:
    path = tmp_path / "my photos.yaml"
    path.write_text("{labels: {names: [a, b]}, data: {path: x}}\n")
    config = pocketeva.read_config(path, ["--students[0].image_size=192", "--students[0].fit.lr=1e-2"])
    assert config.name == "my-photos"
    assert [student.name for student in config.students] == ["mobilenetv4_conv_small-192"]
    assert config.students[0].fit.lr == 1e-2
    assert pocketeva.read_config(path).students == [StudentConfig()]
    assert pocketeva.read_config(path, ["--name", "other"]).name == "other"


def test_main__a_run_in_use(root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    config = pocketeva.read_config(root / "config.yaml")
    monkeypatch.chdir(root)
    with pocketeva.Run(config).folder.locked():
        assert pocketeva.main(["run", "config.yaml"]) == 2
    assert f"outputs/quick is in use by process {os.getpid()} of " in one_message(capsys)


MODELS = ["some-org/some-model", "mobilenetv4_conv_small_050"]


@pytest.mark.parametrize("model", MODELS)
def test_train__weights_of_a_hub_that_cannot_be_reached(
    root: Path, model: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    gone = FakeHub()
    gone.stop()
    monkeypatch.chdir(root)
    monkeypatch.setenv("TORCH_HOME", str(root / "torch"))
    with speaking_to(gone):
        assert pocketeva.main(["run", "config.yaml", f"--teacher.model={model}", "--teacher.pretrained=true"]) == 2
    said = capsys.readouterr().err
    assert "Traceback" not in said
    require_no_weights(said, model)
    assert leftovers(root) == []


@pytest.mark.parametrize("model", MODELS)
def test_train__weights_without_a_network(
    root: Path, model: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(root)
    monkeypatch.setenv("TORCH_HOME", str(root / "torch"))
    assert pocketeva.main(["run", "config.yaml", f"--teacher.model={model}", "--teacher.pretrained=true"]) == 2
    require_no_weights(capsys.readouterr().err, model)
    assert leftovers(root) == []


def require_no_weights(said: str, model: str) -> None:
    assert "pocketeva run: teacher.model: " in said
    assert model in said
    assert "connection" in said
    assert "Random weights are never taken" in said or "set teacher.pretrained to false" in said


def long_settings() -> dict[str, Any]:
    """The student's fit takes long enough to be stopped in."""
    config = finished.settings()
    config["students"][0]["fit"]["epochs"] = 12
    config["export"] = finished.FP32_ALONE
    return config


def stopped(root: Path, number: signal.Signals) -> Started:
    """A run that got the signal when the student's second epoch had ended."""
    process = Started(root, "stopped", pocketeva.main, ["run", "config.yaml"])
    wait_for(root / "outputs" / "quick" / "students" / "mini" / "fit" / "last.ckpt", process.alive)
    process.send(number)
    return process


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_run__stopped_and_run_again(
    fresh: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], number: signal.Signals
) -> None:
    finished.write_config(fresh, long_settings())
    code, _, said = stopped(fresh, number).ended()
    assert code == (pocketeva.INTERRUPTED if number == signal.SIGINT else -number), said
    if number == signal.SIGINT:
        assert "interrupted; the same command goes on from here" in said
        assert "Traceback" not in said
    assert not (fresh / "outputs" / "quick" / "students" / "mini" / "model").exists()

    capsys.readouterr()
    assert main(fresh, monkeypatch, "run", "config.yaml") == 0
    assert stages(capsys.readouterr().err, "done already") == ["prepare", "train"]
    assert leftovers(fresh) == []
    metrics = json.loads((fresh / "outputs/quick/students/mini/metrics.json").read_text(encoding="utf-8"))
    assert metrics["fit"]["epochs"] == 12
    logs = list((fresh / "outputs/quick/students/mini/fit/log").glob("*/metrics.csv"))
    rows = [row for log in logs for row in finished.read_rows(log) if row.get("train_loss")]
    assert len(rows) <= 14  # it went on where it stood: 12 epochs, and at most what the signal cut short


def test_main__interrupted(fresh: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("data.prepare.scan", interrupt)
    assert main(fresh, monkeypatch, "run", "config.yaml") == 130
    assert "interrupted; the same command goes on from here" in capsys.readouterr().err


def test_run__writes_the_config_it_ran_with(finished_root: Path) -> None:
    written = yaml.safe_load((finished_root / "outputs" / "quick" / "run.yaml").read_text(encoding="utf-8"))
    assert written["teacher"]["full"]["epochs"] == 10
    assert written["students"][0]["fit"]["ema_decay"] == 0.8
    assert set(written) >= {"name", "seed", "labels", "data", "teacher", "views", "students", "export", "verify", "hub"}


@pytest.mark.parametrize(("verb", "module"), [("train", TeacherModule), ("distill", StudentModule)])
def test_main__few_frames_to_a_training_step(
    root: Path, monkeypatch: pytest.MonkeyPatch, verb: str, module: type[FitModule]
) -> None:
    """Of ours, that is: whoever reads a traceback gets from the command to the step in five hops."""

    def fail(*_: object) -> None:
        raise RuntimeError("here")

    monkeypatch.setattr(module, "training_step", fail)
    override = ["--teacher.mode", "full"] if verb == "train" else ["--students[0].fit.epochs", "3"]
    with pytest.raises(RuntimeError, match="here") as error:
        main(root, monkeypatch, verb, "config.yaml", *override)
    files = [Path(str(entry.path)) for entry in error.traceback]
    ours = [file for file in files if file.is_relative_to(support.REPOSITORY) and ".venv" not in file.parts]
    ours = [file for file in ours if "tests" not in file.parts]
    assert len(ours) <= 5, [f"{entry.path}:{entry.name}" for entry in error.traceback]


def test_verify__writes_no_cards(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cards = list((root / "outputs" / "quick" / "release").glob("*/README.md"))
    assert len(cards) == 4, "those of teacher and student, each with its ONNX folder"
    for card in cards:
        card.unlink()
    assert main(root, monkeypatch, "verify", "config.yaml", "--verify.confidence=0.9") == 0
    assert not any(card.exists() for card in cards)
    assert main(root, monkeypatch, "run", "config.yaml", "--verify.confidence=0.9") == 0
    assert all(card.is_file() for card in cards)


def test_main__keys_where_there_is_no_config(capsys: pytest.CaptureFixture[str]) -> None:
    assert pocketeva.main(["check-golden", "release", "--seed", "3"]) == 2
    assert "there is no --seed 3 here" in capsys.readouterr().err


def test_verbs__each_is_one_row() -> None:
    names = [verb.name for verb in pocketeva.VERBS]
    assert len(set(names)) == len(names)
    assert [verb.name for verb in pocketeva.VERBS if "all" in {step.processes for step in verb.steps}] == [
        "train",
        "distill",
        "run",
    ]


def test_run__the_cards_name_the_revision_that_was_read(tmp_path: Path) -> None:
    config = finished.settings()
    config["data"] = {"path": "acme/cells@0123abc", "format": "huggingface"}
    config["hub"] = {"datasets": ["acme/cells", "acme/more"]}
    run = pocketeva.Run(pocketeva.read_config(finished.write_config(tmp_path, config)))
    assert run.hub.datasets == ("acme/cells@0123abc", "acme/more")
    assert "acme/cells@0123abc" in run.places


def test_run__the_cards_name_the_commit_that_was_read_where_none_is_pinned(
    finished_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(finished_root / "outputs" / "quick" / "data", tmp_path / "outputs" / "quick" / "data")
    path = tmp_path / "outputs" / "quick" / "data" / "audit.json"
    replace(Audit.read(path), revisions={"acme/cells": "0" * 40}).write(path)
    config = finished.settings()
    config["data"] = {"path": "acme/cells", "format": "huggingface"}
    config["hub"] = {"datasets": ["acme/cells"]}
    monkeypatch.chdir(tmp_path)
    run = pocketeva.Run(pocketeva.read_config(finished.write_config(tmp_path, config)))
    assert run.hub.datasets == (f"acme/cells@{'0' * 40}",)
