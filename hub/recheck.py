"""``pocketeva recheck``: what a reader can check of a certificate, here or in a repository on the Hub."""

from pathlib import Path

from huggingface_hub import snapshot_download

from data.manifest import Manifest
from hub.names import refusal
from hub.remote import hub_errors
from hub.signature import signature_fault
from run.console import console
from run.errors import UserError, quoted
from run.text import escaped
from verify.certificate import CERTIFICATE
from verify.config import VerifyConfig
from verify.recheck import Check, find_certificate, recheck, recheck_data
from verify.seal import SIGNATURE
from verify.words import judged_for

SHOWN = 10
"""Differences of one kind that are listed."""


def show_recheck(place: str, data: tuple[Manifest, VerifyConfig] | None = None, public_key: Path | None = None) -> bool:
    """Check a certificate and print what was found.

    Args:
        place: a release, one folder of it, or ``org/name`` on the Hub, pinned as ``org/name@REVISION``.
        data: the images and the criteria, where they are at hand.
        public_key: of the author, as a PEM file, where every folder has to be signed with the private one.

    Returns:
        True where nothing is wrong.

    Raises:
        UserError: there is no certificate, it is damaged, the Hub cannot be reached, or the key is none.
    """
    folder = _local(place)
    certificate = find_certificate(folder)
    checks = recheck(folder)
    if public_key is not None:
        checks.append(_signatures(folder, public_key))
    if data is not None:
        checks.append(recheck_data(folder, *data))
    for check in checks:
        _show(check)
    if data is None:
        console.print("not checked: that the counts are those of the files on the test images (--data CONFIG)")
    if public_key is None and any(folder.glob(f"**/{SIGNATURE}")):
        console.print(f"not checked: the author's signature, {SIGNATURE} (--public-key FILE)")
    passed = not any(check.wrong for check in checks)
    # Last, and as a claim: a verdict that is read first is believed, whatever the checks below it find.
    found = "nothing above contradicts" if passed else "WRONG above contradicts"
    name = escaped(certificate.name, one_line=True)
    claim = f"{name}: {certificate.verdict}, on images that were {judged_for(certificate.look.number)}"
    console.print(f"{found} what its author claims: {claim}", markup=False, soft_wrap=True)
    return passed


def _signatures(place: Path, public_key: Path) -> Check:
    """Verify the signature of one folder, or of every folder of a release."""
    inside = sorted(path for path in place.iterdir() if path.is_dir() and not path.name.startswith("."))
    folders = [place] if (place / CERTIFICATE).is_file() else inside
    faults = [signature_fault(folder, public_key) for folder in folders]
    return Check("the key signed every file that lies there", tuple(filter(None, faults)))


def _show(check: Check) -> None:
    console.print(f"{'WRONG' if check.wrong else 'ok'}: {check.what}")
    for line in check.wrong[:SHOWN]:
        # On one line: a file could be named like the next result.
        console.print(f"  {escaped(line, one_line=True)}", soft_wrap=True)
    if len(check.wrong) > SHOWN:
        console.print(f"  and {len(check.wrong) - SHOWN} more")


def _local(place: str) -> Path:
    if Path(place).exists():
        return Path(place)
    repo, _, revision = place.partition("@")
    if repo.count("/") != 1 or refusal(repo):
        raise UserError(f"{quoted(place)} is neither a folder nor org/name on the Hub")
    with hub_errors(repo, reading=True):
        return Path(snapshot_download(repo, revision=revision or None))
