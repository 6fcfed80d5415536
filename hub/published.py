"""A published model that is to be measured again: its files, what it says, and what was claimed of it."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from data.labels import LabelSet
from export.release import KINDS, WEIGHTS, Release, ReleasedFile
from hub.claims import Claim, Claims, by_hand, match_names, of_card, of_certificate
from hub.places import fetch, is_hub_id, path_of
from models.facts import KEY, CheckpointFacts
from models.foreign import label_names
from run.errors import UserError, quoted
from run.files import json_of
from verify.certificate import CERTIFICATE, FROM_PUBLISHER, Certificate


@dataclass(frozen=True)
class Published:
    """A published model: ONNX files of ours, or a checkpoint."""

    place: str
    claims: Claims
    files: dict[str, Path]
    """ONNX files by the name that claims give them; none for a checkpoint."""
    checkpoint: Path
    """The folder of a checkpoint; for ONNX files, what was given."""
    columns: tuple[int, ...] = ()
    """Place among a checkpoint's outputs of each of the config's labels."""

    @property
    def is_timm(self) -> bool:
        """True for a checkpoint of a timm model, false for another of transformers."""
        return "pretrained_cfg" in _config(self.checkpoint)


def read_published(place: str, labels: LabelSet, given: Sequence[str], *, huge: bool) -> Published:
    """Find a published model and what was claimed of it, before anything is measured.

    Args:
        place: a run, a release, a folder of it, a checkpoint folder, or ``org/name`` on the Hub.
        given: figures by hand, which stand for those of card or certificate.
        huge: fetch it whatever its size.

    Raises:
        UserError: there is no model, nothing was claimed of it, or its labels are not those of the config.
    """
    path = path_of(place)
    if not path.exists() and not is_hub_id(place):
        raise UserError(f"{quoted(place)} is no folder here, and no org/name on the Hub")
    folder = path if path.exists() else fetch(place, huge=huge)
    claimed = by_hand(given, labels)
    if (folder / WEIGHTS).is_file():
        columns = _columns(folder, place, labels)
        return Published(place, claimed if given else of_card(folder, labels), {}, folder, columns)
    found = _released(folder)
    if not found:
        raise UserError(
            f"{quoted(place)} holds no published model: give a release, a folder NAME-onnx of one, or a checkpoint "
            f"folder with {WEIGHTS}"
        )
    claims: list[Claim] = []
    for name, file in found.items():
        own = [replace(claim, file=name) for claim in claimed.read] if given else _judged(file, name, labels)
        claims += own
    return Published(place, Claims(tuple(claims)), {name: file.path for name, file in found.items()}, folder)


def _released(folder: Path) -> dict[str, ReleasedFile]:
    """The ONNX files of one model, by short name, or of every model of a run or a release, by model and short name."""
    own = [ReleasedFile(folder, kind) for kind in KINDS.values() if (folder / kind.path).is_file()]
    if own:
        return {file.kind.name: file for file in own}
    root = folder / "release" if (folder / "release").is_dir() else folder
    return {f"{model.name} {file.kind.name}": file for model in Release(root).models() for file in model.files()}


def _judged(file: ReleasedFile, name: str, labels: LabelSet) -> list[Claim]:
    """The figures in the certificate beside a file: it is known by its bytes, whatever its folder is called."""
    path = file.folder / CERTIFICATE
    if not path.is_file():
        raise UserError(
            f"{quoted(file.folder)} holds no {CERTIFICATE}, so it publishes no figures: give those that you were told, "
            "as in --published accuracy=98.5"
        )
    certificate = Certificate.read(path, FROM_PUBLISHER)
    labels.require_equal(certificate.labels, str(file.folder))
    digest = file.digest
    end = file.kind.path.as_posix()
    names = [one for one, known in certificate.files.items() if known == digest and one.endswith(f"/{end}")]
    judged = [one for one in names if any(one in model.files for model in certificate.models.values())]
    if not judged:
        raise UserError(f"{quoted(file.path)} is not the file that {quoted(path)} is about: it was changed since")
    return of_certificate(certificate, judged[0], name)


def _columns(folder: Path, place: str, labels: LabelSet) -> tuple[int, ...]:
    """Match a checkpoint's labels with the config's, by name.

    Raises:
        UserError: they cannot be told apart, or are others.
    """
    config = _config(folder)
    theirs = CheckpointFacts.of_config(config, place).labels.names if KEY in config else label_names(config)
    if theirs is None:
        raise UserError(f"{place}: config.json names no labels (label_names or id2label): they cannot be matched")
    found = match_names(labels.names, theirs)
    if found is None or len(theirs) != len(labels):
        raise UserError(
            f"{place}: its labels are not those of the config, one for one by name:\n"
            f"  its own: {', '.join(map(repr, theirs))}\n  labels.names: {', '.join(map(repr, labels.names))}\n"
            "Write a config with its labels: labels.names are matched but for case and underscores."
        )
    several = config.get("problem_type") == "multi_label_classification"
    if several == labels.exclusive:
        raise UserError(
            f"{place}: it takes {'several labels' if several else 'one label'} an image, and labels.kind is "
            f"{labels.kind}"
        )
    return tuple(found)


def _config(folder: Path) -> dict[str, Any]:
    path = folder / "config.json"
    config = json_of(path, f"put a checkpoint's config.json there, beside {WEIGHTS}")
    if not isinstance(config, dict):
        raise UserError(f"{quoted(path)} is no JSON object")
    return config
