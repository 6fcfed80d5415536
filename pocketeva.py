"""The command line: one verb per room."""

import argparse
import json
import os
import re
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

# Before any library loads OpenMP: threads that wait for each other sleep. Spinning, they keep the processes that read
# images off the cores, and a training step on two busy cores takes up to ten times as long (docs/log.md).
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import yaml

from data.config import DataConfig, LabelsConfig, ViewsConfig
from data.labels import LabelSet
from distill.config import StudentConfig
from export.config import ExportConfig
from hub.config import HubConfig
from run.config import TrackingConfig, TrainerConfig, require
from run.console import log
from run.errors import UserError
from run.files import write_text
from run.folder import RunFolder
from run.parse import parse
from train.config import TeacherConfig
from verify.config import VerifyConfig

if TYPE_CHECKING:  # importing torch takes seconds, and predict does without it
    from data.manifest import Manifest
    from models.classifier import Classifier
    from run.context import RunContext

DONE, BUG, WRONG_INPUT, NOT_VERIFIED, INTERRUPTED = 0, 1, 2, 3, 130


@dataclass(frozen=True, kw_only=True)
class Config:
    """One run."""

    name: str
    """Names the run: everything it writes lies in ``outputs/NAME``."""
    labels: LabelsConfig
    """The label set."""
    data: DataConfig
    """Where labels and images come from."""
    teacher: TeacherConfig
    """The model to fine-tune."""
    students: list[StudentConfig]
    """The models to distil it into."""
    seed: int = 0
    """Of initial weights and of the order of images."""
    views: ViewsConfig = ViewsConfig()
    """What teacher and students look at."""
    export: ExportConfig = ExportConfig()
    """How ONNX files are made."""
    verify: VerifyConfig = VerifyConfig()
    """What they must show."""
    hub: HubConfig = HubConfig()
    """Where they are published."""
    trainer: TrainerConfig = TrainerConfig()
    """Where the models run."""
    tracking: TrackingConfig = TrackingConfig()
    """Where metrics go."""

    def __post_init__(self) -> None:
        plain = re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", self.name) is not None
        require(plain, "name", self.name, "letters, digits, dots, dashes and underscores")
        names = [student.name for student in self.students]
        require(len(names) > 0, "students", names, "a list with one student or more")
        require(len(set(names)) == len(names), "students", names, "free of repeated names")


def read_config(path: Path, overrides: Sequence[str] = ()) -> Config:
    """Read a YAML config and ``--key.subkey value`` overrides.

    Raises:
        UserError: the file is missing or wrong; the message names the key.
    """
    return parse(Config, path, overrides)


@dataclass(frozen=True)
class Run:
    """The stages of one config. Each reads what the stages before it wrote, and does nothing where it is done."""

    config: Config

    @property
    def folder(self) -> RunFolder:
        """``outputs/NAME``."""
        return RunFolder(Path("outputs") / self.config.name)

    @property
    def labels(self) -> LabelSet:
        """The run's label set."""
        return LabelSet.of(self.config.labels)

    def prepare(self, *, suspects: bool = False) -> None:
        """Read labels and images; with ``suspects``, list labels that the teacher's features speak against."""
        from data.audit import Promise
        from data.prepare import prepare

        asked = self.config.verify
        manifest = prepare(
            self.folder, self.labels, self.config.data, promise=Promise(asked.agreement, asked.confidence)
        )
        if suspects:
            from train.suspects import write_suspects

            write_suspects(self._context(), manifest, self._model("teacher"), self.config.views)

    def train(self) -> None:
        """Fine-tune the teacher."""
        from train.train import train

        train(self._context(), self._manifest(), self.config.teacher, self.config.views, self.config.labels.costs)

    def distill(self) -> None:
        """Train the students."""
        from distill.distill import distill

        context, manifest, teacher = self._context(), self._manifest(), self._model("teacher")
        for student in self.config.students:
            distill(context, manifest, student, self.config.views, teacher, self.config.labels.costs)

    def export(self) -> None:
        """Write the release."""
        from export.export import export

        manifest = self._manifest()
        models = {name: self._model(name) for name in ("teacher", *self._students)}
        export(self._context(), manifest, self.config.export, models)

    def verify(self) -> int:
        """Judge the release; the exit code says what came out."""
        from hub.card import write_cards
        from verify.summary import show
        from verify.verify import verify

        certificate = verify(self.folder, self.config.name, self.labels, self.config.verify, self._students)
        write_cards(self.folder.release, certificate, self.config.hub)
        show(certificate, self.folder.release)
        return DONE if certificate["verdict"] == "PASS" else NOT_VERIFIED

    def push(self, *, dry_run: bool, allow_unverified: bool) -> None:
        """Publish the release."""
        from hub.push import push

        push(self.folder, self.config.hub, dry_run=dry_run, allow_unverified=allow_unverified)

    def run(self) -> int:
        """Everything but push, in order."""
        self.prepare()
        self.train()
        self.distill()
        self.export()
        return self.verify()

    @property
    def _students(self) -> list[str]:
        return [student.name for student in self.config.students]

    def _context(self) -> "RunContext":
        from hub.checkpoints import publisher
        from run.context import RunContext

        return RunContext(
            folder=self.folder,
            trainer=self.config.trainer,
            tracking=self.config.tracking,
            seed=self.config.seed,
            config=asdict(self.config),
            publish=publisher(self.config.hub),
        )

    def _manifest(self) -> "Manifest":
        from data.manifest import Manifest

        return Manifest.read(self.folder.manifest, self.labels)

    def _model(self, name: str) -> "Classifier":
        from models import checkpoint

        verb, folder = ("train", self.folder.teacher) if name == "teacher" else ("distill", self.folder.student(name))
        if not (folder / "model").is_dir():
            raise UserError(f"{folder / 'model'} is not there: run `pocketeva {verb}` first")
        return checkpoint.load(folder / "model", self.labels)


VERBS = {
    "prepare": "read labels and images, draw the splits",
    "train": "fine-tune the teacher",
    "distill": "train the students from the teacher",
    "export": "write the release: ONNX files, checked against PyTorch",
    "verify": "judge the exported files on the test split",
    "run": "prepare, train, distill, export and verify, skipping what is done",
    "push": "publish the release on the Hugging Face Hub",
}
"""Verbs that take a config, and what they do."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one verb.

    Returns:
        The exit code: 0 done, 2 wrong input or config, 3 not verified, 130 interrupted.
    """
    options, overrides = _parser().parse_known_args(arguments)
    try:
        if options.verb in VERBS:
            return _run_stage(options, overrides)
        if overrides:
            raise UserError(f"there is no {' '.join(overrides)} here")
        return _use_release(options)
    except UserError as error:
        log.print(f"pocketeva {options.verb}: {error}", style="red", markup=False, soft_wrap=True)
        return WRONG_INPUT
    except KeyboardInterrupt:
        log.print("interrupted; the same command goes on from here")
        return INTERRUPTED


def _run_stage(options: argparse.Namespace, overrides: Sequence[str]) -> int:
    config = read_config(options.config, overrides)
    run = Run(config)
    with run.folder.locked():
        write_text(
            run.folder.root / "run.yaml", yaml.safe_dump(json.loads(json.dumps(asdict(config))), sort_keys=False)
        )
        if options.verb == "push":
            run.push(dry_run=options.dry_run, allow_unverified=options.allow_unverified)
            return DONE
        if options.verb == "prepare":
            run.prepare(suspects=options.suspects)
            return DONE
        code: int | None = getattr(run, options.verb)()
        return DONE if code is None else code


def _use_release(options: argparse.Namespace) -> int:
    if options.verb == "check-golden":
        from export.golden import show_golden

        return DONE if show_golden(options.release) else NOT_VERIFIED
    from export.predict import predict

    predict(options.release, options.images, as_json=options.json)
    return DONE


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="pocketeva", description=__doc__)
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    for verb, about in VERBS.items():
        command = verbs.add_parser(
            verb, help=about, description=about, epilog="any key of the config can be given: --teacher.full.epochs 3"
        )
        command.add_argument("config", type=Path, help="a YAML file, such as configs/demo.yaml")
        if verb == "prepare":
            command.add_argument("--suspects", action="store_true", help="list likely label errors (needs the teacher)")
        if verb == "push":
            command.add_argument("--dry-run", action="store_true", help="show files, sizes and cards; send nothing")
            command.add_argument("--allow-unverified", action="store_true", help="publish although not verified")
    command = verbs.add_parser("predict", help="label images with a released model, without torch")
    command.add_argument("release", type=Path, help="a release folder NAME-onnx, or an ONNX file")
    command.add_argument("images", type=Path, nargs="+", help="image files and folders")
    command.add_argument("--json", action="store_true", help="one JSON object per line")
    command = verbs.add_parser("check-golden", help="run a release on its golden images, step by step")
    command.add_argument("release", type=Path, help="a release folder NAME-onnx")
    return parser


if __name__ == "__main__":
    sys.exit(main())
