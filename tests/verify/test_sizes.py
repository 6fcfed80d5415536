from pathlib import Path

from tests.verify import sizes

PAGE = Path(__file__).resolve().parents[2] / "docs" / "certificate.md"


def test_tables__are_those_of_the_page() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert all(table in page for table in sizes.tables().split("\n\n"))


def test_may_differ__of_the_notes() -> None:
    assert [505 - (sizes.may_differ(0.95, 505, look) or 0) for look in (1, 5)] == [490, 494]
    assert sizes.needed(0.05, 0) == 69
