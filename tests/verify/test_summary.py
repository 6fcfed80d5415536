from dataclasses import replace
from pathlib import Path

import pytest

from run.console import console
from verify.certificate import BaselineFacts, Certificate, Gain, Latency
from verify.statistics import Proportion
from verify.summary import show


def test_show__every_figure_and_word_fits_into_60_characters(
    certificate: Certificate, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(console, "width", 60)
    slow = Latency(p50=1234.5, p95=1234.5, threads=1, runs=5)
    models = {
        name: replace(
            model,
            files={file: replace(facts, latency_ms=slow, bytes=345_600_000) for file, facts in model.files.items()},
        )
        for name, model in certificate.models.items()
    }
    show(replace(certificate, models=models), Path("outputs/quick/release"))
    printed = capsys.readouterr().out
    assert "…" not in printed
    assert " 1234 " in printed or " 1235 " in printed
    for model in models.values():
        for facts in model.files.values():
            accuracy = facts.accuracy
            assert f" {accuracy.rate:.1%} " in printed
            assert f"{100 * accuracy.lower:.1f}–{100 * accuracy.upper:.1f}" in printed
            assert f" {facts.agreement.rate:.1%} " in printed
    heads = ("accuracy", "interval", "too mild", "agrees", "at least", "parity", "MB", "ms, median", "95 %")
    assert all(f" {head} " in printed for head in (*heads, "fp32", "fp16", "rgb"))
    assert "to ship: outputs/quick/release/mini-onnx/rgb.onnx, which" in printed


@pytest.mark.parametrize("has_int8", [True, False])
def test_show__what_is_inside_the_file_to_ship(
    certificate: Certificate, capsys: pytest.CaptureFixture[str], *, has_int8: bool
) -> None:
    student = certificate.models["mini"]
    files = {file: facts for file, facts in student.files.items() if "quantized" not in file}
    if has_int8:
        files["mini-onnx/onnx/model_quantized.onnx"] = student.reference
    models = {**certificate.models, "mini": replace(student, files=files)}
    show(replace(certificate, models=models), Path("release"))
    inside = "INT8 inside" if has_int8 else "float32 inside, as there is no INT8 file"
    assert f"rgb.onnx, which takes decoded pixels of any size ({inside})" in capsys.readouterr().out


def test_show__what_distillation_added(certificate: Certificate, capsys: pytest.CaptureFixture[str]) -> None:
    gain = Gain(n=250, gained=20, lost=12, rate=0.0312, lower=-0.004, upper=0.066, confidence=0.95, mcnemar_p=0.08)
    baseline = BaselineFacts(accuracy=Proportion(153, 250).with_interval(0.95), gain=gain)
    student = replace(certificate.models["mini"], baseline=baseline)
    show(replace(certificate, models={**certificate.models, "mini": student}), Path("release"))
    expected = "trained on labels alone: 61.2%; distillation added +3.1 points (-0.4 to +6.6; McNemar p 0.08)"
    assert expected in capsys.readouterr().out
