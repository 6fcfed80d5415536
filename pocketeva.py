"""The command line, a table of verbs, and what a Python user imports: load; read_config and Run (docs/python.md)."""

import os
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent

# Before anything of ours is imported: `python -m` puts the current folder first, where a user may have a train.py, a
# data.py or a folder run/ of their own.
if __name__ == "__main__" and sys.path[0] == os.getcwd():  # noqa: PTH109
    del sys.path[0]
sys.path.insert(0, str(HERE))

# Before any library loads OpenMP: threads that wait for each other spin for microseconds, then sleep. Spinning for
# longer, they keep the processes that read images off the cores, and a training step on two busy cores takes up to ten
# times as long; if they sleep at once, a step on idle cores takes a third longer (docs/log.md).
if os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE") == "PASSIVE":
    os.environ.setdefault("GOMP_SPINCOUNT", "10000")

from run.usage import limit_threads

limit_threads()  # asks for the cores too, before PyTorch's OpenMP may bind this thread to one of them

import argparse
from collections.abc import Sequence
from contextlib import suppress
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from fitting.launch import launch, processes_to_start
from run.console import console, log, print_anywhere, show_bugs_escaped
from run.disk import as_disk_full
from run.errors import UserError
from run.ranks import EndedElsewhereError, first_to_fail
from run.schema import paths
from verbs import steps
from verbs.config import Config, read_config
from verbs.run import Run
from verbs.steps import Step, go_through, how_to_install, require_ready

if TYPE_CHECKING:  # torch takes seconds, and predict does without it
    from export.predictor import Predictor

__all__ = ["Config", "Run", "load", "main", "read_config"]

DONE = 0
BUG = 1
WRONG_INPUT = 2
NOT_VERIFIED = 3
INTERRUPTED = 130


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


def _completion(_: None, options: argparse.Namespace) -> None:
    from run.completion import completion_script

    words = {verb.name: [*verb.words, "--help"] for verb in VERBS}
    keys = [OUTPUT[0], *(f"--{path}" for path in paths(Config))]
    with_keys = [verb.name for verb in VERBS if verb.takes_keys]
    console.print(completion_script(options.shell, words, with_keys, keys), soft_wrap=True)


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


def _points(text: str) -> float:
    with suppress(ValueError):
        if 0 <= (points := float(text)) <= 100:
            return points
    raise argparse.ArgumentTypeError(f"{text} is not a number from 0 to 100")


CONFIG = flag("config", type=Path, help="a YAML file, such as configs/demo.yaml")
OUTPUT = flag("--output", type=Path, default=Path("outputs"), metavar="DIR", help="the folder of all runs (outputs)")
"""Taken by every verb with a config."""

EXAMPLE = """example:
  pocketeva init images/       look at labels and images, and write images.yaml
  pocketeva run images.yaml    train, distill, export and verify: files to ship, and how good they are
"""


class Verb:
    """One row of the command line."""

    def __init__(self, name: str, about: str, steps: Sequence[Step], *flags: Flag, takes_keys: bool = False) -> None:
        self.name = name
        self.about = about
        self.steps = steps
        """One after the other."""
        self.flags = flags or (CONFIG,)
        self.has_config = CONFIG in self.flags
        """It is about one run."""
        self.takes_keys = takes_keys or self.has_config
        """It takes a config's keys."""

    @property
    def words(self) -> list[str]:
        """Its options, and the values that an argument may have."""
        return [word for name, settings in self.flags for word in settings.get("choices", [name] * (name[0] == "-"))]


VERBS = (
    Verb(
        "init",
        "look at labels and images, and write a config that runs",
        [steps.INIT],
        flag("path", help="a folder, a table (CSV, Parquet, JSON lines), an export, or a Hub id"),
        flag("--teacher", metavar="MODEL", help="a timm name, a Hub id or a folder"),
        flag("--student", metavar="MODEL", help="a timm name, a Hub id or a folder"),
        flag("--from-scratch", action="store_true", help="start from random weights, where no others can be had"),
        flag("--config", type=Path, metavar="FILE", help="the file to write (NAME.yaml, after the path)"),
        takes_keys=True,
    ),
    Verb(
        "config",
        "print a config with all its defaults",
        [steps.PRINT_CONFIG],
        flag("config", type=Path, nargs="?", help="a YAML file, such as configs/demo.yaml"),
        flag("--reference", action="store_true", help="print the page about every key, docs/config.md"),
        flag("--schema", action="store_true", help="print the JSON schema for editors, configs/schema.json"),
        takes_keys=True,
    ),
    Verb(
        "views",
        "draw images as the teacher and the students will see them",
        [steps.VIEWS],
        CONFIG,
        flag("--images", type=int, default=6, metavar="N", help="images, of every label in turn (6)"),
        flag("--views", type=int, default=5, metavar="N", help="views of each, the whole image first (5)"),
    ),
    Verb(
        "prepare",
        "read labels and images, draw the splits",
        [steps.PREPARE, steps.SUSPECTS],
        CONFIG,
        flag("--suspects", action="store_true", help="list likely label errors (needs the teacher)"),
    ),
    Verb("train", "fine-tune the teacher", steps.STAGES["train"]),
    Verb("distill", "train the students from the teacher", steps.STAGES["distill"]),
    Verb("export", "write the release: ONNX files, checked against PyTorch", steps.STAGES["export"]),
    Verb(
        "verify",
        "judge the exported files on the test split",
        [steps.VERIFY, steps.COMPARE],
        CONFIG,
        flag("--against", type=Path, metavar="OLD_RELEASE", help="compare with an older release on the same images"),
    ),
    Verb("run", "prepare, train, distill, export and verify, skipping what is done", steps.STAGES["run"]),
    Verb("errors", "show the worst errors and disagreements with their pictures", [steps.ERRORS]),
    Verb(
        "push",
        "publish the release on the Hugging Face Hub",
        [steps.PUSH],
        CONFIG,
        flag("--dry-run", action="store_true", help="show files, sizes and cards; send nothing"),
        flag("--allow-unverified", action="store_true", help="publish although not verified"),
        flag("--pr", action="store_true", help="open pull requests, and leave the repositories as they are"),
        flag("--overwrite", action="store_true", help="replace what others changed in the repositories"),
    ),
    Verb(
        "cache",
        "make the view cache ahead, by many processes at once, or check it",
        [steps.CACHE],
        flag("action", choices=["build", "check"], help="check compares it with the live teacher"),
        CONFIG,
        flag("--sample", type=int, default=64, metavar="N", help="images × views that check computes again"),
    ),
    Verb(
        "predict",
        "label images with a released model, without torch",
        [steps.PREDICT],
        flag("release", type=Path, help="a release, a model's folder in it, or a model file"),
        flag("images", nargs="+", help="image files, folders, patterns, or - for paths on standard input"),
        flag("--json", **_printing("json"), help="one JSON object per line"),
        flag("--csv", **_printing("csv"), help="one row per image, for spreadsheets"),
        flag("--top", type=_count, metavar="N", help="the N likeliest labels of each image"),
        flag("--processes", type=_count, default=1, metavar="N", help="share the images out over N processes"),
    ),
    Verb(
        "page",
        "try a student in your browser: serve its page on this machine",
        [steps.PAGE],
        flag("release", type=Path, help="a run, a release, or a student's folder NAME-onnx"),
        flag("--port", type=int, default=0, metavar="N", help="the port to serve it on (a free one)"),
    ),
    Verb(
        "recheck",
        "check a certificate: its digests, counts, bounds and verdict, without torch",
        [steps.RECHECK],
        flag("release", help="a release, a folder NAME-onnx of one, or org/name on the Hub"),
        flag("--data", type=Path, metavar="CONFIG", help="a config whose images are at hand: count again"),
        flag("--public-key", type=Path, metavar="FILE", help="verify the author's signature, by a key in PEM"),
    ),
    Verb(
        "reproduce",
        "measure a published model on your data: published figures against measured ones",
        [steps.PUBLISHED, steps.PREPARE, steps.REPRODUCE],
        flag("release", help="a release, a folder of it, a checkpoint folder, or org/name on the Hub"),
        CONFIG,
        flag("--tolerance", type=_points, default=1.0, metavar="POINTS", help="difference that is allowed (1)"),
        flag(
            "--published",
            action="append",
            default=[],
            metavar="METRIC=VALUE",
            help="a figure that no program can read, as in accuracy=98.5 or recall:broken=97; may be repeated",
        ),
        flag("--json", **_printing("json"), help="one JSON object"),
        flag("--huge", action="store_true", help="fetch it whatever its size"),
    ),
    Verb(
        "check-golden",
        "run a release on its golden images, step by step",
        [steps.CHECK_GOLDEN],
        flag("release", type=Path, help="a release folder NAME-onnx"),
    ),
    Verb(
        "inspect",
        "say what a model is: inputs, labels, size, speed, license, and whether it exports to ONNX",
        [steps.INSPECT],
        flag("model", help="a timm name, org/name on the Hub, a folder, an .onnx file, or a release"),
        flag("--json", **_printing("json"), help="one JSON object"),
        flag("--no-export", action="store_true", help="do not try the export to ONNX"),
        flag("--huge", action="store_true", help="fetch and run it whatever its size"),
    ),
    Verb(
        "completion",
        "print the script by which a shell completes all of this",
        [Step(_completion)],
        flag("shell", nargs="?", choices=["bash", "zsh", "fish"], default="bash", help="the shell (bash)"),
    ),
)
"""Every verb; a new one is a new row."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one verb.

    Returns:
        The exit code: 0 done, 2 wrong input or config, 3 not verified, 130 interrupted.
    """
    print_anywhere()
    show_bugs_escaped()
    arguments = sys.argv[1:] if arguments is None else arguments
    parser = _parser()
    if not arguments:
        parser.print_help()
        return DONE
    options, overrides = parser.parse_known_args(arguments)
    verb: Verb = options.verb
    try:
        run = _run_of(verb, options, overrides)
        together = any(step.processes == "all" for step in verb.steps)
        count = processes_to_start(run.config.trainer) if run and together else 1
        if count > 1:
            return launch(arguments, count)
        return DONE if go_through(verb.steps, run, options) else NOT_VERIFIED
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


def _run_of(verb: Verb, options: argparse.Namespace, overrides: Sequence[str]) -> Run | None:
    """The run that a verb is about; null for a verb without a config."""
    if not verb.has_config:
        if overrides and not verb.takes_keys:
            raise UserError(f"there is no {' '.join(overrides)} here")
        options.overrides = overrides
        return None
    run = Run(read_config(options.config, overrides), options.output)
    require_ready(run, verb.steps)
    return run


def _lacking(error: Exception) -> str:
    """The message where an error means that this machine lacks something: room on a disk, or a package; else empty."""
    if full := as_disk_full(error):
        return str(full)
    package = (error.name or "").partition(".")[0] if isinstance(error, ModuleNotFoundError) else ""
    return how_to_install(package) if package and not (HERE / package).exists() else ""


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
        command = verbs.add_parser(verb.name, help=verb.about, description=verb.about, allow_abbrev=False)
        if verb.takes_keys:
            command.epilog = "any key of the config can be given: --teacher.full.epochs 3"
        command.set_defaults(verb=verb)
        for name, settings in (*verb.flags, *([OUTPUT] if verb.has_config else [])):
            command.add_argument(name, **settings)
    return parser


if __name__ == "__main__":
    sys.exit(main())
