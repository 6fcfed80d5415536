"""The model file that a user means by a path: a run, a release, a model's folder, or the file itself."""

from pathlib import Path

from export.formats import FORMATS
from export.release import KINDS
from run.errors import UserError, listed, quoted

_FILES = (*(kind.path for kind in KINDS.values()), *(form.path for form in FORMATS.values()))
"""What can be run of a ``NAME-onnx`` folder, by path inside it; the first that is there stands for the model."""


def find_model(path: Path) -> Path:
    """The file to run; a converted one may be a folder, such as ``model.mlpackage``.

    Raises:
        UserError: there is none, or there are several models; the message says which to choose from.
    """
    if not path.exists():
        raise UserError(f"{quoted(path)} does not exist: give a release folder, or a model file inside of one")
    if path.is_file() or path.name in {file.name for file in _FILES}:
        return path
    if found := _inside(path):
        return found
    models = {folder: file for folder in _model_folders(path) if (file := _inside(folder))}
    if not models:
        raise UserError(f"{quoted(path)} holds no model file: give a release folder that `pocketeva export` wrote")
    if len(models) > 1:
        raise UserError(f"{quoted(path)} holds {len(models)} models; give one of\n{listed(map(quoted, models))}")
    return next(iter(models.values()))


def _inside(folder: Path) -> Path | None:
    """The first file of a ``NAME-onnx`` folder, or of a folder inside it such as ``onnx`` or ``openvino``."""
    by_name = (Path(file.name) for file in _FILES if file.parent.name == folder.name)
    return next((folder / file for file in (*_FILES, *by_name) if (folder / file).exists()), None)


def _model_folders(path: Path) -> list[Path]:
    """The ONNX folder beside a checkpoint's, or else all of a release's or a run's."""
    beside = path.with_name(f"{path.name}-onnx")
    if beside.is_dir():
        return [beside]
    return sorted(folder for root in (path, path / "release") for folder in root.glob("*-onnx") if folder.is_dir())
