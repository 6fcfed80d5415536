from pathlib import Path
from typing import Any

import pytest
import yaml

import pocketeva
import start.init
from run.yaml_text import read_yaml
from start.choose import Hardware, may_differ
from start.init import render, written


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(start.init, "find_hardware", lambda: Hardware(None, 2))
    return tmp_path


def init(*arguments: str, code: int = 0) -> None:
    assert pocketeva.main(["init", *arguments]) == code


def test_init__a_config_that_reads_back(images: Path, capsys: pytest.CaptureFixture[str]) -> None:
    init("images/")
    config = pocketeva.read_config(Path("images.yaml"))
    assert config.name == "images"
    assert (config.labels.names, config.labels.kind) == (["broken", "sound"], "nominal")
    assert (config.data.format, config.data.path) == ("folder", "images")
    assert config.teacher.mode == "head"
    assert config.teacher.pretrained, "random weights are never taken unasked"
    said = capsys.readouterr()
    assert "16 images with 2 labels: broken 8, sound 8" in said.err
    assert "labels.kind nominal: because every image has one label" in said.err
    assert "--labels.kind ordinal" in said.err
    assert "pocketeva run images.yaml" in said.out
    text = Path("images.yaml").read_text()
    assert text.startswith("# yaml-language-server: $schema=/")
    assert "# 16 images with 2 labels" in text


def test_init__names_a_file_by_its_own_folder(images: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(images)
    Path("outputs").mkdir()
    init(".")
    config = pocketeva.read_config(Path("images.yaml"))
    assert config.data.path == "."
    assert (config.labels.names, config.data.leave_out) == (["broken", "sound"], ["outputs"])


def test_init__overwrites_nothing(images: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("images.yaml").write_text("mine")
    init("images", code=2)
    assert "images.yaml is there already" in capsys.readouterr().err
    assert Path("images.yaml").read_text() == "mine"
    init("images", "--config", "other.yaml")
    assert pocketeva.read_config(Path("other.yaml")).name == "other"


def test_init__takes_what_it_is_told(images: Path) -> None:
    init(
        "images",
        "--teacher",
        "mine",
        "--student",
        "small",
        "--labels.kind",
        "ordinal",
        "--students[0].fit.epochs=3",
        "--seed=5",
    )
    config = pocketeva.read_config(Path("images.yaml"))
    assert config.seed == 5
    assert (config.teacher.model, config.students[0].model) == ("mine", "small")
    assert config.labels.kind == "ordinal"
    assert config.students[0].fit.epochs == 3


def test_init__says_what_holds_for_the_config_that_it_writes(images: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def said(*arguments: str) -> str:
        init("images", "--config", f"{len(list(Path().glob('*.yaml')))}.yaml", *arguments)
        return capsys.readouterr().err

    def time(text: str) -> int:
        return int(text.split("very roughly ")[1].split(" min")[0].replace(",", ""))

    assert time(said("--students[0].fit.epochs", "3000")) > 2 * time(said())
    assert "very roughly" not in said("--teacher.mode", "full"), "the guess is one for a head"
    assert "the largest that so many images" not in said("--teacher.model", "mine")
    held = said("--data.splits.test", "0.5", "--verify.agreement", "0.3")
    assert "30 % train, 10 % val, 10 % calibration, 50 % test" in held
    assert f"of about 8 test images it may differ on {may_differ(8, 0.3)}" in held


def test_init__weights_of_a_folder_come_from_nowhere_else(images: Path) -> None:
    Path("weights").mkdir()
    init("images", "--teacher", "./weights", "--config", "folder.yaml")
    init("images", "--teacher", "hf_hub/name", "--config", "hub.yaml")
    said = "its weights come from the Hugging Face Hub"
    assert said not in Path("folder.yaml").read_text(encoding="utf-8")
    assert said in Path("hub.yaml").read_text(encoding="utf-8")


def test_init__from_scratch(images: Path) -> None:
    init("images", "--from-scratch")
    config = pocketeva.read_config(Path("images.yaml"))
    assert not config.teacher.pretrained
    assert not config.students[0].pretrained
    assert config.teacher.mode == "full"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere"], "data.path: there is no file or folder"),
        (["images", "--teachr.model", "x"], "there is no key teachr"),
        (["images", "--data.format", "zip"], "data.format is zip; it must be one of auto"),
        (["images", "--verify.agreement", "2"], "verify.agreement is 2; it must be between 0 and 1"),
    ],
)
def test_init__refused(images: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str) -> None:
    init(*arguments, code=2)
    assert message in capsys.readouterr().err
    assert list(images.parent.glob("*.yaml")) == []


@pytest.mark.parametrize(
    "value", ["1e3", "no", "007", "a: b", "", "~", "é", "#1", [], ["a", "1e3", "yes"], 1e-3, 5, True, None, [0.1]]
)
def test_written__reads_back(value: Any) -> None:
    assert read_yaml(written(value))[0] == value


def test_render__notes_stand_above_their_keys() -> None:
    values = {"labels": {"names": ["a"]}, "students": [{"model": "m", "fit": {"lr": 0.1}}]}
    text = render(values, {"labels": "few " * 60, "students[0].fit": "quick"}, ["first"])
    assert yaml.safe_load(text) == values
    assert max(map(len, text.splitlines())) <= 120
    assert text.splitlines()[0] == "# first"
    assert "    # quick\n    fit:\n" in text


def test_render__no_name_ends_a_comment() -> None:
    text = render({"seed": 3}, {"seed": "a\nseed: 9 \x1b[2J \u2028seed: 9"}, ["images\nseed: 9"])
    assert yaml.safe_load(text) == {"seed": 3}
    assert "\x1b" not in text
