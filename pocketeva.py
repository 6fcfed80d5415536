"""The command line: one verb per room."""

import argparse
import json
import os
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack, nullcontext
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

# Before any library loads OpenMP: threads that wait for each other sleep. Spinning, they keep the processes that read
# images off the cores, and a training step on two busy cores takes up to ten times as long (docs/log.md).
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import yaml

from data.config import DataConfig, LabelsConfig, ViewsConfig
from data.labels import LabelSet
from distill.config import LOSSES_FOR, StudentConfig
from export.config import ExportConfig
from fitting.launch import launch, processes_to_start
from hub.config import HubConfig
from run.config import PLAIN_NAME, Require, TrackingConfig, TrainerConfig, checking, is_plain_name
from run.console import log
from run.errors import UserError
from run.files import write_text
from run.folder import RunFolder
from run.ranks import EndedElsewhereError, connect, disconnect, first_to_fail, once, this_rank
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
        with checking(self) as require:
            require("name", lambda: is_plain_name(self.name), PLAIN_NAME)
            require("students", lambda: len(self.students) > 0, "a list with one student or more")
            for index, student in enumerate(self.students):
                for other in self.students[:index]:
                    _require_other_names(require, f"students[{index}].name", student, other)
            for index, student in enumerate(self.students):
                _require_fitting_loss(require, f"students[{index}].loss", student, self.labels)


def _require_other_names(require: Require, key: str, student: StudentConfig, other: StudentConfig) -> None:
    """Their folders lie side by side, and so do those of their baselines."""
    require(key, lambda: student.name != other.name, "another name: another student has this one")
    taken = "another name: a baseline has this one"
    require(key, lambda: not other.baseline or student.name != other.baseline_name, taken)
    require(key, lambda: not student.baseline or student.baseline_name != other.name, taken)


def _require_fitting_loss(require: Require, key: str, student: StudentConfig, labels: LabelsConfig) -> None:
    allowed = LOSSES_FOR[labels.kind]
    require(key, lambda: student.loss in allowed, f"one of {', '.join(allowed)} where labels are {labels.kind}")
    enough = "another one for two labels: dkd weighs what lies among the others"
    require(key, lambda: student.loss != "dkd" or len(labels.names) > 2, enough)


def read_config(path: Path, overrides: Sequence[str] = ()) -> Config:
    """Read a YAML config and ``--key.subkey value`` overrides.

    Raises:
        UserError: the file is missing or wrong; the message names the key.
    """
    from run.parse import parse

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
    def resolved_config(self) -> Path:
        """``outputs/NAME/run.yaml``."""
        return self.folder.root / "run.yaml"

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
        views, costs = self.config.views, self.config.labels.costs
        for student in self.config.students:
            distill(context, manifest, student, views, teacher, costs)
            if student.baseline:
                unpublished = replace(context, publish=None)
                distill(unpublished, manifest, student.as_baseline(), views, teacher, costs)

    def build_cache(self) -> None:
        """Make what teacher and students will ask of the view cache, as one of however many processes."""
        from distill.cache import build_cache

        config = self.config
        build_cache(self._context(), self._manifest(), config.teacher, config.views, config.students)

    def check_cache(self, sample: int) -> int:
        """Compare the view cache with the live teacher; the exit code says what came out."""
        from distill.cache import check_cache

        same = check_cache(self._context(), self._manifest(), self.config.teacher, self.config.views, sample)
        return DONE if same else NOT_VERIFIED

    def export(self) -> None:
        """Write the release."""
        from export.export import export, export_baseline

        context, manifest = self._context(), self._manifest()
        models = {name: self._model(name) for name in ("teacher", *self._students)}
        export(context, manifest, self.config.export, models, self.config.hub.license)
        for name in self._baselines.values():
            export_baseline(context, manifest, self.config.export, name, self._model(name))

    def verify(self) -> int:
        """Judge the release; the exit code says what came out."""
        from export.release import Release, baseline_file
        from hub.card import write_cards
        from verify.summary import show
        from verify.verify import verify

        baselines = {name: baseline_file(self.folder, plain) for name, plain in self._baselines.items()}
        certificate = verify(self.folder, self.config.name, self.labels, self.config.verify, self._students, baselines)
        write_cards(Release(self.folder.release), certificate, self.config.hub)
        show(certificate, self.folder.release)
        return DONE if certificate.verdict == "PASS" else NOT_VERIFIED

    def push(self, *, dry_run: bool, allow_unverified: bool) -> None:
        """Publish the release."""
        from hub.push import push

        push(self.folder, self.config.hub, dry_run=dry_run, allow_unverified=allow_unverified)

    def run(self) -> int:
        """Everything but push, in order; of several processes, all train and the first does the rest."""
        once(self.prepare)
        self.train()
        self.distill()
        once(self.export)
        return once(self.verify)

    @property
    def _students(self) -> list[str]:
        return [student.name for student in self.config.students]

    @property
    def _baselines(self) -> dict[str, str]:
        """By student, the name of its baseline, where it has one."""
        return {student.name: student.baseline_name for student in self.config.students if student.baseline}

    def _context(self) -> "RunContext":
        from hub.checkpoints import publisher
        from run.context import RunContext

        return RunContext(
            folder=self.folder,
            trainer=self.config.trainer,
            tracking=self.config.tracking,
            seed=self.config.seed,
            config=asdict(self.config),
            working_size=self.config.data.working_size,
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

TRAINING = ("train", "distill", "run")
"""Verbs that several processes do together, one for each device; of the others, the first does all."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one verb.

    Returns:
        The exit code: 0 done, 2 wrong input or config, 3 not verified, 130 interrupted.
    """
    arguments = sys.argv[1:] if arguments is None else arguments
    options, overrides = _parser().parse_known_args(arguments)
    try:
        if options.verb in VERBS:
            return _run_stage(options, overrides, arguments)
        if options.verb == "cache":
            return _use_cache(options, overrides)
        if overrides:
            raise UserError(f"there is no {' '.join(overrides)} here")
        return _use_release(options)
    except UserError as error:
        _say_once(f"pocketeva {options.verb}: {error}", style="red")
        return WRONG_INPUT
    except KeyboardInterrupt:
        _say_once("interrupted; the same command goes on from here")
        return INTERRUPTED
    except EndedElsewhereError:
        return WRONG_INPUT
    except Exception:
        if first_to_fail():
            raise
        return BUG


def _say_once(message: str, style: str | None = None) -> None:
    """Say why this run ends, if no other process of it has."""
    if first_to_fail():
        log.quiet = False
        log.print(message, style=style, markup=False, soft_wrap=True)


def _run_stage(options: argparse.Namespace, overrides: Sequence[str], arguments: Sequence[str]) -> int:
    config = read_config(options.config, overrides)
    if config.export.formats and options.verb in (
        "prepare",
        "export",
        *TRAINING,
    ):  # hours before export is a better time to say so than then
        from export.formats import require_installed

        require_installed(config.export.formats)
    if options.verb in TRAINING and (count := processes_to_start(config.trainer)) > 1:
        return launch(arguments, count)
    connect(config.trainer)
    run = Run(config)
    with ExitStack() as held:
        once(lambda: held.enter_context(run.folder.locked()))
        once(lambda: _write_config(run))
        if not run.resolved_config.is_file():
            raise UserError(f"{run.resolved_config} is not there: all machines have to share the folder outputs")
        code = _stage(run, options)
    disconnect()
    return code


def _write_config(run: Run) -> None:
    text = yaml.safe_dump(json.loads(json.dumps(asdict(run.config))), sort_keys=False)
    write_text(run.resolved_config, text)


def _stage(run: Run, options: argparse.Namespace) -> int:
    if options.verb == "push":
        once(lambda: run.push(dry_run=options.dry_run, allow_unverified=options.allow_unverified))
        return DONE
    if options.verb == "prepare":
        once(lambda: run.prepare(suspects=options.suspects))
        return DONE
    stage: Callable[[], int | None] = getattr(run, options.verb)
    code = stage() if options.verb in TRAINING else once(stage)
    return DONE if code is None else code


def _use_cache(options: argparse.Namespace, overrides: Sequence[str]) -> int:
    run = Run(read_config(options.config, overrides))
    with run.folder.locked() if this_rank().number == 0 else nullcontext():  # the first of many holds the run for all
        if options.action == "check":
            return run.check_cache(options.sample)
        run.build_cache()
        return DONE


def _use_release(options: argparse.Namespace) -> int:
    if options.verb == "check-golden":
        from export.golden.golden import show_golden

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
    command = verbs.add_parser("cache", help="make the view cache ahead, by many processes at once, or check it")
    command.add_argument("action", choices=["build", "check"], help="check compares it with the live teacher")
    command.add_argument("config", type=Path, help="a YAML file, such as configs/demo.yaml")
    command.add_argument("--sample", type=int, default=64, metavar="N", help="images × views that check computes again")
    command = verbs.add_parser("predict", help="label images with a released model, without torch")
    command.add_argument("release", type=Path, help="a release folder NAME-onnx, or an ONNX file")
    command.add_argument("images", type=Path, nargs="+", help="image files and folders")
    command.add_argument("--json", action="store_true", help="one JSON object per line")
    command = verbs.add_parser("check-golden", help="run a release on its golden images, step by step")
    command.add_argument("release", type=Path, help="a release folder NAME-onnx")
    return parser


if __name__ == "__main__":
    sys.exit(main())
