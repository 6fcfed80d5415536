"""The config of a run: the sections of all rooms, and what one section asks of another."""

import json
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path

import yaml

from data.config import DataConfig, LabelsConfig, ViewsConfig
from distill.config import ACROSS_IMAGES, LOSSES_FOR, StudentConfig
from export.config import ExportConfig
from export.points.config import require_decision
from fitting.config import FitConfig
from hub.config import HubConfig
from run.config import (
    PLAIN_NAME,
    Require,
    TrackingConfig,
    TrainerConfig,
    UnknownValueError,
    checking,
    is_plain_name,
    plain_name,
)
from run.schema import ELSEWHERE
from train.config import TeacherConfig
from verify.config import VerifyConfig


@dataclass(frozen=True, kw_only=True)
class Config:
    """One run."""

    name: str = field(metadata={ELSEWHERE: "the file's name"})
    """Names the run: everything it writes lies in ``outputs/NAME``."""
    labels: LabelsConfig
    """The label set."""
    data: DataConfig
    """Source of labels and images."""
    teacher: TeacherConfig = TeacherConfig()
    """The model to fine-tune."""
    students: list[StudentConfig] = field(default_factory=lambda: [StudentConfig()])
    """The models to distil it into; one of the default model where none is given."""
    seed: int = 0
    """Seed of initial weights and of the order of images."""
    views: ViewsConfig = ViewsConfig()
    """Views of the images, for teacher and students."""
    export: ExportConfig = ExportConfig()
    """ONNX files."""
    verify: VerifyConfig = VerifyConfig()
    """Criteria of the exported files."""
    hub: HubConfig = HubConfig()
    """Publishing."""
    trainer: TrainerConfig = TrainerConfig()
    """Devices and precision."""
    tracking: TrackingConfig = TrackingConfig()
    """Tracking of metrics."""

    def __post_init__(self) -> None:
        with checking(self) as require:
            require("name", lambda: is_plain_name(self.name), PLAIN_NAME)
            require("students", lambda: len(self.students) > 0, "a list with one student or more")
            for index, student in enumerate(self.students):
                for other in self.students[:index]:
                    _require_other_names(require, f"students[{index}].name", student, other)
            for index, label in enumerate(self.verify.accept):
                known = f"one of {', '.join(self.labels.names)}"
                require(f"verify.accept[{index}]", partial(self.labels.names.__contains__, label), known)
            for index, student in enumerate(self.students):
                _require_fitting_loss(require, f"students[{index}].loss", student, self.labels)
                with suppress(UnknownValueError):
                    # Not where the teacher's are refused as well: that is hub.repo's own mistake.
                    if not self.hub.is_refused:
                        self.hub.require_repositories(require, f"students[{index}].name", student.name)
            _require_micro_batch(require, self)
            models = ["teacher", *(student.name for student in self.students)]
            for index, name in enumerate(self.hub.models):
                require(f"hub.models[{index}]", partial(models.__contains__, name), f"one of {', '.join(models)}")
            verify = self.verify
            require_decision(require, "verify", verify.decision, verify.operating_points, self.labels)
            asked = "a point or more where verify.profile is safety: what a model must flag is not left to chance"
            require(
                "verify.operating_points", lambda: verify.profile != "safety" or bool(verify.operating_points), asked
            )
            known = f"shares of {', '.join(self.labels.names)}"
            require("verify.prevalence", lambda: set(verify.prevalence) <= set(self.labels.names), known)


def _require_other_names(require: Require, key: str, student: StudentConfig, other: StudentConfig) -> None:
    """Their folders lie side by side, and so do those of their baselines."""
    # Neither the Hub nor every file system tells names apart by case.
    another = "another name: another student has this one"
    require(key, lambda: not student.name or student.name.casefold() != other.name.casefold(), another)
    taken = "another name: a baseline has this one"
    require(key, lambda: not other.baseline or student.name != other.baseline_name, taken)
    require(key, lambda: not student.baseline or student.baseline_name != other.name, taken)


def _require_fitting_loss(require: Require, key: str, student: StudentConfig, labels: LabelsConfig) -> None:
    allowed = LOSSES_FOR[labels.kind]
    require(key, lambda: student.loss in allowed, f"one of {', '.join(allowed)} where labels are {labels.kind}")
    enough = "another one for two labels: dkd weighs what lies among the others"
    require(key, lambda: student.loss != "dkd" or len(labels.names) > 2, enough)


def _require_micro_batch(require: Require, config: Config) -> None:
    """A part of each batch that goes through in parts, and the whole of one whose images are compared."""
    with suppress(UnknownValueError):
        size = config.trainer.micro_batch
        if size == "auto":
            return
        batches: dict[str, FitConfig] = {
            f"students[{index}].fit": student.fit for index, student in enumerate(config.students)
        }
        if config.teacher.mode != "head":
            batches[f"teacher.{config.teacher.images_key}"] = config.teacher.on_images
        for key, fit in batches.items():
            fits = f"at most {key}.batch_size ({fit.batch_size}), or auto"
            require("trainer.micro_batch", partial(fit.batch_size.__ge__, size), fits)
        for index, student in enumerate(config.students):
            if student.loss in ACROSS_IMAGES:
                key = f"students[{index}].fit.batch_size"
                whole = f"{key} ({student.fit.batch_size}), or auto: {student.loss} compares the images of a batch"
                require("trainer.micro_batch", partial(student.fit.batch_size.__le__, size), whole)


def read_config(path: str | Path, overrides: Sequence[str] = ()) -> Config:
    """Read a YAML config and ``--key.subkey value`` overrides.

    Raises:
        UserError: the file is missing or wrong; the message names the key.
    """
    from run.parse import parse

    path = Path(path)
    return parse(Config, path, overrides, {"name": plain_name(path.stem) or "run"})


def as_yaml(config: Config) -> str:
    """A config with all its defaults, as a file that reads back."""
    plain = json.loads(json.dumps(asdict(config)))  # lists for tuples
    return yaml.safe_dump(plain, sort_keys=False)
