import json
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import yaml

import pocketeva
from data.config import SourceConfig
from fitting.config import FitConfig
from pocketeva import read_config
from run.errors import UserError
from tests import finished


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return finished.write_config(tmp_path, finished.settings())


def changed(path: Path, **sections: Any) -> Path:
    """The file with these sections in place of its own."""
    return finished.write_config(path.parent, {**yaml.safe_load(path.read_text()), **sections})


def mistakes(path: Path, *overrides: str) -> list[str]:
    """What is said of a file, a line each, without the file's name."""
    with pytest.raises(UserError) as error:
        read_config(path, overrides)
    first, *lines = str(error.value).splitlines()
    if not lines:
        return [first.removeprefix(f"{path}: ")]
    assert first == f"{path} has {len(lines)} mistakes:"
    return [line.removeprefix("  ") for line in lines]


BASE = "name: x\nlabels: {names: [a, b, c]}\ndata: {path: images}\n"
MANY_MISTAKES = """
name: ../up
nope: 1
labels: {names: [sound, no, broken], kind: nominl}
data: {format: zip, near_duplicate_bits: 9, unlabeled: {pathh: x, format: zap}, splits: {val: 0.5, test: 0.6}}
teacher: {model: test_vit, full: {epochs: 0, lrr: 1}, layer_decay: 2}
views: {count: live, live: 0.5, crop_scale: [0.9, 0.5], crop_ratio: [1]}
students:
  - {name: a, fit: {epochs: few, lr: -1.0}, mixup: 0.3}
  - {fit: 3, temperature: 0}
  - {name: a, live: 2}
export: {formats: [openvino, openvino]}
hub: {push_checkpoints: true}
trainer: {devices: [1, x], num_workers: -1}
"""


def test_parse__says_all_that_is_wrong_at_once(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(MANY_MISTAKES)
    expected = """
there is no key students[0].seed; did you mean seed?
--seed has no value: write --seed VALUE
there is no key nope
labels.names[1] is no; it must be text: quote it
labels.kind is nominl; it must be one of nominal, ordinal or multilabel
data.format is zip; it must be one of auto,
there is no key data.unlabeled.pathh; did you mean data.unlabeled.path?
data.unlabeled.format is zap; it must be one of auto,
data.splits.test is 0.6; it must be less:
data.near_duplicate_bits is 9; it must be between 0 and 8
there is no key teacher.full.lrr; did you mean teacher.full.lr?
teacher.full.epochs is 0; it must be 1 or more
teacher.layer_decay is 2; it must be above 0, at most 1
students[0].fit.epochs is few; it must be a whole number
students[0].fit.lr is -1.0; it must be above 0
students[0].mixup is 0.3; it must be 0 where live is 0:
students[1].fit is 3; it must be a section with the keys epochs, batch_size, lr,
students[1].temperature is 0; it must be above 0
students[2].live is 2; it must be between 0 and 1
there is no key views.live; did you mean students[0].live?
views.count is live; it must be a whole number
views.crop_ratio[1] is missing
views.crop_scale is [0.9, 0.5]; it must be two positive numbers
export.formats is ["openvino", "openvino"]; it must be free of repeated names
hub.repo is null; it must be org/name where push_checkpoints is true
trainer.devices[1] is x; it must be a whole number
trainer.num_workers is -1; it must be 0 or more, or auto
name is ../up; it must be letters, digits,
students[2].name is a; it must be another name: another student has this one
"""
    found = mistakes(path, "--students[0].seed", "3", "--seed")
    for line, beginning in zip(found, expected.strip().splitlines(), strict=True):
        assert line.startswith(beginning), line


@pytest.mark.parametrize(
    ("section", "given", "message"),
    [
        ("seed", "5", "seed is 5; it must be a whole number"),
        ("seed", True, "seed is true; it must be a whole number"),
        ("seed", 1.5, "seed is 1.5; it must be a whole number"),
        ("seed", None, "seed is null; it must be a whole number"),
        ("name", 7, "name is 7; it must be text: quote it"),
        ("teacher", None, "teacher is null; it must be a section with the keys model, "),
        ("students", [7], "students[0] is 7; it must be a section with the keys name, "),
        ("students", [{"image_size": "x"}], "students[0].image_size is x; it must be a whole number"),
        ("export", {"fp16": "yes"}, "export.fp16 is yes; it must be true or false"),
        ("hub", {"datasets": "a"}, "hub.datasets is a; it must be a list"),
        ("hub", {"repo": 5}, "hub.repo is 5; it must be text: quote it, or null"),
        ("views", {"crop_scale": [1, 2, 3]}, "views.crop_scale is [1, 2, 3]; it must be a list of 2"),
        ("views", {"crop_scale": [0.5, "x"]}, "views.crop_scale[1] is x; it must be a number"),
        ("trainer", {"devices": "some"}, "trainer.devices is some; it must be a whole number or a list or auto"),
        ("trainer", {"num_workers": "few"}, "trainer.num_workers is few; it must be a whole number or auto"),
        (
            "trainer",
            {"precision": 16},
            "trainer.precision is 16; it must be one of auto, 32-true, bf16-mixed or 16-mixed",
        ),
        ("data", {"unlabeled": {"format": "zip"}}, "data.unlabeled.format is zip; it must be one of auto, "),
        ("data", {"unlabeled": {"pat": "x"}}, "there is no key data.unlabeled.pat; did you mean data.unlabeled.path?"),
        ("data", {"unlabeled": 3}, "data.unlabeled is 3; it must be a section with the keys format, "),
    ],
)
def test_parse__one_mistake_is_one_line(path: Path, section: str, given: Any, message: str) -> None:
    (line,) = mistakes(changed(path, **{section: given}))
    assert line.startswith(message)


@pytest.mark.parametrize(
    "word", ["yes", "No", "on", "007", "1.0", "1e3", "null", "~", "2020-01-02", "2020-01-02 10:00:00"]
)
def test_parse__words_that_yaml_does_not_take_for_text(path: Path, word: str) -> None:
    text = path.read_text()
    assert "- sound\n" in text
    path.write_text(text.replace("- sound\n", f"- {word}\n"))
    assert mistakes(path) == [f"labels.names[0] is {word}; it must be text: quote it"]
    path.write_text(text.replace("- sound\n", f"- '{word}'\n"))
    assert read_config(path).labels.names[0] == word


def test_parse__checks_count_although_other_values_of_the_section_are_wrong(path: Path) -> None:
    student = {"name": "a", "loss": "klx", "label_weight": "much", "temperature": -1, "mixup": 0.1}
    assert [line.split(" is ")[0] for line in mistakes(changed(path, students=[student, student]))] == [
        f"students[{index}].{key}" for index in (0, 1) for key in ("loss", "label_weight", "temperature", "mixup")
    ] + ["students[1].name"]


def test_parse__checks_leave_out_what_could_not_be_read(path: Path) -> None:
    student = {"name": "a", "live": "later", "mixup": 0.1}
    assert mistakes(changed(path, students=[student])) == ["students[0].live is later; it must be a number"]


@pytest.mark.parametrize(
    ("students", "key"),
    [
        ([{"name": "a"}, {"name": "a"}], "students[1].name"),
        ([{"name": "a", "baseline": True}, {"name": "a-baseline"}], "students[1].name"),
        ([{"name": "a-baseline"}, {"name": "a", "baseline": True}], "students[1].name"),
    ],
)
def test_parse__students_share_no_name(path: Path, students: list[dict[str, Any]], key: str) -> None:
    (line,) = mistakes(changed(path, students=students))
    assert line.startswith(f"{key} is {students[1]['name']}; it must be another name")


def test_parse__losses_depend_on_the_labels(path: Path) -> None:
    labels = {"names": ["a", "b"], "kind": "multilabel"}
    (line,) = mistakes(changed(path, labels=labels, students=[{"name": "a"}, {"name": "b", "loss": "dist"}]))
    assert line == "students[1].loss is dist; it must be one of kl, labels where labels are multilabel"
    (line,) = mistakes(changed(path, labels={"names": ["a", "b"]}, students=[{"name": "b", "loss": "dkd"}]))
    assert line.startswith("students[0].loss is dkd; it must be another one for two labels")


def test_parse__a_section_in_part_keeps_its_own_defaults(path: Path) -> None:
    teacher = {"model": "test_vit", "head": {"patience": 3}, "full": {"lr": 1}}
    config = read_config(changed(path, students=[{"name": "a", "fit": {"epochs": 5}}], teacher=teacher))
    fit = config.students[0].fit
    assert (fit.epochs, fit.batch_size, fit.lr, fit.ema_decay) == (5, 128, 1e-3, 0.999)
    assert (config.teacher.head.patience, config.teacher.head.max_steps) == (3, 30)
    assert (config.teacher.full.lr, config.teacher.full.epochs, config.teacher.full.weight_decay) == (1.0, 10, 0.05)


@pytest.mark.parametrize("written", ["1e-4", "1.0e-4", "0.0001", "1E-4"])
def test_parse__numbers_as_people_write_them(path: Path, written: str) -> None:
    path.write_text(f"students: [{{name: a, fit: {{lr: {written}}}}}]\nteacher: {{model: test_vit}}\n" + BASE)
    assert read_config(path).students[0].fit.lr == 1e-4
    assert read_config(path, [f"--teacher.full.lr={written}"]).teacher.full.lr == 1e-4


def test_parse__aliases_are_read(path: Path) -> None:
    fit = "&fit {epochs: 3, batch_size: 9, lr: 1e-2}"
    path.write_text(f"students: [{{name: a, fit: {fit}}}]\nteacher: {{model: test_vit, full: *fit}}\n" + BASE)
    config = read_config(path, ["--teacher.full.epochs", "4"])
    assert config.students[0].fit == FitConfig(epochs=3, batch_size=9, lr=0.01, ema_decay=0.999)
    assert (config.teacher.full.epochs, config.teacher.full.lr) == (4, 0.01)


def test_parse__resolved_config_reads_back(path: Path) -> None:
    costs = "[[0,1,1,1],[1,0,1,1],[1,1,0,1],[1,1,1,0]]"
    config = read_config(path, ["--data.unlabeled.path", "more", "--labels.costs", costs])
    assert config.data.unlabeled == SourceConfig(path="more")
    path.write_text(yaml.safe_dump(json.loads(json.dumps(asdict(config)))))
    assert read_config(path) == config


def test_parse__imports_no_torch(path: Path) -> None:
    changed(path, nope=1)
    code = (
        f"import sys, pocketeva; code = pocketeva.main(['train', {str(path)!r}]); "
        "assert 'torch' not in sys.modules; sys.exit(code)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300)
    assert result.returncode == pocketeva.WRONG_INPUT, result.stderr
    assert "there is no key nope" in result.stderr
