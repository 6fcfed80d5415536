"""The release as one object: its models, their folders, and every file in them."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from export.runtime import OnnxClassifier, RgbClassifier, open_file
from run.files import file_digest, remove
from run.folder import RunFolder

TEACHER = "teacher"

WEIGHTS = "model.safetensors"
"""In the folder of a checkpoint."""

_ONNX = "-onnx"
"""Suffix of the folder with a model's ONNX files: timm and transformers need a folder without them."""


@dataclass(frozen=True)
class FileKind:
    """One of the ONNX files that are made of every model."""

    name: str
    """Short, for tables."""
    path: Path
    """Inside the ONNX folder."""
    about: str
    """One line of Markdown for people who choose among the files."""


FP32 = FileKind("fp32", Path("onnx/model.onnx"), "float32, `pixel_values` to `logits`; the reference for the others")
FP16 = FileKind("fp16", Path("onnx/model_fp16.onnx"), "fp16 inside, float32 in and out")
INT8 = FileKind("int8", Path("onnx/model_quantized.onnx"), "INT8, with a temperature of its own inside")
RGB = FileKind(
    "rgb",
    Path("rgb.onnx"),
    "decoded pixels of any size in, probabilities out: resize, normalization and all that follows",
)
"""Its body is the INT8 model or, where there is none, the float32 one."""
BASELINE = FileKind("baseline", Path("model.onnx"), "trained on labels alone, to be compared with; never released")

KINDS: Mapping[str, FileKind] = {kind.name: kind for kind in (FP32, FP16, INT8, RGB)}
"""Every kind of file in a release by its short name, in the order of every table; the reference is first."""


@dataclass(frozen=True)
class ReleasedFile:
    """One ONNX file."""

    folder: Path
    kind: FileKind

    @property
    def path(self) -> Path:
        """The file itself, which may be absent."""
        return self.folder / self.kind.path

    @property
    def name(self) -> str:
        """Path below the release, such as ``teacher-onnx/rgb.onnx``: the file's name in a certificate."""
        return f"{self.folder.name}/{self.kind.path.as_posix()}"

    @property
    def digest(self) -> str:
        """SHA-256 of the bytes."""
        return file_digest(self.path)

    def open(self, threads: int | None = None, *, seconds: float | None = None) -> OnnxClassifier:
        """Open it in ONNX Runtime; see ``open_onnx``."""
        return open_onnx(self.path, threads, seconds=seconds)


@dataclass(frozen=True)
class ReleasedModel:
    """The teacher or a student: a checkpoint folder and an ONNX folder."""

    release: Path
    name: str

    @property
    def role(self) -> Literal["teacher", "student"]:
        return "teacher" if self.name == TEACHER else "student"

    @property
    def stage(self) -> str:
        """Name of the stage that writes it."""
        return f"export-{self.name}"

    @property
    def checkpoint(self) -> Path:
        """The folder for timm and transformers: ``config.json`` and ``model.safetensors``."""
        return self.release / self.name

    @property
    def weights(self) -> Path:
        return self.checkpoint / WEIGHTS

    @property
    def onnx(self) -> Path:
        """The folder for ONNX Runtime, browsers and other runtimes."""
        return self.release / f"{self.name}{_ONNX}"

    @property
    def reference(self) -> ReleasedFile:
        """The float32 file, which stands for the model."""
        return self.file(FP32)

    def file(self, kind: FileKind) -> ReleasedFile:
        """The file of a kind, which may be absent."""
        return ReleasedFile(self.onnx, kind)

    def files(self) -> list[ReleasedFile]:
        """The ONNX files that are there, in the order of ``KINDS``."""
        return [file for file in map(self.file, KINDS.values()) if file.path.is_file()]


@dataclass(frozen=True)
class Release:
    """``outputs/NAME/release``."""

    root: Path

    def model(self, name: str) -> ReleasedModel:
        """A model by name, which may be absent."""
        return ReleasedModel(self.root, name)

    def models(self) -> list[ReleasedModel]:
        """The models of which a folder is there: the teacher, then the students by name."""
        folders = [path for path in self.root.iterdir() if path.is_dir()] if self.root.is_dir() else []
        # Killed writers leave hidden folders behind.
        names = {path.name.removesuffix(_ONNX) for path in folders if not path.name.startswith(".")}
        return [self.model(name) for name in sorted(names, key=lambda name: (name != TEACHER, name))]

    def keep_only(self, names: Iterable[str]) -> None:
        """Remove everything that belongs to no model of these names."""
        models = [self.model(name) for name in names]
        kept = {folder for model in models for folder in (model.checkpoint, model.onnx)}
        for path in self.root.iterdir() if self.root.is_dir() else ():
            if path not in kept:
                remove(path)


def baseline_file(run: RunFolder, name: str) -> ReleasedFile:
    """``students/NAME/model.onnx``, the exported baseline of a student."""
    return ReleasedFile(run.student(name), BASELINE)


def open_onnx(path: Path, threads: int | None = None, *, seconds: float | None = None) -> OnnxClassifier:
    """Open a file as what its input says: an ``rgb.onnx`` takes decoded pixels, any other prepared ones.

    Raises:
        UserError: it is missing, damaged, or was not written by this project.
    """
    session = open_file(path, threads, seconds)
    takes_pixels = [given.name for given in session.get_inputs()] == ["image"]
    return (RgbClassifier if takes_pixels else OnnxClassifier)(path, threads, session, seconds=seconds)
