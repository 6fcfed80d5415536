import json
from pathlib import Path
from typing import Any

import pytest

from run.console import console
from verify.summary import show


@pytest.fixture
def certificate(finished_root: Path) -> dict[str, Any]:
    path = finished_root / "outputs" / "quick" / "verify" / "certificate.json"
    return dict(json.loads(path.read_text(encoding="utf-8")))


def test_show__every_figure_fits_into_80_characters(
    certificate: dict[str, Any], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(console, "width", 80)
    for facts in certificate["models"].values():
        for found in facts["files"].values():
            found["latency_ms"] = {"p50": 1234.5, "p95": 1234.5}
            found["bytes"] = 345_600_000
    show(certificate, Path("outputs/quick/release"))
    printed = capsys.readouterr().out
    assert "…" not in printed
    assert "1234/1234" in printed or "1235/1235" in printed
    for facts in certificate["models"].values():
        for found in facts["files"].values():
            accuracy = found["accuracy"]
            assert f"{accuracy['rate']:.1%}" in printed
            assert f"{100 * accuracy['lower']:.1f}–{100 * accuracy['upper']:.1f}" in printed
            assert f"{found['agreement']['rate']:.1%}" in printed


def test_show__what_distillation_added(certificate: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    gain = {"rate": 0.0312, "lower": -0.004, "upper": 0.066, "mcnemar_p": 0.08}
    certificate["models"]["mini"]["baseline"] = {"accuracy": {"rate": 0.612}, "gain": gain}
    show(certificate, Path("release"))
    expected = "trained on labels alone: 61.2%; distillation added +3.1 points (-0.4 to +6.6; McNemar p 0.08)"
    assert expected in capsys.readouterr().out
