"""Judging on figures made by hand: no file, no image, no model."""

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest

from tests.support import FOUR
from tests.verify.test_predictions import manifest_of, predictions_of
from verify.certificate import Certificate, Flips, Latency, Look, Side
from verify.config import VerifyConfig
from verify.evidence import Share, Verdict
from verify.exported import ExportedModel, MeasuredParity
from verify.judge import judge
from verify.measure import Measurements

CHOICES = np.eye(4).tolist()
LATENCY = Latency(p50=1.0, p95=2.0, threads=1, runs=100)
PARITY = MeasuredParity(
    file="a", statement="logits", n=40, largest=1e-6, spread=1.0, target=1e-3, sha256={"a": "aaa", "weights": "w"}
)
TEACHER = ExportedModel("teacher", "teacher", "a", ["a"], [PARITY], 1.5, None)
STUDENT = ExportedModel("mini", "student", "b", ["b", "c"], [], 0.5, "plain")
FILES = {"weights": "w", "labels.json": "l"}
LOOK = Look(number=1, confidence=0.95)


def measured(**choices: list[int]) -> Measurements:
    """Files that choose these labels for images whose truth is 0, 1, 2, 3, 0, … in turn."""
    predictions = predictions_of(
        manifest_of(len(next(iter(choices.values())))),
        **{file: [CHOICES[choice] for choice in chosen] for file, chosen in choices.items()},
    )
    return Measurements(predictions, dict.fromkeys(choices, LATENCY))


MEASURED = measured(a=[0, 1, 2, 2] * 10, b=[0, 1, 2, 2] * 9 + [0, 1, 3, 1], c=[3] * 40, plain=[0] * 40)


def judged(
    found: Measurements = MEASURED, *models: ExportedModel, look: Look = LOOK, config: VerifyConfig | None = None
) -> Certificate:
    return judge("panels", found, models or (TEACHER, STUDENT), config or VerifyConfig(agreement=0.8), look, FILES)


def verdicts(certificate: Certificate, name: str) -> dict[tuple[str, str | None], Verdict]:
    return {(one.file, one.about): one.verdict for one in certificate.criteria if one.name == name}


def test_judge__figures_by_hand() -> None:
    certificate = judged()
    teacher, student = certificate.models["teacher"].reference, certificate.models["mini"].reference
    assert (teacher.accuracy.count, student.accuracy.count) == (30, 29)
    assert (teacher.agreement.count, student.agreement.count) == (40, 38)
    assert (teacher.bytes, teacher.latency_ms) == (1001, LATENCY)
    assert certificate.models["mini"].confusion == ((10, 0, 0, 0), (0, 10, 0, 0), (0, 0, 9, 1), (0, 1, 9, 0))
    assert certificate.models["mini"].baseline is not None
    assert certificate.models["mini"].baseline.gain.gained == 19
    assert certificate.models["teacher"].baseline is None
    assert certificate.files == {"a": "aaa", "b": "bbb", "c": "ccc", **FILES}


def test_judge__criteria_by_hand() -> None:
    certificate = judged()
    assert verdicts(certificate, "agreement") == {("b", None): "PASS", ("c", None): "FAIL"}
    assert verdicts(certificate, "conversion") == {("c", None): "FAIL"}
    assert verdicts(certificate, "parity") == {("a", None): "PASS"}
    assert verdicts(certificate, "majority") == {("a", None): "PASS", ("b", None): "PASS", ("c", None): "FAIL"}
    assert verdicts(certificate, "informed") == {
        ("a", "doubtful or worse"): "PASS",
        ("a", "likely or worse"): "PASS",
        ("a", "broken or worse"): "INCONCLUSIVE",
        ("b", "doubtful or worse"): "PASS",
        ("b", "likely or worse"): "PASS",
        ("b", "broken or worse"): "INCONCLUSIVE",
        ("c", "doubtful or worse"): "INCONCLUSIVE",
        ("c", "likely or worse"): "INCONCLUSIVE",
        ("c", "broken or worse"): "INCONCLUSIVE",
    }
    # No label has 30 images here: none is dead.
    assert set(verdicts(certificate, "dead label").values()) == {"PASS"}
    assert {one.model: one.verdict for one in certificate.criteria if one.name == "recall" and one.about == "likely"}
    assert (certificate.models["teacher"].verdict, certificate.models["mini"].verdict) == ("INCONCLUSIVE", "FAIL")
    assert certificate.verdict == "FAIL"
    dangerous = {one.about: one.evidence for one in certificate.of(file="b", name="dangerous flips")}
    assert dangerous["likely or worse"] == Share(n=20, count=1)


def test_judge__on_which_side_a_student_differs() -> None:
    student = judged().models["mini"].reference
    assert student.sides == (
        Side(truth="sound", n=10, milder=0, severer=0),
        Side(truth="doubtful", n=10, milder=0, severer=0),
        Side(truth="likely", n=10, milder=0, severer=1),
        Side(truth="broken", n=10, milder=1, severer=0),
    )
    assert student.flips == (
        Flips(truth="likely", teacher="likely", file="broken", count=1),
        Flips(truth="broken", teacher="likely", file="doubtful", count=1),
    )
    assert student.agreement_by_label["likely"].count == 18
    assert student.agreement_by_label["broken"].n == 0
    chance = (10 * 10 + 10 * 11 + 20 * 18) / 1600
    assert student.kappa == pytest.approx((38 / 40 - chance) / (1 - chance))


def test_judge__the_look_sets_the_confidence_of_every_criterion() -> None:
    look = Look(number=3, confidence=0.9966)
    certificate = judged(look=look)
    assert certificate.look == look
    assert {one.confidence for one in certificate.criteria} == {0.9966}
    assert certificate.models["mini"].reference.accuracy.confidence == certificate.confidence == 0.95


def test_judge__one_of_each_group_counts() -> None:
    table = MEASURED.predictions.table
    twice = replace(MEASURED.predictions, table=pa.concat_tables([table, table]))
    certificate = judged(replace(MEASURED, predictions=twice))
    assert (certificate.test.images, certificate.test.groups) == (80, 40)
    assert certificate.models["teacher"].reference.accuracy.n == 40


@pytest.mark.parametrize(
    ("parity", "verdict"),
    [
        (PARITY, "PASS"),
        (replace(PARITY, largest=2e-3), "FAIL"),
        (replace(PARITY, largest=float("nan")), "FAIL"),
        (replace(PARITY, sha256={"a": "of another file"}), "FAIL"),
        (replace(PARITY, sha256={"a": "aaa", "weights": "other weights"}), "FAIL"),
        (replace(PARITY, sha256={"a": "aaa", "gone": "ggg"}), "FAIL"),
        # Saturated logits, 30 apart, halved after export: every probability is within 1e-6 of what it was.
        (replace(PARITY, largest=7.5, spread=13.0), "FAIL"),
    ],
)
def test_judge__parity_vouches_for_the_very_files_it_was_measured_on(parity: MeasuredParity, verdict: Verdict) -> None:
    certificate = judged(MEASURED, replace(TEACHER, parity=[parity]))
    assert verdicts(certificate, "parity") == {("a", None): verdict}


def test_judge__heads_of_zero_fail_although_they_agree() -> None:
    """A release that always says "sound": teacher and student agree on everything, and it is worth nothing."""
    nothing = measured(a=[0] * 160, b=[0] * 160, c=[0] * 160, plain=[0] * 160)
    certificate = judged(nothing, config=VerifyConfig(agreement=0.95))
    assert set(verdicts(certificate, "agreement").values()) == {"PASS"}
    assert [facts.verdict for facts in certificate.models.values()] == ["FAIL", "FAIL"]
    failed = {one.name for one in certificate.criteria if one.verdict == "FAIL" and one.tier == "must pass"}
    assert failed == {"majority", "informed", "dead label"}


def test_judge__a_score_that_is_no_number_fails_and_names_the_image() -> None:
    rows = [CHOICES[choice] for choice in [0, 1, 2, 3] * 40]
    rows[7] = [float("nan")] * 4
    test = manifest_of(160)
    predictions = predictions_of(test, a=[CHOICES[choice] for choice in [0, 1, 2, 3] * 40], b=rows)
    student = replace(STUDENT, files=["b"], baseline=None)
    certificate = judged(Measurements(predictions, dict.fromkeys("ab", LATENCY)), TEACHER, student)
    (found,) = certificate.of(file="b", name="finite")
    assert found.verdict == certificate.verdict == "FAIL"
    assert vars(found.evidence) | {"kind": None} == {
        "kind": None,
        "n": 160,
        "count": 1,
        "images": (predictions.column("image")[7][:12],),
    }
    assert certificate.of(file="a", name="finite")[0].verdict == "PASS"


def test_judge__a_label_that_is_never_said_can_be_accepted() -> None:
    """Of ordered labels, the one in the middle may be silent, and every level still has to be told apart."""
    said = [0, 2, 2, 3] * 60
    predictions = measured(a=said, b=said)
    student = replace(STUDENT, files=["b"], baseline=None)
    config = VerifyConfig(conversion=0.5)
    strict = judged(predictions, TEACHER, student, config=config)
    failed = {(one.name, one.about) for one in strict.criteria if one.verdict == "FAIL" and one.tier == "must pass"}
    assert failed == {("dead label", "doubtful")}
    accepted = judged(predictions, TEACHER, student, config=replace(config, accept=("doubtful",)))
    assert (accepted.verdict, accepted.accepted) == ("PASS", ("doubtful",))
    assert len(accepted.of(file="b", name="informed")) == 3


def test_judge__the_safety_profile_leaves_nothing_open() -> None:
    said = [0, 1, 2, 3] * 25
    predictions = measured(a=said, b=said)
    student = replace(STUDENT, files=["b"], baseline=None)
    default = judged(predictions, TEACHER, student, config=VerifyConfig())
    assert default.verdict == "PASS"
    assert {one.name for one in default.not_shown("mini")} == {"recall", "dangerous flips", "likelihood"}
    assert all(one.more_images for one in default.not_shown())
    assert {one.name for one in default.not_shown("teacher")} == {"likelihood"}
    safety = judged(predictions, TEACHER, student, config=VerifyConfig(profile="safety"))
    assert {one.tier for one in safety.criteria} == {"must pass"}
    assert (safety.profile, safety.not_shown()) == ("safety", [])
    # Scores of 0.48, and always right: elsewhere that is only reported.
    assert {one.name for one in safety.criteria if one.verdict == "FAIL"} == {"calibration"}
    assert (default.calibrated("b"), safety.verdict) == (False, "FAIL")


def test_judge__votes_that_tie_count_nowhere_but_for_agreement() -> None:
    said = [0, 1, 2, 3] * 10
    test = manifest_of(40)
    targets = [[0.5, 0.5, 0, 0], *test.column("target")[1:]]
    table = test.table.set_column(2, "target", pa.array(targets, test.table.column("target").type))
    predictions = predictions_of(replace(test, table=table), a=[CHOICES[choice] for choice in said])
    certificate = judged(Measurements(predictions, {"a": LATENCY}), TEACHER)
    assert certificate.models["teacher"].reference.accuracy.n == 39
    assert certificate.models["teacher"].reference.agreement.n == 40


def test_judge__labels_of_the_certificate() -> None:
    certificate = judged(MEASURED, TEACHER)
    assert (certificate.labels, certificate.labels_digest) == (FOUR, FOUR.digest)


def test_judge__near_duplicates_are_counted_in_every_way_and_the_strictest_decides() -> None:
    found = MEASURED.predictions
    columns = {
        "cluster": pa.array([0] * 10 + list(range(1, 31)), pa.int32()),
        "near_training": pa.array([False] * 30 + [True] * 10),
    }
    table = found.table
    for name, values in columns.items():
        table = table.set_column(table.column_names.index(name), name, values)
    certificate = judged(replace(MEASURED, predictions=replace(found, table=table)))
    assert (certificate.test.groups, certificate.test.clusters, certificate.test.near_training) == (40, 31, 10)
    agreement = certificate.agreement("b")
    assert agreement is not None
    assert (agreement.counted, agreement.evidence) == ("one of each cluster", Share(n=31, count=29))
    assert agreement.recounts == {
        "one of each group": Share(n=40, count=38),
        "those unlike any in training": Share(n=30, count=30),
    }
    assert all(not one.recounts for one in judged().criteria)
    slices = {part.name: part for part in certificate.models["mini"].reference.slices}
    assert [(name, part.judged, part.agreement.count) for name, part in slices.items()] == [
        ("near-duplicate in training: no", True, 30),
        ("near-duplicate in training: yes", False, 8),
    ]
    assert [one.about for one in certificate.of(file="b", name="slice")] == ["near-duplicate in training: no"]
