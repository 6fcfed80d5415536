"""A run in Python: one config, its stages, and what they left (docs/python.md)."""

from argparse import Namespace
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from data.labels import LabelSet
from export.points.config import DecisionConfig
from hub.config import HubConfig
from run.errors import UserError, quoted
from run.files import write_text
from run.folder import RunFolder
from run.ranks import connect, disconnect, once
from verbs.config import Config, as_yaml

if TYPE_CHECKING:  # stages are imported where they are run: torch takes seconds
    from data.manifest import Manifest
    from export.release import Release
    from models.classifier import Classifier
    from run.context import RunContext
    from verify.certificate import Certificate
    from verify.verify import Verification


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
        from verbs.steps import STAGES, go_through, require_ready

        require_ready(self, STAGES[name])
        go_through(STAGES[name], self, Namespace(config=self.config.name))

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
            once(lambda: write_text(resolved, as_yaml(self.config)))
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
        from data.audit import Audit

        data = self.config.data
        audit = self.folder.data / "audit.json"
        revisions = Audit.read(audit).revisions if audit.is_file() else {}
        paths = [data.path, data.unlabeled.path if data.unlabeled else ""]
        paths += [f"{name}@{commit}" for name, commit in revisions.items()]
        pinned = {path.partition("@")[0]: path for path in reversed(paths) if "@" in path}
        hub = self.config.hub
        return replace(hub, datasets=tuple(pinned.get(name, name) for name in hub.datasets))

    @property
    def source(self) -> str:
        """The kind of the data, and where it has one, its name on the Hub with the revision that was read."""
        data = self.config.data
        named = data.path if data.format == "huggingface" or "@" in data.path.rpartition("/")[2] else ""
        return ", ".join(filter(None, [data.format, named]))

    @property
    def places(self) -> list[str]:
        """Places of images and models, as the config has them; nobody else is told."""
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
        """The trained teacher, a student or a baseline."""
        from models import checkpoint

        return checkpoint.load(self.require_model(name), self.labels)

    def require_model(self, name: str) -> Path:
        """The checkpoint folder of the teacher, a student or a baseline; ``UserError`` where it is not trained yet."""
        folder = self.folder.teacher if name == "teacher" else self.folder.student(name)
        return existing(folder / "model", "train" if name == "teacher" else "distill")


def existing(path: Path, verb: str) -> Path:
    """A path that this verb makes; a ``UserError`` where it is not there."""
    if not path.exists():
        raise UserError(f"{quoted(path)} does not exist: run `pocketeva {verb}` first")
    return path
