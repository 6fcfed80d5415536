"""The seal: what binds a certificate to the bytes of a release, to what was measured of them and to the config."""

import os
import random
import re
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from data.manifest import Manifest
from export.page.runtime import PUSHED, RUNTIME
from export.release import ReleasedFile, ReleasedModel
from run.errors import UserError, quoted
from run.files import file_digest
from run.folder import RunFolder
from run.stage import recorded_files
from verify.certificate import CERTIFICATE, Certificate
from verify.chunks import run_over
from verify.evidence import Criterion
from verify.measure import measured_rows
from verify.predictions import Predictions, make_key
from verify.words import title

BY_VERIFY = (CERTIFICATE, "report.html")
PICTURES = ("confusion.png", "reliability.png")
"""Pictures beside a card, of labels that exclude each other."""
MOST_IN_PICTURE = 24
"""Labels of a confusion matrix: with more, its cells are too small to be read."""
SIGNATURE = "model.sig"
"""The author's signature of a folder, over its card too."""
WRITTEN_AFTERWARDS = (
    *BY_VERIFY,
    *PICTURES,
    SIGNATURE,
    "README.md",
    ".gitattributes",
    *(f"{RUNTIME}/{name}" for name in PUSHED),
)
"""Files of each release folder that are written from the certificate, by the Hub, or by ``push``, and so cannot be
listed in it. The page, which is listed, holds the digests of the runtime's."""

_NOTES = re.compile(r"\.cache/huggingface/(\.gitignore|CACHEDIR\.TAG|download/.+\.(metadata|lock))")
"""What the Hub's client notes beside what it downloads into a folder."""

IMAGES = 32
"""Test images that are run again before anything is published."""

SAME_SCORE = 0.01
"""Largest difference of a probability between two runs of the same file."""

ABSENT = "not there"
"""In place of a value that one of two certificates has not."""

SHOWN = 10
"""Differences that are listed."""


def manifest_of(release: Path) -> dict[str, str]:
    """SHA-256 of every file of a release by its path below it, but for those that are written from the certificate."""
    return {name: file_digest(path) for name, path in files_of_release(release).items()}


def file_differences(files: Mapping[str, Path], listed: Mapping[str, str]) -> list[str]:
    """Differences of files, byte for byte, from what a certificate lists; empty where there are none.

    Args:
        files: what is there, by path below the release.
        listed: digests by path below the release.
    """
    words = "was judged and is no longer there", "has changed since it was judged", "is not in the certificate"
    return _differences(files, listed, *words)


def released_files(folder: Path, name: str, *, ours: bool = True) -> dict[str, Path]:
    """Files of one release folder by path below the release, but for those that are written from the certificate.

    Args:
        folder: the release folder; links in it count as files, and none is followed to more of them.
        name: of the folder in the release.
        ours: leave out what killed writers of ours left behind, which nothing publishes.
    """
    paths = {
        path.relative_to(folder): path for path in sorted(folder.rglob("*")) if path.is_symlink() or not path.is_dir()
    }
    left = [part for part in paths if ours and any(one.startswith(".partial-") for one in part.parts)]
    apart = {*left, *(part for part in paths if _NOTES.fullmatch(part.as_posix())), *map(Path, WRITTEN_AFTERWARDS)}
    return {f"{name}/{part.as_posix()}": path for part, path in paths.items() if part not in apart}


def files_of_release(release: Path, *, ours: bool = True) -> dict[str, Path]:
    """The same of every folder of a release."""
    folders = sorted(path for path in release.iterdir() if path.is_dir() and not path.name.startswith("."))
    return {name: path for folder in folders for name, path in released_files(folder, folder.name, ours=ours).items()}


def require_exported(run: RunFolder, models: Sequence[ReleasedModel]) -> None:
    """Refuse a release that is not as export left it.

    Raises:
        UserError: a file was changed, removed or added.
    """
    written = {
        Path(name).relative_to(run.release.name).as_posix(): digest
        for model in models
        for name, digest in recorded_files(run, model.stage).items()
    }
    there = {
        name: path
        for model in models
        for folder in (model.checkpoint, model.onnx)
        for name, path in released_files(folder, folder.name).items()
    }
    wrong = _differences(there, written, "is no longer there", "was changed", "was not written by export")
    if wrong:
        more = f"\n  and {len(wrong) - SHOWN} more" if len(wrong) > SHOWN else ""
        raise UserError(
            f"{quoted(run.release)} is not as `pocketeva export` left it:\n"
            + "\n".join(f"  {line}" for line in wrong[:SHOWN])
            + f"{more}\nRemove what does not belong there, and run `pocketeva export` again"
        )


def copy_differences(run: RunFolder) -> list[str]:
    """Differences of what lies in the release beside export's files from what ``verify`` wrote there."""
    recorded = {run.root / name: digest for name, digest in recorded_files(run, "verify").items()}
    copies = {path for path in recorded if path.is_relative_to(run.release)}  # one of them may be gone
    there = {path for name in BY_VERIFY for path in run.release.glob(f"*/{name}")}
    wrong = [path for path in sorted(copies | there) if not path.is_file() or file_digest(path) != recorded.get(path)]
    return [f"{path.relative_to(run.release).as_posix()} is not as verify wrote it" for path in wrong]


def certificate_differences(found: Certificate, again: Certificate) -> list[str]:
    """Differences of a certificate from that of judging again; empty where there are none."""
    before, now = _values(found), _values(again)
    changed = [key for key in now | before if key not in before or key not in now or before[key] != now[key]]
    # Where the config asks for other limits, verdicts and all else follow from them; what decides nothing says less.
    reported = {_name(one) for one in found.criteria if one.tier == "reported"}
    telling = [key for key in changed if key[0] not in reported] or changed
    limits = [key for key in telling if key[1] == "limit" and key in before and key in now]
    lines = [
        f"{place}{f' of {criterion}' if criterion else ''} is {before.get((criterion, place), ABSENT)}, and "
        f"{now.get((criterion, place), ABSENT)} if judged with the config as it is now"
        for criterion, place in limits or telling
    ]
    return [f"{CERTIFICATE}: {line}" for line in lines[:SHOWN]] + (
        [f"{CERTIFICATE}: {len(lines) - SHOWN} more differences"] if len(lines) > SHOWN else []
    )


def prediction_differences(run: RunFolder, predictions: Predictions, manifest: Manifest) -> list[str]:
    """Differences of the predictions' images and targets from the manifest's; empty where there are none."""
    columns = ["image", "group", "split", "target"]
    expected = Predictions.of(measured_rows(manifest), make_key(run.verify / "key"), {}, {}).table.select(columns)
    if predictions.table.select(columns).equals(expected):
        return []
    return ["predictions.parquet: its images, splits or targets are not those of the manifest"]


def score_differences(predictions: Predictions, manifest: Manifest, files: Sequence[ReleasedFile]) -> list[str]:
    """Run some test images, drawn by chance each time, through the released files, and compare with the predictions.

    Raises:
        UserError: a file cannot be opened, or an image has changed.
    """
    rows = measured_rows(manifest)
    test = np.flatnonzero(pc.equal(rows.table.column("split"), "test"))
    # Not seeded: whoever edits predictions must not know which of them are looked at.
    drawn = np.array(random.SystemRandom().sample(test.tolist(), min(IMAGES, len(test))))
    functions = {file.digest: file.open(threads=1).logits_of for file in files}
    images = Manifest(rows.labels, rows.table.take(pa.array(drawn)))
    with tempfile.TemporaryDirectory() as folder:
        found = run_over(images, functions, Path(folder))
    kept = predictions.take(drawn)
    wrong = []
    for file in files:
        rule = kept.files[file.name].rule
        ours, before = (np.nan_to_num(rule.probabilities(one)) for one in (found[file.digest], kept.logits(file.name)))
        difference = float(np.abs(ours - before).max())
        if difference > SAME_SCORE:
            scores = f"other scores than it was judged on, by up to {difference:.2g} on {len(drawn)} test images"
            wrong.append(f"release/{file.name} gives {scores}")
    return wrong


def _values(certificate: Certificate) -> dict[tuple[str, str], object]:
    """Everything that a certificate says, by the criterion that says it, or an empty name, and the place in it."""
    # By name and not by number: with one criterion more, all after it would seem to have become others. Their number
    # beside them, because of two with one name only one is here.
    criteria = {_name(one): asdict(one) for one in certificate.criteria}
    found: dict[tuple[str, str], object] = {("", "number of criteria"): len(certificate.criteria)}
    for name, value in asdict(certificate).items():
        parts = criteria if name == "criteria" else {"": {name: value}}
        found |= {(criterion, place): one for criterion, part in parts.items() for place, one in _flat(part)}
    return found


def _name(one: Criterion) -> str:
    """Of a criterion, whichever images count: that may change with its limit."""
    return title(replace(one, counted="one of each group"))


def _flat(value: object, prefix: str = "") -> Iterator[tuple[str, object]]:
    if isinstance(value, Mapping):
        parts = {f"{prefix}.{key}" if prefix else str(key): child for key, child in value.items()}
    elif isinstance(value, tuple | list):
        parts = {f"{prefix}[{index}]": child for index, child in enumerate(value)}
    else:
        yield prefix, value
        return
    for path, child in parts.items():
        yield from _flat(child, path)


def _differences(
    files: Mapping[str, Path], digests: Mapping[str, str], gone: str, changed: str, added: str
) -> list[str]:
    """Differences of files from digests, each kind in its own words."""
    unreadable = {}
    for name, path in files.items():
        if not path.is_file():  # reading a pipe would wait for its writer, and a device may never end
            unreadable[name] = "is no regular file"
        elif not os.access(path, os.R_OK):
            unreadable[name] = "cannot be read"
    readable = {name: digest for name, digest in digests.items() if name in files and name not in unreadable}
    return [
        *(f"{name} {gone}" for name in digests if name not in files),
        *(f"{name} {reason}" for name, reason in unreadable.items()),
        *(f"{name} {changed}" for name, digest in readable.items() if file_digest(files[name]) != digest),
        *(f"{name} {added}" for name in files if name not in digests),
    ]
