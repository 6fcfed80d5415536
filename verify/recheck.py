"""A certificate checked by a reader: its digests, its counts against its bounds, its criteria against its verdict.

With the images, everything else can be checked too. What nobody can check without them is that the counts are those of
the files: the author of a release can lie about the images.
"""

import math
import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path

from data.manifest import Manifest
from export.limits import MOST_SECONDS, bounded_memory
from export.release import KINDS, WEIGHTS, Release
from run.errors import UserError, listed, quoted
from run.files import file_digest
from run.folder import RunFolder
from verify.certificate import CERTIFICATE, FROM_PUBLISHER, Certificate
from verify.config import VerifyConfig
from verify.consistent import checkpoint_contradictions, onnx_contradictions
from verify.criteria import SHAPES, expected_claims
from verify.evidence import Claim, Criterion, Largest, Share
from verify.exported import read_exported
from verify.judge import judge
from verify.ledger import confidence_of_look
from verify.measure import Measurements, run_files
from verify.seal import file_differences, files_of_release, released_files
from verify.verdicts import all_of, confidence_together, judge_claim, overall
from verify.words import title

CLOSE = 1e-6
"""Relative difference that another version of SciPy may make."""


@dataclass(frozen=True)
class Check:
    """One kind of check, and what it found wrong."""

    what: str
    wrong: tuple[str, ...]


def find_certificate(place: Path) -> Certificate:
    """The certificate of a release, or of one folder of it.

    Raises:
        UserError: there is none, it is damaged, or two of a release differ.
    """
    run = RunFolder(place)
    if run.manifest.is_file() and run.release.is_dir():  # a model may be called release
        raise UserError(f"{quoted(place)} is a run: give its release, {quoted(run.release)}")
    found = [path for path in (place / CERTIFICATE, *sorted(place.glob(f"*/{CERTIFICATE}"))) if path.is_file()]
    if not found:
        raise UserError(
            f"{quoted(place)} holds no {CERTIFICATE}: give a release, or one of its folders or repositories"
        )
    if len({file_digest(path) for path in found}) > 1:
        raise UserError(f"{quoted(place)} holds certificates that differ:\n{listed(map(quoted, found))}")
    return Certificate.read(found[0], FROM_PUBLISHER)


def recheck(place: Path) -> list[Check]:
    """Check what can be checked without the images.

    Args:
        place: a release, or one folder of it.
    """
    certificate = find_certificate(place)
    changed = tuple(_digests(place, certificate))
    # Files that are not those of the certificate are opened by nobody.
    other = () if changed else tuple(_contradictions(place, certificate))
    return [
        Check("every file is the one that was judged", changed),
        Check("all files say the same of labels, input and decisions", other),
        Check("no criterion is missing", (*_unjudged(certificate), *_missing(certificate))),
        Check("every bound and verdict follows from its counts", tuple(_criteria(certificate))),
        Check("the verdicts follow from the criteria", tuple(_verdicts(certificate))),
        Check("what is said in several places is the same", tuple(_repeated(certificate))),
    ]


def recheck_data(place: Path, manifest: Manifest, config: VerifyConfig) -> Check:
    """Run the files over the images, and compare every count. This may take hours.

    Args:
        place: a whole release.

    Raises:
        UserError: a model does not exist, a file cannot be run or takes too long, or carries other labels, or the
            certificate is about other files.
    """
    certificate = find_certificate(place)
    models = [Release(place).model(name) for name in certificate.models]
    exported = read_exported(models, {})
    files = {file.name: file for model in models for file in model.files()}
    latencies = {name: facts.latency_ms for model in certificate.models.values() for name, facts in model.files.items()}
    if latencies.keys() != files.keys():
        raise UserError(
            f"{quoted(place)}: its certificate is about {', '.join(latencies)}, and it holds {', '.join(files)}"
        )
    largest = max((file.path for file in files.values()), key=_size)
    with tempfile.TemporaryDirectory() as folder, bounded_memory(largest):
        digests = {name: file.digest for name, file in files.items()}
        predictions = run_files(RunFolder(Path(folder)), manifest, files, digests, seconds=MOST_SECONDS)
    measured = Measurements(predictions, latencies)
    again = judge(certificate.name, measured, exported, config, certificate.look, certificate.files)
    now = {_key(one): one for one in again.criteria}
    wrong = []
    for one in certificate.criteria:
        found = _claim(now[_key(one)]) if _key(one) in now else "not at all"
        if not _close(_claim(one), found):
            wrong.append(f"{title(one)}: {_claim(one)}; measured again {found}")
    known = set(map(_key, certificate.criteria))
    wrong += [f"{title(one)} is not in the certificate" for key, one in now.items() if key not in known]
    return Check("the files give these counts on the images", tuple(wrong))


def _digests(place: Path, certificate: Certificate) -> list[str]:
    if not (place / CERTIFICATE).is_file():
        return file_differences(files_of_release(place, ours=False), certificate.files)
    # One folder of it, under whatever name it was downloaded: the name that most of its files have in the certificate.
    parts: dict[str, dict[str, str]] = {}
    for name, digest in certificate.files.items():
        parts.setdefault(name.split("/")[0], {})[name] = digest
    found = [file_differences(released_files(place, name, ours=False), part) for name, part in sorted(parts.items())]
    return min(found, key=len, default=["no file was judged"])


def _contradictions(place: Path, certificate: Certificate) -> Iterator[str]:
    labels = certificate.labels
    folders, checkpoints = _folders(place, certificate)
    largest = max((path for folder in folders for path in folder.rglob("*.onnx")), key=_size, default=place)
    with bounded_memory(largest):
        for folder in folders:
            yield from onnx_contradictions(folder, labels)
    for folder in checkpoints:
        yield from checkpoint_contradictions(folder, labels)


def _folders(place: Path, certificate: Certificate) -> tuple[list[Path], list[Path]]:
    """The folders with ONNX files and those with checkpoints: of a whole release, or the one that was given."""
    if not (place / CERTIFICATE).is_file():
        models = [Release(place).model(name) for name in certificate.models]
        return [model.onnx for model in models], [model.checkpoint for model in models]
    has_onnx = any((place / kind.path).is_file() for kind in KINDS.values())
    return ([], [place]) if (place / WEIGHTS).is_file() and not has_onnx else ([place], [])


def _size(path: Path) -> int:
    return path.stat().st_size


def _unjudged(certificate: Certificate) -> Iterator[str]:
    """Models and files of the release that no criterion is about."""
    for name, facts in certificate.models.items():
        role = Release(Path()).model(name).role
        if facts.role != role:
            yield f"{name} is judged as a {facts.role}, and it is a {role}"
    if "teacher" not in certificate.models:
        yield "there is no teacher"
    judged = {file for facts in certificate.models.values() for file in facts.files}
    kinds = {kind.path.as_posix() for kind in KINDS.values()}
    for file in certificate.files:
        if file.partition("/")[2] in kinds and file not in judged:
            yield f"{file} is released, and was not judged"


def _missing(certificate: Certificate) -> Iterator[str]:
    there = {(*_key(one), one.tier) for one in certificate.criteria}
    for name, tier, file, about in expected_claims(certificate):
        if (name, file, about, tier) not in there:
            yield f"{name}{f' of {about!r}' if about else ''} of {file}, which {tier}, is missing"


def _criteria(certificate: Certificate) -> Iterator[str]:
    look = certificate.look
    if not _close(look.confidence, confidence_of_look(look.number, certificate.confidence)):
        yield f"look {look.number} asks for another confidence than {look.confidence}"
    together = confidence_together(certificate.criteria, look.confidence)
    if not _close(together, certificate.confidence_together):
        yield f"all bounds hold together at {together}, not at {certificate.confidence_together}"
    slices = Counter(one.file for one in certificate.criteria if one.name == "slice")
    for one in certificate.criteria:
        kind, side, limit, _ = SHAPES[one.name]
        all_of_kind = all(isinstance(found, kind) for found in (one.evidence, *one.recounts.values()))
        if not all_of_kind or side not in (None, one.side) or (limit is not None and not _close(limit, one.limit)):
            yield f"{title(one)}: no criterion of this name is judged like that"
            continue
        if one.shared_by != (slices[one.file] if one.name == "slice" else 1):
            yield f"{title(one)}: its risk is shared by {one.shared_by}, which is not the number of slices"
        again = judge_claim(one, look.confidence, together)
        for field in fields(Criterion):
            said = getattr(one, field.name)
            follows = getattr(again, field.name)
            if not _close(said, follows):
                yield f"{title(one)}: {field.name} is {said}, and {follows} follows from the counts"


def _verdicts(certificate: Certificate) -> Iterator[str]:
    for name, facts in certificate.models.items():
        follows = overall(certificate.of(model=name))
        if facts.verdict != follows:
            yield f"{name}: {facts.verdict}, and {follows} follows from its criteria"
    follows = all_of([facts.verdict for facts in certificate.models.values()])
    if certificate.verdict != follows:
        yield f"the release: {certificate.verdict}, and {follows} follows from its models"


def _repeated(certificate: Certificate) -> Iterator[str]:
    facts = {file: found for model in certificate.models.values() for file, found in model.files.items()}
    for one in certificate.criteria:
        evidence = {one.counted: one.evidence, **one.recounts}.get("one of each group")
        if isinstance(evidence, Share) and one.name == "agreement":
            rate = facts[one.file].agreement if one.file in facts else None
            if rate is None or (evidence.count, evidence.n) != (rate.count, rate.n):
                yield f"{title(one)}: the criterion and the figures of the file count differently"
        if isinstance(one.evidence, Largest):
            measured = one.evidence.sha256
            # A file, or one inside it where it is a folder.
            if not any(f"{name}/".startswith(f"{one.file}/") for name in measured):
                yield f"{title(one)}: it was not measured on this file"
            elif one.evidence.same_files != (certificate.files.items() >= measured.items()):
                yield f"{title(one)}: it was measured on other files than are listed"
    if certificate.labels_digest != certificate.labels.digest:
        yield "the labels are not those of their digest"


def _key(claim: Claim) -> tuple[str, str, str | None]:
    return claim.name, claim.file, claim.about


def _claim(claim: Claim) -> object:
    """The part that the images and the limits decide."""
    return {**vars(claim.evidence), "limit": claim.limit}


def _close(left: object, right: object) -> bool:
    if isinstance(left, dict) and isinstance(right, dict):
        return left.keys() == right.keys() and all(_close(left[key], right[key]) for key in left)
    if isinstance(left, float) and isinstance(right, float):
        return math.isclose(left, right, rel_tol=CLOSE, abs_tol=1e-9)
    return left == right
