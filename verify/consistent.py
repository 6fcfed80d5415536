"""Labels, input and decisions in the files of a release: all of it stands several times, each for a reader.

Digests cannot show a difference between them: whoever writes the certificate writes the digests too.
"""

import json
from collections.abc import Iterator
from pathlib import Path

from data.labels import LabelSet
from export.formats.record import FormatsRecord
from export.golden.kit import GoldenIndex
from export.javascript import model_config, preprocessor_config
from export.limits import MOST_SECONDS
from export.points.record import ThresholdsRecord
from export.release import KINDS, ReleasedFile
from models.facts import CheckpointFacts, label_maps, problem_type
from models.spec import InputSpec
from run.errors import UserError
from run.files import Json, file_digest, json_of

_AGAIN = "run `pocketeva export` again"


def onnx_contradictions(folder: Path, labels: LabelSet) -> Iterator[str]:
    """Differences of an ONNX folder's files from a label set, and from its own model files.

    Args:
        folder: of a release, under whatever name.
    """
    try:
        files = {kind.path: ReleasedFile(folder, kind) for kind in KINDS.values() if (folder / kind.path).is_file()}
        opened = {path: file.open(threads=1, seconds=MOST_SECONDS) for path, file in files.items()}
        if not opened:
            yield f"{folder.name} holds no model file"
            return
        spec = next(iter(opened.values())).spec
        thresholds = ThresholdsRecord.read(folder)
        for path, model in opened.items():
            yield from _compared(f"{folder.name}/{path.as_posix()}", model.labels, labels)
            rule = thresholds.files.get(path.as_posix())
            if rule is None or rule.rule != model.rule:
                yield f"{folder.name}/{ThresholdsRecord.FILE} has another decision rule than {path.as_posix()} carries"
        for path, model in opened.items():
            if model.spec != spec:
                yield f"{folder.name}/{path.as_posix()} has another input contract than the other files"
        yield from _compared(f"{folder.name}/{ThresholdsRecord.FILE}", thresholds.labels, labels)
        yield from _beside(folder, labels, spec)
    except UserError as error:
        yield _in_release(error, folder)


def _beside(folder: Path, labels: LabelSet, spec: InputSpec) -> Iterator[str]:
    """The same of the files beside the models."""
    found = json_of(folder / "config.json", _AGAIN)
    architecture = str(found.get("architecture")) if isinstance(found, dict) else ""
    for name, expected, what in (
        ("labels.json", labels.to_json(), "labels"),
        ("config.json", model_config(architecture, labels), "labels"),
        ("preprocessor_config.json", preprocessor_config(spec), "input contract"),
    ):
        as_stored = json.loads(json.dumps(expected))
        yield from _compared(f"{folder.name}/{name}", json_of(folder / name, _AGAIN), as_stored, what)
    records: dict[str, GoldenIndex | FormatsRecord | None] = {
        "golden/index.json": GoldenIndex.read(folder),
        FormatsRecord.FILE: FormatsRecord.read_if_there(folder),
    }
    for name, record in records.items():
        if record is not None:
            yield from _compared(f"{folder.name}/{name}", record.rule.labels, labels)
            if record.spec != spec:
                yield f"{folder.name}/{name} has another input contract than the model files"


def checkpoint_contradictions(folder: Path, labels: LabelSet, own: Path | None = None) -> Iterator[str]:
    """Differences of a checkpoint folder from a label set, and from the checkpoint that it was copied from.

    Args:
        own: the run's own checkpoint, where it is at hand.
    """
    names = list(labels.names)
    expected: dict[str, Json] = {
        **problem_type(labels),
        "num_classes": len(names),
        "label_names": names,
        **label_maps(labels),
    }
    try:
        name = f"{folder.name}/config.json"
        config = json_of(folder / "config.json", _AGAIN)
        said = {key: config.get(key) for key in expected} if isinstance(config, dict) else config
        yield from _compared(name, said, expected)
        yield from _compared(name, CheckpointFacts.read(folder).labels, labels)
    except UserError as error:
        yield _in_release(error, folder)
    for path in sorted(own.iterdir()) if own and own.is_dir() else ():
        if (folder / path.name).is_file() and file_digest(folder / path.name) != file_digest(path):
            yield f"{folder.name}/{path.name} is not the one that was trained"


def _in_release(error: UserError, folder: Path) -> str:
    """The message, with paths below the release: it may get onto a card, which names no folder of this machine."""
    return str(error).replace(f"{folder.parent}/", "")


def _compared(name: str, found: object, expected: object, what: str = "labels") -> Iterator[str]:
    if found != expected:
        yield f"{name} says something else of the {what}"
