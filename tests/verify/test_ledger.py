import hashlib
import json
from dataclasses import asdict
from pathlib import Path

import pytest

from run.errors import UserError
from verify.ledger import SKETCH, Judged, Ledger, confidence_of_look, record_use

IMAGES = [f"{number:064x}" for number in range(300)]


def use(release: str, split: str = "test") -> Judged:
    return Judged(split=split, release=release)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "outputs" / "ledger.json"


def number(path: Path, release: str, split: str = "test", images: list[str] = IMAGES) -> int:
    return record_use(path, images, use(release, split), 0.95).number


def test_record_use__each_release_counts_once(path: Path) -> None:
    assert [number(path, release) for release in ("a", "b", "a", "c", "b")] == [1, 2, 1, 3, 2]
    assert Ledger.read(path).judged == (use("a"), use("b"), use("c"))


def test_record_use__the_same_files_again_write_nothing(path: Path) -> None:
    number(path, "a")
    before = path.read_bytes(), path.stat().st_mtime_ns
    assert number(path, "a") == 1
    assert (path.read_bytes(), path.stat().st_mtime_ns) == before


def test_record_use__a_split_that_has_grown_is_no_new_one(path: Path) -> None:
    assert number(path, "a", "small", IMAGES[:100]) == 1
    assert number(path, "a", "grown", IMAGES) == 2
    assert number(path, "b", "small", IMAGES[:100]) == 3
    assert number(path, "b", "elsewhere", ["f" * 64]) == 1


def test_record_use__growth_is_found_in_large_splits(path: Path) -> None:
    many = [hashlib.sha256(str(index).encode()).hexdigest() for index in range(20 * SKETCH)]
    assert number(path, "a", "small", many[: 2 * SKETCH]) == 1
    assert number(path, "a", "grown", many) == 2
    assert len(Ledger.read(path).splits["grown"]) == SKETCH


def test_look__of_a_release_that_was_never_judged(path: Path) -> None:
    number(path, "a")
    ledger = Ledger.read(path)
    assert ledger.look(IMAGES, use("b"), 0.95) is None
    found = ledger.look(IMAGES, use("a"), 0.95)
    assert found is not None
    assert found.confidence == confidence_of_look(1, 0.95)


def test_confidence_of_look__all_looks_share_the_risk() -> None:
    risks = [1 - confidence_of_look(look, 0.95) for look in range(1, 10_001)]
    assert sum(risks) == pytest.approx(0.05, abs=1e-5)
    assert sum(risks) < 0.05
    assert risks[0] == pytest.approx(0.0304, abs=1e-4)


def test_ledger__damaged(path: Path) -> None:
    number(path, "a")
    path.write_text(json.dumps({**asdict(Ledger.read(path)), "judged": "none"}), encoding="utf-8")
    with pytest.raises(UserError, match=r"ledger\.json cannot be read \(judged: .*put back the one that was there"):
        number(path, "a")


def test_ledger__one_that_names_no_image(path: Path) -> None:
    number(path, "a")
    assert not any(image in path.read_text(encoding="utf-8") for image in IMAGES)
