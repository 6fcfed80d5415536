import shutil
from pathlib import Path

from data.manifest import Manifest
from run.folder import RunFolder
from tests.support import FOUR
from verify.certificate import Certificate
from verify.config import VerifyConfig
from verify.report.write import write_report
from verify.verify import Verification


def test_verify__writes_the_report_without_the_name_of_any_file(finished_run: RunFolder) -> None:
    text = (finished_run.verify / "report.html").read_text(encoding="utf-8")
    assert len(text) < 3_000_000
    for uri in Manifest.read(finished_run.manifest, FOUR).column("uri"):
        assert Path(uri).name not in text
    assert str(Path.home()) not in text
    assert "kept: epoch" in text
    assert "INT8" in text
    assert "images in all" in text


def test_write_report__thumbnails_are_blurred_and_made_once(
    finished_run: RunFolder, certificate: Certificate, tmp_path: Path
) -> None:
    run = RunFolder(tmp_path / "quick")
    shutil.copytree(finished_run.root, run.root)
    plain = Verification(run, "quick", FOUR, VerifyConfig(), ["mini"])
    path = write_report(plain, certificate, "csv")
    assert "data:image/jpeg" not in path.read_text(encoding="utf-8")
    asked = Verification(run, "quick", FOUR, VerifyConfig(thumbnails=True), ["mini"])
    with_pictures = write_report(asked, certificate, "csv").read_text(encoding="utf-8")
    flips = certificate.models["mini"].reference.flips
    assert with_pictures.count("data:image/jpeg") == min(24, sum(flip.count for flip in flips))
    assert "filter: blur" in with_pictures
    before = path.stat().st_mtime_ns
    write_report(asked, certificate, "csv")
    assert path.stat().st_mtime_ns == before
