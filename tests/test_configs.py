import re
from pathlib import Path

import pytest
import timm
import yaml

import pocketeva

REPOSITORY = Path(__file__).resolve().parents[1]
CONFIGS = sorted((REPOSITORY / "configs").glob("*.yaml"))


def test_configs__there_are_some() -> None:
    assert "demo.yaml" in [path.name for path in CONFIGS]


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_configs__parse(path: Path) -> None:
    config = pocketeva.read_config(path)
    assert config.name
    again = pocketeva.read_config(path, ["--seed=3", "--teacher.full.lr=1e-5"])
    assert (again.seed, again.teacher.full.lr) == (3, 1e-5)


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_configs__header_says_the_command_and_the_result(path: Path) -> None:
    lines = path.read_text(encoding="utf-8").splitlines()
    header = "\n".join(lines[: next(index for index, line in enumerate(lines) if not line.startswith("#"))])
    commands = (f"pocketeva run configs/{path.name}", f"make {path.stem}")
    assert any(command in header for command in commands), "the header names no command"
    assert re.search(r"expect|result", header, re.IGNORECASE), "the header does not say what to expect"


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_configs__models_exist(path: Path) -> None:
    config = pocketeva.read_config(path)
    wanted = [(config.teacher.model, config.teacher.pretrained)]
    wanted += [(student.model, student.pretrained) for student in config.students]
    for model, pretrained in wanted:
        name = model.split("/")[-1]
        if "/" in model and not model.startswith("timm/"):
            continue  # a repository that timm does not list
        assert timm.is_model(name.split(".")[0]), name
        assert not pretrained or timm.is_model_pretrained(name), name


def test_configs__names_and_runs_differ() -> None:
    names = [yaml.safe_load(path.read_text(encoding="utf-8"))["name"] for path in CONFIGS]
    assert len(set(names)) == len(names)
