"""The command line, a table of verbs, and what a Python user imports: load; read_config and Run (docs/python.md)."""

import os
import shlex
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent

# Before anything of ours is imported: `python -m` puts the current folder first, where a user may have a train.py, a
# data.py or a folder run/ of their own.
if __name__ == "__main__" and sys.path[0] == os.getcwd():  # noqa: PTH109
    del sys.path[0]
sys.path.insert(0, str(HERE))

# Before any library loads OpenMP: threads that wait for each other sleep. Spinning, they keep the processes that read
# images off the cores, and a training step on two busy cores takes up to ten times as long (docs/log.md).
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import argparse
import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from importlib.metadata import version
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Literal

import yaml

from data.config import DataConfig, LabelsConfig, ViewsConfig
from data.labels import LabelSet
from distill.config import LOSSES_FOR, StudentConfig
from export.config import ExportConfig
from export.points.config import DecisionConfig, require_decision
from fitting.launch import launch, processes_to_start
from hub.config import HubConfig
from hub.names import refusal
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
from run.console import console, log, print_anywhere, say_with_time
from run.disk import as_disk_full
from run.errors import UserError, quoted
from run.files import write_text
from run.folder import RunFolder
from run.hardware import require_hardware
from run.ranks import EndedElsewhereError, connect, disconnect, first_to_fail, once, this_rank
from run.schema import ELSEWHERE, paths
from run.usage import duration, peak_memory
from train.config import TeacherConfig
from verify.config import VerifyConfig

if TYPE_CHECKING:  # stages are imported in their verbs: torch takes seconds, and predict does without it
    from data.manifest import Manifest
    from export.predictor import Predictor
    from export.release import Release
    from models.classifier import Classifier
    from run.context import RunContext
    from verify.certificate import Certificate
    from verify.verify import Verification

DONE = 0
BUG = 1
WRONG_INPUT = 2
NOT_VERIFIED = 3
INTERRUPTED = 130


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
                    if not self.hub.repo or not refusal(self.hub.repository("teacher", onnx=True)):
                        self.hub.require_repositories(require, f"students[{index}].name", student.name)
            verify = self.verify
            require_decision(require, "verify", verify.decision, verify.operating_points, self.labels)
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


def read_config(path: str | Path, overrides: Sequence[str] = ()) -> Config:
    """Read a YAML config and ``--key.subkey value`` overrides.

    Raises:
        UserError: the file is missing or wrong; the message names the key.
    """
    from run.parse import parse

    path = Path(path)
    return parse(Config, path, overrides, {"name": plain_name(path.stem) or "run"})


def load(release: str | Path, threads: int | None = None) -> "Predictor":
    """Open a released model, without torch.

    Args:
        release: a run, a release, a model's folder in it, or a model file.
        threads: of one prediction; null takes every core.

    Raises:
        UserError: no model file is there, there are several models, or the file cannot be run.
    """
    from export.predictor import Predictor

    return Predictor(Path(release), threads)


@dataclass(frozen=True)
class Run:
    """One config, its stages, and what they left.

    A stage does what the verb of its name does: nothing where it is done, and what is left where it was interrupted.
    Each raises UserError where the verb would end with a message.
    """

    config: Config
    output: Path = Path("outputs")
    """The folder of all runs."""

    def prepare(self) -> "Manifest":
        """Read labels and images, and draw the splits."""
        self._do("prepare")
        return self.manifest()

    def train(self) -> "Classifier":
        """Fine-tune the teacher."""
        self._do("train")
        return self.model("teacher")

    def distill(self) -> "dict[str, Classifier]":
        """Train the students from the teacher; gives them by name."""
        self._do("distill")
        return {name: self.model(name) for name in self.students}

    def export(self) -> "Release":
        """Write the release: ONNX files, checked against PyTorch."""
        from export.release import Release

        self._do("export")
        return Release(self.folder.release)

    def verify(self) -> "Certificate":
        """Judge the exported files on the test split, and print how."""
        from verify.certificate import Certificate

        self._do("verify")
        return Certificate.read(self.folder.verify / "certificate.json")

    def _do(self, name: str) -> None:
        (verb,) = (verb for verb in VERBS if verb.name == name)
        _require_ready(self, verb)
        _go_through(verb, self, _parser().parse_args([name, "the config"]))

    @contextmanager
    def held(self) -> Iterator[None]:
        """Hold the run's folder, and meet the other processes that were started for it.

        Raises:
            UserError: another process holds it, or the machines do not share it.
        """
        connect(self.config.trainer)
        with ExitStack() as held:
            once(lambda: held.enter_context(self.folder.locked()))
            resolved = self.folder.root / "run.yaml"
            once(lambda: write_text(resolved, _as_yaml(self.config)))
            if not resolved.is_file():
                raise UserError(f"{resolved} does not exist here: all machines have to share the folder {self.output}")
            yield
        disconnect()  # not where something went wrong: the others may never come to it

    @property
    def folder(self) -> RunFolder:
        """``outputs/NAME``."""
        return RunFolder(self.output / self.config.name)

    @property
    def labels(self) -> LabelSet:
        """The run's label set."""
        return LabelSet.of(self.config.labels)

    @property
    def decision(self) -> DecisionConfig:
        """The decision that every file ships with."""
        return DecisionConfig.of(self.config.verify.decision, self.config.verify.operating_points, self.config.labels)

    @property
    def students(self) -> list[str]:
        """The students' names, without baselines."""
        return [student.name for student in self.config.students]

    @property
    def baselines(self) -> dict[str, str]:
        """By student, the name of its baseline, where it has one."""
        return {student.name: student.baseline_name for student in self.config.students if student.baseline}

    @property
    def hub(self) -> HubConfig:
        """Publishing; a data set that the author names is named with the revision that was read."""
        data = self.config.data
        paths = [data.path, data.unlabeled.path if data.unlabeled else ""]
        pinned = {path.partition("@")[0]: path for path in paths if "@" in path}
        hub = self.config.hub
        return replace(hub, datasets=tuple(pinned.get(name, name) for name in hub.datasets))

    @property
    def places(self) -> list[str]:
        """Where images and models lie, as the config has it; nobody else is told."""
        sources = [source for source in (self.config.data, self.config.data.unlabeled) if source]
        named = [place for source in sources for place in (source.path, source.image_root or "")]
        return [*named, self.config.teacher.model, *(student.model for student in self.config.students)]

    def context(self) -> "RunContext":
        """The run as stage functions take it, beside their own sections."""
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

    def verification(self) -> "Verification":
        """The release, and all that it is judged by."""
        from export.release import baseline_file
        from verify.verify import Verification

        config = self.config
        baselines = {name: baseline_file(self.folder, plain) for name, plain in self.baselines.items()}
        return Verification(self.folder, config.name, self.labels, config.verify, self.students, baselines)

    def manifest(self) -> "Manifest":
        """The manifest that ``prepare`` wrote."""
        from data.manifest import Manifest

        return Manifest.read(self.folder.manifest, self.labels)

    def model(self, name: str) -> "Classifier":
        """The trained teacher, a student or a baseline.

        Raises:
            UserError: it is not trained yet.
        """
        from models import checkpoint

        return checkpoint.load(self.require_model(name), self.labels)

    def require_model(self, name: str) -> Path:
        """The checkpoint folder of the teacher, a student or a baseline.

        Raises:
            UserError: it is not trained yet.
        """
        folder = self.folder.teacher if name == "teacher" else self.folder.student(name)
        return _existing(folder / "model", "train" if name == "teacher" else "distill")


def _existing(path: Path, verb: str) -> Path:
    """A path that this verb makes.

    Raises:
        UserError: it has not.
    """
    if not path.exists():
        raise UserError(f"{quoted(path)} does not exist: run `pocketeva {verb}` first")
    return path


def _needs_manifest(run: Run) -> None:
    _existing(run.folder.manifest, "prepare")


def _needs_teacher(run: Run) -> None:
    _needs_manifest(run)
    run.require_model("teacher")


def _needs_students(run: Run) -> None:
    _needs_teacher(run)
    for name in (*run.students, *run.baselines.values()):
        run.require_model(name)


def _needs_release(run: Run) -> None:
    _existing(run.folder.release, "export")


def _init(_: None, options: argparse.Namespace) -> None:
    from start.init import init

    chosen = {"teacher": options.teacher, "student": options.student, "from_scratch": options.from_scratch}
    file = init(Config, options.path, options.overrides, file=options.config, schema=HERE / SCHEMA, **chosen)
    console.print(f"{file} is written; to run it: pocketeva run {shlex.quote(str(file))}", soft_wrap=True)


def _config(_: None, options: argparse.Namespace) -> None:
    from run.reference import reference, schema

    if options.schema:
        console.print(schema(Config), soft_wrap=True, end="")
    elif options.reference:
        console.print(reference(Config), soft_wrap=True, end="")
    elif options.config is None:
        raise UserError("give a config file, --reference or --schema")
    else:
        console.print(_as_yaml(read_config(options.config, options.overrides)), soft_wrap=True, end="")


def _views(run: Run, options: argparse.Namespace) -> None:
    from data.readers.source import Source
    from start.sheet import specs_of, write_sheet

    config = run.config
    source = Source(config.data, run.labels, run.folder.data / "images")
    path = run.folder.root / "views.png"
    specs = specs_of(config.teacher, config.students)
    write_sheet(path, source, config.views, specs, images=options.images, views=options.views)
    console.print(f"{path}: images as the teacher and the students will see them", soft_wrap=True)


def _prepare(run: Run, _: argparse.Namespace) -> None:
    from data.audit import Promise
    from data.prepare import prepare
    from export.points.enough import require_enough_images
    from verify.ledger import confidence_of_look

    asked = run.config.verify
    promise = Promise(asked.agreement, confidence_of_look(1, asked.confidence))
    prepare(run.folder, run.labels, run.config.data, promise=promise, slices=asked.slices)
    # Before hours of training: a promise that the calibration split is too small for cannot be kept by any model.
    require_enough_images(run.manifest(), run.decision)


def _list_suspects(run: Run, options: argparse.Namespace) -> None:
    if options.suspects:
        from train.suspects import write_suspects

        write_suspects(run.context(), run.manifest(), run.model("teacher"), run.config.views)


def _require_trainable(run: Run, options: argparse.Namespace) -> None:
    from distill.require import require_trainable

    try:
        require_trainable(run.config.teacher, run.config.students, len(run.labels))
    except UserError as error:
        raise UserError("\n".join(f"{options.config}: {line}" for line in str(error).splitlines())) from error


def _require_current(run: Run, _: argparse.Namespace) -> None:
    from data.prepare import require_current

    run.manifest()  # first: a stage out of order is refused in an instant
    require_current(run.folder, run.labels, run.config.data, run.config.verify.slices)


def _train(run: Run, _: argparse.Namespace) -> None:
    from train.train import train

    train(run.context(), run.manifest(), run.config.teacher, run.config.views, run.config.labels.costs)


def _distill(run: Run, _: argparse.Namespace) -> None:
    from distill.distill import distill
    from train.teacher import load_teacher

    context = run.context()
    manifest = run.manifest()
    teacher = load_teacher(context, run.labels)
    views = run.config.views
    costs = run.config.labels.costs
    for student in run.config.students:
        distill(context, manifest, student, views, teacher, costs)
        if student.baseline:
            unpublished = replace(context, publish=None)
            distill(unpublished, manifest, student.as_baseline(), views, teacher, costs)


def _export(run: Run, _: argparse.Namespace) -> None:
    from export.export import export, export_baseline

    context = run.context()
    manifest = run.manifest()
    models = {name: run.model(name) for name in ("teacher", *run.students)}
    export(context, manifest, run.config.export, models, run.decision)
    for name in run.baselines.values():
        export_baseline(context, manifest, run.config.export, name, run.model(name), run.decision)


def _verify(run: Run, _: argparse.Namespace) -> int:
    from verify.summary import show
    from verify.verify import verify

    certificate = verify(run.verification())
    show(certificate, run.folder.release)
    return DONE if certificate.verdict == "PASS" else NOT_VERIFIED


def _errors(run: Run, _: argparse.Namespace) -> None:
    from verify.gallery import gallery

    path = run.folder.verify / "errors.html"
    write_text(path, gallery(run.folder, run.manifest(), run.students))
    console.print(f"{path}: open it in a browser; it holds your images and stays here", soft_wrap=True)


def _compare(run: Run, options: argparse.Namespace) -> int:
    if options.against is None:
        return DONE
    from verify.update import compare_with, show_update

    updates, flips = compare_with(run.verification(), options.against)
    return DONE if show_update(updates, flips, run.folder.verify / "flips.csv") else NOT_VERIFIED


def _write_cards(run: Run, _: argparse.Namespace) -> None:
    from export.release import Release
    from hub.card import write_cards
    from hub.push import read_certificate

    write_cards(Release(run.folder.release), read_certificate(run.folder), run.hub)


def _push(run: Run, options: argparse.Namespace) -> None:
    from hub.push import push

    push(
        run.verification(),
        run.hub,
        dry_run=options.dry_run,
        allow_unverified=options.allow_unverified,
        private=run.places,
    )


def _recheck(_: None, options: argparse.Namespace) -> int:
    from hub.recheck import show_recheck

    run = Run(read_config(options.data)) if options.data else None
    data = (run.manifest(), run.config.verify) if run else None
    return DONE if show_recheck(options.release, data) else NOT_VERIFIED


def _cache(run: Run, options: argparse.Namespace) -> int:
    from distill.cache import build_cache, check_cache

    config = run.config
    require_hardware(config.trainer)
    if options.action == "check":
        same = check_cache(run.context(), run.manifest(), config.teacher, config.views, options.sample)
        return DONE if same else NOT_VERIFIED
    build_cache(run.context(), run.manifest(), config.teacher, config.views, config.students)
    return DONE


def _completion(_: None, __: argparse.Namespace) -> None:
    from run.completion import completion_script

    words = {verb.name: [*verb.words, "--help"] for verb in VERBS}
    keys = [OUTPUT[0], *(f"--{path}" for path in paths(Config))]
    with_keys = [verb.name for verb in VERBS if verb.has_config or verb.takes_keys]
    console.print(completion_script(words, with_keys, keys), soft_wrap=True)


def _predict(_: None, options: argparse.Namespace) -> None:
    from export.predict import predict

    predict(options.release, options.images, form=options.format, top=options.top, processes=options.processes)


def _check_golden(_: None, options: argparse.Namespace) -> int:
    from export.golden.check import show_golden

    return DONE if show_golden(options.release) else NOT_VERIFIED


@dataclass(frozen=True)
class Step:
    """A part of a verb; returns an exit code, or null for 0."""

    function: Callable[..., int | None]
    """Takes the run, null in a verb without a config, and the options."""
    processes: Literal["first", "all", "each"] = "first"
    """Of several: the first, while the others wait; all of them as one; or each by itself, with no network between."""
    needs: Callable[[Run], None] | None = None
    """Refuses a run whose earlier stages are not done: at once, before what the step imports is imported."""

    @property
    def name(self) -> str:
        """For messages."""
        return self.function.__name__.strip("_").replace("_", " ")


Flag = tuple[str, dict[str, Any]]
"""An argument of a verb: its name, and what argparse is told of it."""


def flag(name: str, **settings: Any) -> Flag:
    """An argument, with argparse's settings by their own names."""
    return name, settings


def _printing(form: str) -> dict[str, Any]:
    """Settings of a flag that asks for a format of the output."""
    return {"dest": "format", "action": "store_const", "const": form, "default": "table"}


def _count(text: str) -> int:
    if not (text.isdecimal() and int(text) > 0):
        raise argparse.ArgumentTypeError(f"{text} is not a number from 1 on")
    return int(text)


CONFIG = flag("config", type=Path, help="a YAML file, such as configs/demo.yaml")
SCHEMA = "configs/schema.json"
"""By which editors complete and check a config; made by ``pocketeva config --schema``."""
OUTPUT = flag("--output", type=Path, default=Path("outputs"), metavar="DIR", help="the folder of all runs (outputs)")
"""Taken by every verb with a config."""

EXAMPLE = """example:
  pocketeva init images/       look at labels and images, and write images.yaml
  pocketeva run images.yaml    train, distill, export and verify: files to ship, and how good they are
"""


@dataclass(frozen=True)
class Verb:
    """One row of the command line."""

    name: str
    about: str
    steps: Sequence[Step]
    """One after the other; the largest of their exit codes counts."""
    flags: Sequence[Flag] = (CONFIG,)
    takes_keys: bool = False
    """It takes a config's keys, although it is not about a run."""

    @property
    def has_config(self) -> bool:
        """It is about one run, and takes that config's keys."""
        return CONFIG in self.flags

    @property
    def words(self) -> list[str]:
        """Its options, and the values that an argument may have."""
        return [word for name, settings in self.flags for word in settings.get("choices", [name] * (name[0] == "-"))]


CHECK = Step(_require_trainable)
CURRENT = Step(_require_current)
PREPARE = Step(_prepare)
TRAIN = Step(_train, "all", _needs_manifest)
DISTILL = Step(_distill, "all", _needs_teacher)
EXPORT = Step(_export, needs=_needs_students)
VERIFY = Step(_verify, needs=_needs_release)

VERBS = (
    Verb(
        "init",
        "look at labels and images, and write a config that runs",
        [Step(_init)],
        [
            flag("path", help="a folder, a table (CSV, Parquet, JSON lines), an export, or a Hub id"),
            flag("--teacher", metavar="MODEL", help="a timm name, a Hub id or a folder"),
            flag("--student", metavar="MODEL", help="a timm name, a Hub id or a folder"),
            flag("--from-scratch", action="store_true", help="start from random weights, where no others can be had"),
            flag("--config", type=Path, metavar="FILE", help="the file to write (NAME.yaml, after the path)"),
        ],
        takes_keys=True,
    ),
    Verb(
        "config",
        "print a config with all its defaults",
        [Step(_config)],
        [
            flag("config", type=Path, nargs="?", help="a YAML file, such as configs/demo.yaml"),
            flag("--reference", action="store_true", help="print the page about every key, docs/config.md"),
            flag("--schema", action="store_true", help="print the JSON schema for editors, configs/schema.json"),
        ],
        takes_keys=True,
    ),
    Verb(
        "views",
        "draw images as the teacher and the students will see them",
        [Step(_views)],
        [
            CONFIG,
            flag("--images", type=int, default=6, metavar="N", help="images, of every label in turn (6)"),
            flag("--views", type=int, default=5, metavar="N", help="views of each, the whole image first (5)"),
        ],
    ),
    Verb(
        "prepare",
        "read labels and images, draw the splits",
        [PREPARE, Step(_list_suspects)],
        [CONFIG, flag("--suspects", action="store_true", help="list likely label errors (needs the teacher)")],
    ),
    Verb("train", "fine-tune the teacher", [CURRENT, CHECK, TRAIN]),
    Verb("distill", "train the students from the teacher", [CURRENT, CHECK, DISTILL]),
    Verb("export", "write the release: ONNX files, checked against PyTorch", [EXPORT]),
    Verb(
        "verify",
        "judge the exported files on the test split",
        [VERIFY, Step(_compare)],
        [
            CONFIG,
            flag(
                "--against", type=Path, metavar="OLD_RELEASE", help="compare with an older release on the same images"
            ),
        ],
    ),
    Verb(
        "run",
        "prepare, train, distill, export and verify, skipping what is done",
        [CHECK, PREPARE, TRAIN, DISTILL, EXPORT, VERIFY, Step(_write_cards)],
    ),
    Verb("errors", "show the worst errors and disagreements with their pictures", [Step(_errors)]),
    Verb(
        "push",
        "publish the release on the Hugging Face Hub",
        [Step(_push, needs=_needs_release)],
        [
            CONFIG,
            flag("--dry-run", action="store_true", help="show files, sizes and cards; send nothing"),
            flag("--allow-unverified", action="store_true", help="publish although not verified"),
        ],
    ),
    Verb(
        "cache",
        "make the view cache ahead, by many processes at once, or check it",
        [Step(_cache, "each", _needs_manifest)],
        [
            flag("action", choices=["build", "check"], help="check compares it with the live teacher"),
            CONFIG,
            flag("--sample", type=int, default=64, metavar="N", help="images × views that check computes again"),
        ],
    ),
    Verb(
        "predict",
        "label images with a released model, without torch",
        [Step(_predict)],
        [
            flag("release", type=Path, help="a release, a model's folder in it, or a model file"),
            flag("images", nargs="+", help="image files, folders, patterns, or - for paths on standard input"),
            flag("--json", **_printing("json"), help="one JSON object per line"),
            flag("--csv", **_printing("csv"), help="one row per image, for spreadsheets"),
            flag("--top", type=_count, metavar="N", help="the N likeliest labels of each image"),
            flag("--processes", type=_count, default=1, metavar="N", help="share the images out over N processes"),
        ],
    ),
    Verb(
        "recheck",
        "check a certificate: its digests, counts, bounds and verdict, without torch",
        [Step(_recheck)],
        [
            flag("release", help="a release, a folder NAME-onnx of one, or org/name on the Hub"),
            flag("--data", type=Path, metavar="CONFIG", help="a config whose images are at hand: count again"),
        ],
    ),
    Verb(
        "check-golden",
        "run a release on its golden images, step by step",
        [Step(_check_golden)],
        [flag("release", type=Path, help="a release folder NAME-onnx")],
    ),
    Verb("completion", "print the script by which bash or zsh completes all of this", [Step(_completion)], []),
)
"""Every verb; a new one is a new row."""

BEFORE_EXPORT = ("prepare", "train", "distill", "export", "run")
"""Verbs that look at once for what a later one would miss: hours later is too late."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one verb.

    Returns:
        The exit code: 0 done, 2 wrong input or config, 3 not verified, 130 interrupted.
    """
    print_anywhere()
    arguments = sys.argv[1:] if arguments is None else arguments
    parser = _parser()
    if not arguments:
        parser.print_help()
        return DONE
    options, overrides = parser.parse_known_args(arguments)
    verb: Verb = options.verb
    try:
        run = _run_of(verb, options, overrides)
        count = _processes_to_start(run, verb)
        if count > 1:
            return launch(arguments, count)
        return _go_through(verb, run, options)
    except UserError as error:
        _say_once(f"pocketeva {verb.name}: {error}", style="red")
        return WRONG_INPUT
    except KeyboardInterrupt:
        _say_once("interrupted; the same command goes on from here")
        return INTERRUPTED
    except EndedElsewhereError:
        return WRONG_INPUT
    except Exception as error:
        if reason := _lacking(error):
            _say_once(f"pocketeva {verb.name}: {reason}", style="red")
            return WRONG_INPUT
        if first_to_fail():
            raise
        return BUG


def _go_through(verb: Verb, run: Run | None, options: argparse.Namespace) -> int:
    """Take every step of a verb, and say how long each took."""
    code = DONE
    times: dict[str, float] = {}
    with _held(run, verb):
        for step in verb.steps:
            started = time.monotonic()
            work = partial(step.function, run, options)
            code = max(code, (once(work) if step.processes == "first" else work()) or DONE)
            if step in (CHECK, CURRENT):
                continue
            times[step.name] = time.monotonic() - started
            if run is not None and not log.is_terminal:
                say_with_time(f"{step.name}: {duration(times[step.name])}")
    if len(times) > 1:
        log.print(_said_of(times), soft_wrap=True)
    return code


def _run_of(verb: Verb, options: argparse.Namespace, overrides: Sequence[str]) -> Run | None:
    """The run that a verb is about; null for a verb without a config."""
    if not verb.has_config:
        if overrides and not verb.takes_keys:
            raise UserError(f"there is no {' '.join(overrides)} here")
        options.overrides = overrides
        return None
    run = Run(read_config(options.config, overrides), options.output)
    _require_ready(run, verb)
    return run


def _require_ready(run: Run, verb: Verb) -> None:
    """Refuse at once what a step would refuse after seconds of imports, or hours of work."""
    if verb.name in BEFORE_EXPORT:
        _require_usable(run.config)
    if PREPARE not in verb.steps:  # with it, each step makes what the next one needs
        for step in verb.steps:
            if step.needs is not None:
                step.needs(run)


def _require_usable(config: Config) -> None:
    """Refuse models that do not exist, and packages that are not installed."""
    from export.formats import require_installed
    from models.names import require_name

    require_name(config.teacher.model, "teacher", pretrained=config.teacher.pretrained)
    for index, student in enumerate(config.students):
        require_name(student.model, f"students[{index}]", pretrained=student.pretrained)
    if config.export.formats:
        require_installed(config.export.formats)
    if config.tracking.tensorboard and find_spec("tensorboard") is None:
        raise UserError(f"tracking.tensorboard is true, and {_how_to_install('tensorboard', extra='tensorboard')}")


def _processes_to_start(run: Run | None, verb: Verb) -> int:
    together = any(step.processes == "all" for step in verb.steps)
    return processes_to_start(run.config.trainer) if run and together else 1


@contextmanager
def _held(run: Run | None, verb: Verb) -> Iterator[None]:
    """Hold the run's folder for this command."""
    if run is None:
        yield
        return
    if all(step.processes == "each" for step in verb.steps):
        # The processes know nothing of each other: the first holds the folder for all.
        with run.folder.locked() if this_rank().number == 0 else nullcontext():
            yield
        return
    with run.held():
        yield


def _as_yaml(config: Config) -> str:
    plain = json.loads(json.dumps(asdict(config)))  # lists for tuples
    return yaml.safe_dump(plain, sort_keys=False)


def _lacking(error: Exception) -> str:
    """What this machine lacks, where that is behind an error: room on a disk, or a package; empty where it is not."""
    if full := as_disk_full(error):
        return str(full)
    package = (error.name or "").partition(".")[0] if isinstance(error, ModuleNotFoundError) else ""
    return _how_to_install(package) if package and not (HERE / package).exists() else ""


def _how_to_install(package: str, extra: str = "train") -> str:
    command = f"pip install '.[{extra}]'"
    return f"the package {package} is not installed: in PocketEVA's folder run `{command}` (with uv: `uv {command}`)"


def _said_of(times: Mapping[str, float]) -> str:
    """How long each step took, and the memory of all."""
    steps = ", ".join(f"{name} {duration(seconds)}" for name, seconds in times.items())
    memory = peak_memory()
    return f"time: {steps}" + (f"; memory: at most {memory}" if memory else "")


def _say_once(message: str, style: str | None = None) -> None:
    """Say why this run ends, if no other process of it has."""
    if first_to_fail():
        log.quiet = False
        log.print(message, style=style, markup=False, soft_wrap=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="pocketeva",
        description="Each verb reads what the ones before it wrote.",
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"pocketeva {version('pocketeva')}")
    verbs = parser.add_subparsers(required=True, metavar="VERB")
    for verb in VERBS:
        epilog = (
            "any key of the config can be given: --teacher.full.epochs 3"
            if verb.has_config or verb.takes_keys
            else None
        )
        command = verbs.add_parser(
            verb.name, help=verb.about, description=verb.about, epilog=epilog, allow_abbrev=False
        )
        command.set_defaults(verb=verb)
        for name, settings in (*verb.flags, *([OUTPUT] if verb.has_config else [])):
            command.add_argument(name, **settings)
    return parser


if __name__ == "__main__":
    sys.exit(main())
