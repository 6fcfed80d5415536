"""Judging on figures made by hand: no file, no image, no model."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest

from tests.support import FOUR
from tests.verify.test_predictions import manifest_of, predictions_of
from verify.certificate import Latency, Verdict
from verify.config import VerifyConfig
from verify.exported import ExportedModel, MeasuredParity
from verify.judge import judge, overall
from verify.measure import Measurements

CHOICES = np.eye(4).tolist()
LATENCY = Latency(p50=1.0, p95=2.0, threads=1, runs=100)
PARITY = MeasuredParity(file="a", statement="difference", n=40, largest=1e-6, target=1e-4, sha256={"a": "aaa"})
TEACHER = ExportedModel("teacher", "teacher", "a", ["a"], {"weights": "w"}, [PARITY], 1.5, None)
STUDENT = ExportedModel("mini", "student", "b", ["b", "c"], {}, [], 0.5, "plain")


def measured(**choices: list[int]) -> Measurements:
    """Files that choose these labels for images whose truth is 0, 1, 2, 3, 0, … in turn."""
    predictions = predictions_of(
        manifest_of(len(next(iter(choices.values())))),
        **{file: [CHOICES[choice] for choice in chosen] for file, chosen in choices.items()},
    )
    return Measurements(predictions, dict.fromkeys(choices, LATENCY))


MEASURED = measured(a=[0, 1, 2, 2] * 10, b=[0, 1, 2, 2] * 9 + [0, 1, 3, 3], c=[3] * 40, plain=[0] * 40)


def test_judge__figures_by_hand() -> None:
    certificate = judge("panels", MEASURED, [TEACHER, STUDENT], VerifyConfig(agreement=0.8))
    teacher, student = certificate.models["teacher"].reference, certificate.models["mini"].reference
    assert (teacher.accuracy.count, student.accuracy.count) == (30, 30)
    assert (teacher.agreement.count, student.agreement.count) == (40, 38)
    assert (teacher.bytes, teacher.latency_ms) == (1001, LATENCY)
    assert certificate.models["mini"].confusion == ((10, 0, 0, 0), (0, 10, 0, 0), (0, 0, 9, 1), (0, 0, 9, 1))
    assert certificate.models["mini"].baseline is not None
    assert certificate.models["mini"].baseline.gain.gained == 20
    assert certificate.models["teacher"].baseline is None
    assert [(found.name, found.file, found.verdict) for found in certificate.criteria] == [
        ("agreement", "b", "PASS"),
        ("agreement", "c", "FAIL"),
        ("parity", "a", "PASS"),
    ]
    assert certificate.verdict == "FAIL"
    assert certificate.files == {"a": "aaa", "b": "bbb", "c": "ccc", "weights": "w"}


def test_judge__one_of_each_group_counts() -> None:
    table = MEASURED.predictions.table
    twice = replace(MEASURED.predictions, table=pa.concat_tables([table, table]))
    certificate = judge("panels", replace(MEASURED, predictions=twice), [TEACHER, STUDENT], VerifyConfig())
    assert (certificate.test.images, certificate.test.groups) == (80, 40)
    assert certificate.models["teacher"].reference.accuracy.n == 40


@pytest.mark.parametrize(
    ("parity", "verdict"),
    [
        (PARITY, "PASS"),
        (replace(PARITY, largest=2e-4), "FAIL"),
        (replace(PARITY, largest=float("nan")), "FAIL"),
        (replace(PARITY, sha256={"a": "of another file"}), "FAIL"),
        (replace(PARITY, sha256={"a": "aaa", "gone": "ggg"}), "FAIL"),
    ],
)
def test_judge__parity_vouches_for_the_very_files_it_was_measured_on(parity: MeasuredParity, verdict: Verdict) -> None:
    teacher = replace(TEACHER, parity=[parity])
    certificate = judge("panels", MEASURED, [teacher], VerifyConfig())
    assert certificate.verdict == verdict


@pytest.mark.parametrize(
    ("verdicts", "expected"),
    [
        (["PASS", "PASS"], "PASS"),
        (["PASS", "INCONCLUSIVE"], "INCONCLUSIVE"),
        (["INCONCLUSIVE", "FAIL", "PASS"], "FAIL"),
    ],
)
def test_overall__every_criterion_has_to_pass(verdicts: Sequence[Verdict], expected: str) -> None:
    assert overall(verdicts) == expected


def test_judge__labels_of_the_certificate() -> None:
    certificate = judge("panels", MEASURED, [TEACHER], VerifyConfig())
    assert (certificate.labels, certificate.labels_digest) == (FOUR, FOUR.digest)
