from pathlib import Path

import pytest

from hub.names import is_data_set, is_license, nearest_license, refusal


@pytest.mark.parametrize(
    ("repo", "reason"),
    [
        ("acme/solar-teacher", ""),
        ("acme/v1.2_x", ""),
        ("acme/solar--mini", "Cannot have -- or .."),
        ("acme/solar-mini-", "cannot start or end with"),
        ("acme-/solar", "cannot start or end with"),
        ("acme/solar.git", "cannot end by"),
        (f"acme/{'x' * 97}", "maximum length is 96"),
        ("acme/écran", "ASCII"),
        ("a/b/c", "in the form"),
    ],
)
def test_refusal__the_hubs_own_rules(repo: str, reason: str) -> None:
    assert reason in refusal(repo)
    assert bool(refusal(repo)) == bool(reason)
    assert repo not in refusal(repo)


@pytest.mark.parametrize(
    ("name", "near"),
    [("Apache License 2.0", "apache-2.0"), ("MIT", "mit"), ("cc-by-4", "cc-by-4.0"), ("our own terms", "apache-2.0")],
)
def test_is_license__words_are_none_and_the_nearest_is_named(name: str, near: str) -> None:
    assert not is_license(name)
    assert nearest_license(name) == near
    assert is_license(near)


def test_is_data_set__a_path_that_is_there_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "acme" / "panels").mkdir(parents=True)
    assert is_data_set("acme/photos")
    assert is_data_set("imagenet-1k")
    assert not any(map(is_data_set, ("acme/panels", str(tmp_path), "panels 2026", "~/panels", "")))
