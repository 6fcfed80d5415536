"""Repositories signed by their author: pushed, and verified by a reader."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

import pocketeva
from hub.config import HubConfig
from hub.push import push
from hub.signature import PASSWORD, set_signature, signature_fault
from run.errors import UserError
from run.files import remove
from tests.hub.fake_hub import FakeHub
from verify.seal import SIGNATURE
from verify.verify import Verification

CONFIG = HubConfig(repo="acme/panels", page=False, transformers_js=False)


def make_key(folder: Path, name: str, password: str = "") -> tuple[Path, Path]:
    """A private key and the public one, in PEM."""
    key = ec.generate_private_key(ec.SECP256R1())
    private, public = folder / f"{name}.pem", folder / f"{name}.pub"
    locked = BestAvailableEncryption(password.encode()) if password else NoEncryption()
    private.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, locked))
    public.write_bytes(key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    return private, public


@pytest.fixture
def keys(tmp_path: Path) -> tuple[Path, Path]:
    """A private key and the public one."""
    return make_key(tmp_path, "author")


@pytest.fixture
def signed(tmp_path: Path, keys: tuple[Path, Path]) -> Path:
    """A folder, signed."""
    folder = tmp_path / "mini-onnx"
    (folder / "onnx").mkdir(parents=True)
    (folder / "README.md").write_text("card", encoding="utf-8")
    (folder / "onnx" / "model.onnx").write_bytes(b"weights")
    set_signature(folder, str(keys[0]))
    return folder


@pytest.mark.slow
@pytest.mark.usefixtures("local_hub")
def test_push__signs_every_repository_and_recheck_verifies_it(
    fake_hub: FakeHub,
    verification: Verification,
    keys: tuple[Path, Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    private, public = keys
    config = replace(CONFIG, signing_key=str(private))
    push(verification, config, dry_run=False, allow_unverified=False)
    assert len(fake_hub.repos) == 4
    secret = private.read_bytes().splitlines()[1]
    for repo in fake_hub.repos:
        (commit,) = fake_hub.commits(repo)
        assert SIGNATURE in commit.files
        assert not any(secret in file.content for file in commit.files.values())
    # The same files once more: a signature is other bytes each time, and one that holds is kept.
    assert not any(one.changed for one in push(verification, config, dry_run=False, allow_unverified=False))
    capsys.readouterr()
    repo = "acme/panels-mini-ONNX"
    for place in (repo, str(verification.run.release)):
        assert pocketeva.main(["recheck", place, "--public-key", str(public)]) == pocketeva.DONE
        said = capsys.readouterr().out
        assert "ok: the key signed every file that lies there" in said
    assert pocketeva.main(["recheck", repo]) == pocketeva.DONE
    assert "not checked: the author's signature, model.sig (--public-key FILE)" in capsys.readouterr().out
    _, other = make_key(tmp_path, "other")
    assert pocketeva.main(["recheck", repo, "--public-key", str(other)]) == pocketeva.NOT_VERIFIED
    assert "model.sig was made with another key" in capsys.readouterr().out


def change(folder: Path) -> None:
    (folder / "README.md").write_text("another card", encoding="utf-8")


def add(folder: Path) -> None:
    (folder / "more.bin").write_bytes(b"new")


def forge(folder: Path) -> None:
    """Exchange the digest of a file inside the signature."""
    path = folder / SIGNATURE
    bundle = json.loads(path.read_text(encoding="utf-8"))
    envelope = bundle["dsseEnvelope"]
    signature = envelope["signatures"][0]
    signature["sig"] = signature["sig"][:20] + ("A" if signature["sig"][20] != "A" else "B") + signature["sig"][21:]
    path.write_text(json.dumps(bundle), encoding="utf-8")


OTHERS = "mini-onnx/model.sig is over other files than lie there: "


@pytest.mark.parametrize(
    ("edit", "said"),
    [
        (change, f"{OTHERS}Hash mismatch for 'README.md'"),
        (add, f"{OTHERS}Extra files found in model 'mini-onnx': more.bin"),
        (
            lambda folder: remove(folder / "onnx" / "model.onnx"),
            f"{OTHERS}Missing files in model 'mini-onnx': onnx/model.onnx",
        ),
        (lambda folder: remove(folder / SIGNATURE), "mini-onnx is not signed: it holds no model.sig"),
        (forge, "mini-onnx/model.sig is not the signature of this key"),
        (lambda folder: (folder / SIGNATURE).write_text("{"), "mini-onnx/model.sig cannot be verified: "),
    ],
)
def test_signature_fault__one_message_each(
    signed: Path, keys: tuple[Path, Path], edit: Callable[[Path], object], said: str
) -> None:
    assert signature_fault(signed, keys[1]) is None
    edit(signed)
    assert str(signature_fault(signed, keys[1])).startswith(said)


def test_signature_fault__what_is_no_part_of_a_repository(
    signed: Path, keys: tuple[Path, Path], tmp_path: Path
) -> None:
    (signed / ".gitattributes").write_text("*.onnx", encoding="utf-8")  # as the Hub adds it
    notes = signed / ".cache" / "huggingface" / "download" / "README.md.metadata"
    notes.parent.mkdir(parents=True)
    notes.write_text("as the Hub's client notes", encoding="utf-8")
    renamed = tmp_path / "downloaded"
    shutil.copytree(signed, renamed)
    assert signature_fault(renamed, keys[1]) is None


def test_set_signature__takes_an_earlier_one_away(signed: Path) -> None:
    set_signature(signed, None)
    assert not (signed / SIGNATURE).exists()


def test_signature_fault__a_mismatch_in_other_words(
    signed: Path, keys: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another version of the package may not list the differences."""

    def verify(*_: object) -> None:
        raise ValueError("Signature mismatch: two files changed")

    monkeypatch.setattr("model_signing.verifying.Config.verify", verify)
    said = "mini-onnx/model.sig is over other files than lie there: two files changed"
    assert signature_fault(signed, keys[1]) == said


def test_set_signature__a_key_in_the_users_folder(
    signed: Path, keys: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    remove(signed / SIGNATURE)
    set_signature(signed, "~/author.pem")
    assert signature_fault(signed, keys[1]) is None


def test_set_signature__an_encrypted_key(signed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    private, public = make_key(tmp_path, "locked", "open sesame")
    with pytest.raises(UserError, match=rf"locked\.pem holds no private key in PEM that opens with .*{PASSWORD}"):
        set_signature(signed, str(private))
    monkeypatch.setenv(PASSWORD, "open sesame")
    set_signature(signed, str(private))
    assert signature_fault(signed, public) is None


def test_push__a_key_that_cannot_sign_is_said_before_any_request(
    verification: Verification, keys: tuple[Path, Path], fake_hub: FakeHub, tmp_path: Path
) -> None:
    other = tmp_path / "rsa.pem"
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    other.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    for path, said in (
        (tmp_path / "gone.pem", r"gone\.pem cannot be read: No such file"),
        (keys[1], r"author\.pub holds no private key in PEM"),
        (other, r"rsa\.pem is no elliptic-curve key; `openssl ecparam"),
    ):
        with pytest.raises(UserError, match=rf"hub\.signing_key: .*{said}"):
            push(verification, replace(CONFIG, signing_key=str(path)), dry_run=False, allow_unverified=False)
    with pytest.raises(UserError, match=r"author\.pem holds no elliptic-curve public key in PEM"):
        signature_fault(verification.run.release / "mini-onnx", keys[0])
    assert fake_hub.requests == []
