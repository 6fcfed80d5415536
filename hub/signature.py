"""Signatures of repositories, in the format of OpenSSF Model Signing: one file over all others of a folder."""

import ast
import os
import tempfile
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from hub.remote import files_of
from run.errors import UserError, quoted
from run.files import atomic_path, remove
from verify.seal import SIGNATURE

PASSWORD = "POCKETEVA_SIGNING_PASSWORD"  # noqa: S105 - the name of a variable
_MISMATCH = "Signature mismatch: "
"""Begins the package's error about files that are not those that were signed."""


def set_signature(folder: Path, key: str | None) -> None:
    """Sign a folder, or take an earlier signature away.

    One that still holds is kept: a signature is other bytes each time, and the same files would be sent again.

    Args:
        folder: every file in it is signed, but for what killed writers left, which is not sent.
        key: the PEM file with the private key; null signs nothing.
    """
    path = folder / SIGNATURE
    if key is None:
        remove(path)
        return
    private = private_key(key)
    if path.is_file() and _holds(folder, private.public_key()):
        return
    from model_signing import signing

    with atomic_path(path) as partial:
        signer = signing.Config().use_elliptic_key_signer(private_key=Path(key).expanduser(), password=_password())
        signer.set_hashing_config(_hashing(folder)).sign(folder, partial)


def signature_fault(folder: Path, public_key: Path) -> str | None:
    """The fault of a folder's signature; null where it is over the files that are there, and the key's.

    Raises:
        UserError: the package is not installed, or the file holds no public key that it takes.
    """
    _require_installed("--public-key")
    from model_signing import verifying

    try:
        verifier = verifying.Config().use_elliptic_key_verifier(public_key=public_key)
    except (OSError, TypeError, ValueError) as error:
        raise UserError(f"{quoted(public_key)} holds no elliptic-curve public key in PEM: {error}") from error
    path = folder / SIGNATURE
    if not path.is_file():
        return f"{folder.name} is not signed: it holds no {SIGNATURE}"
    return _fault(verifier, folder)


def _fault(verifier: Any, folder: Path) -> str | None:
    from cryptography.exceptions import InvalidSignature

    try:
        verifier.set_hashing_config(_hashing(folder)).verify(folder, folder / SIGNATURE)
    except InvalidSignature:
        return f"{folder.name}/{SIGNATURE} is not the signature of this key"
    except Exception as error:  # noqa: BLE001 - a stranger's file, and the package raises whatever its parsers do
        said = str(error)
        if "Key mismatch" in said:
            return f"{folder.name}/{SIGNATURE} was made with another key"
        if said.startswith(_MISMATCH):
            return f"{folder.name}/{SIGNATURE} is over other files than lie there: {_differences(said)}"
        return f"{folder.name}/{SIGNATURE} cannot be verified: {said[:200] or type(error).__name__}"
    return None


def _differences(said: str) -> str:
    """The package's list of differences, without the digests; another version may write it otherwise."""
    try:
        lines: list[str] = ast.literal_eval(said.removeprefix(_MISMATCH))
    except (SyntaxError, ValueError):
        return said.removeprefix(_MISMATCH)[:200]
    return "; ".join(line.partition(": Expected ")[0] for line in lines)


def _holds(folder: Path, public: Any) -> bool:
    """True where the signature that is there is this key's, and over these files."""
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    with tempfile.TemporaryDirectory() as place:
        path = Path(place) / "key.pem"
        path.write_bytes(public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
        return signature_fault(folder, path) is None


def _hashing(folder: Path) -> Any:
    """SHA-256 of every file but the signature and what is no part of a repository; the Hub's cache holds links."""
    from model_signing import hashing

    kept = set(files_of(folder))
    left = [path for path in folder.rglob(".partial-*") if path not in kept]
    apart = [folder / SIGNATURE, folder / ".cache", *left]
    return hashing.Config().set_allow_symlinks(True).set_ignored_paths(paths=apart)


def private_key(key: str) -> Any:
    """The private key in a PEM file.

    Raises:
        UserError: the package is not installed, or the file holds no key that can sign.
    """
    _require_installed("hub.signing_key")
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        found = load_pem_private_key(Path(key).expanduser().read_bytes(), _password())
    except OSError as error:
        raise UserError(f"hub.signing_key: {quoted(key)} cannot be read: {error.strerror}") from error
    except (TypeError, ValueError) as error:  # never the key itself: the package's messages hold none of it
        raise UserError(
            f"hub.signing_key: {quoted(key)} holds no private key in PEM that opens with the password in {PASSWORD}, "
            "or without one where that is not set"
        ) from error
    if not isinstance(found, EllipticCurvePrivateKey):
        raise UserError(
            f"hub.signing_key: {quoted(key)} is no elliptic-curve key; `openssl ecparam -name prime256v1 -genkey "
            "-noout -out key.pem` makes one"
        )
    return found


def _password() -> bytes | None:
    given = os.environ.get(PASSWORD)
    return given.encode() if given else None


def _require_installed(asked: str) -> None:
    if find_spec("model_signing") is None:
        raise UserError(
            f"{asked} needs the package model-signing: in PocketEVA's folder run `pip install '.[sign]'` (with uv: "
            "`uv pip install '.[sign]'`)"
        )
