"""A certificate checked by a reader: its digests, its counts against its bounds, its criteria against its verdict.

With the images, everything else can be checked too. What nobody can check without them is that the counts are those of
the files: the author of a release can lie about the images.
"""

import math
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path

from data.manifest import Manifest
from export.release import Release
from run.errors import UserError
from run.folder import RunFolder
from verify.certificate import CERTIFICATE, Certificate
from verify.config import VerifyConfig
from verify.criteria import expected_claims
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
    found = [path for path in (place / CERTIFICATE, *sorted(place.glob(f"*/{CERTIFICATE}"))) if path.is_file()]
    if not found:
        raise UserError(
            f"{place} holds no {CERTIFICATE}: give a release, or the folder or repository with a model's ONNX files"
        )
    if len({path.read_bytes() for path in found}) > 1:
        raise UserError(f"{place} holds certificates that differ: {', '.join(map(str, found))}")
    return Certificate.read(found[0])


def recheck(place: Path) -> list[Check]:
    """Check what can be checked without the images.

    Args:
        place: a release, or one folder of it.

    Raises:
        UserError: as ``find_certificate``.
    """
    certificate = find_certificate(place)
    return [
        Check("every file is the one that was judged", tuple(_digests(place, certificate))),
        Check("no criterion is missing", tuple(_missing(certificate))),
        Check("every bound and verdict follows from its counts", tuple(_criteria(certificate))),
        Check("the verdicts follow from the criteria", tuple(_verdicts(certificate))),
        Check("what is said in several places is the same", tuple(_repeated(certificate))),
    ]


def recheck_data(place: Path, manifest: Manifest, config: VerifyConfig) -> Check:
    """Run the files over the images, and compare every count. This may take hours.

    Args:
        place: a whole release.
        manifest: of the images.
        config: the criteria.

    Raises:
        UserError: a model is not there, or a file cannot be run, or it carries other labels.
    """
    certificate = find_certificate(place)
    models = [Release(place).model(name) for name in certificate.models]
    exported = read_exported(models, {})
    files = {file.name: file for model in models for file in model.files()}
    latencies = {name: facts.latency_ms for model in certificate.models.values() for name, facts in model.files.items()}
    with tempfile.TemporaryDirectory() as folder:
        digests = {name: file.digest for name, file in files.items()}
        predictions = run_files(RunFolder(Path(folder)), manifest, files, digests)
    measured = Measurements(predictions, latencies)
    again = judge(certificate.name, measured, exported, config, certificate.look, certificate.files)
    now = {_key(one): one for one in again.criteria}
    wrong = [
        f"{title(one)}: {_claim(one)}; measured again {_claim(now[_key(one)]) if _key(one) in now else 'not at all'}"
        for one in certificate.criteria
        if _key(one) not in now or not _close(_claim(one), _claim(now[_key(one)]))
    ]
    return Check("the files give these counts on the images", tuple(wrong))


def _digests(place: Path, certificate: Certificate) -> list[str]:
    if not (place / CERTIFICATE).is_file():
        return file_differences(files_of_release(place), certificate.files)
    # One folder of it, under whatever name it was downloaded: the name that most of its files have in the certificate.
    names = sorted({name.split("/")[0] for name in certificate.files})
    found = [(released_files(place, name), _part(certificate, name)) for name in names]
    return min((file_differences(files, listed) for files, listed in found), key=len)


def _part(certificate: Certificate, folder: str) -> dict[str, str]:
    return {name: digest for name, digest in certificate.files.items() if name.startswith(f"{folder}/")}


def _missing(certificate: Certificate) -> Iterator[str]:
    there = {(*_key(one), one.tier) for one in certificate.criteria}
    for name, tier, file, about in expected_claims(certificate):
        if (name, file, about, tier) not in there:
            yield f"{name}{f' of {about!r}' if about else ''} of {file}, which {tier}, is not there"


def _criteria(certificate: Certificate) -> Iterator[str]:
    look = certificate.look
    if not _close(look.confidence, confidence_of_look(look.number, certificate.confidence)):
        yield f"look {look.number} asks for another confidence than {look.confidence}"
    together = confidence_together(certificate.criteria, look.confidence)
    if not _close(together, certificate.confidence_together):
        yield f"all bounds hold together at {together}, not at {certificate.confidence_together}"
    for one in certificate.criteria:
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
            rate = facts[one.file].agreement
            if (evidence.count, evidence.n) != (rate.count, rate.n):
                yield f"{title(one)}: the criterion and the figures of the file count differently"
        if isinstance(one.evidence, Largest):
            same = all(certificate.files.get(name) == digest for name, digest in one.evidence.sha256.items())
            if same != one.evidence.same_files:
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
