"""The page on figures made by hand, and on the certificate of a real run."""

import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest

from data.labels import LabelSet
from export.release import TEACHER
from fitting.diagnosis import Note
from fitting.history import Epoch
from run.folder import RunFolder
from tests.verify.test_judge import FILES, LATENCY, LOOK, PARITY
from tests.verify.test_judge import STUDENT as JUDGED_STUDENT
from tests.verify.test_judge import TEACHER as JUDGED_TEACHER
from tests.verify.test_predictions import manifest_of, predictions_of
from verify.certificate import Certificate
from verify.config import VerifyConfig
from verify.evidence import Share
from verify.judge import judge
from verify.measure import Measurements
from verify.predictions import Predictions
from verify.report.content import Content
from verify.report.page import page
from verify.words import figures, worth_a_line

HOSTILE = (
    "<img src=x onerror=alert(1)>",
    "quote \" and ' & $x^2$ </script><script>alert(1)</script>",
    "bidi \u202egnp.exe\u202c {{7*7}}",
    "a name of sixty characters, which somebody wanted to have so",
)
NOTE = Note(says="never says <b>a label</b>", advice="more images of it")
EPOCHS = [
    Epoch(train_loss=None, val_loss=0.9, shares={}),
    Epoch(train_loss=0.5, val_loss=0.8, shares={"accuracy": 0.6}),
]


class Seen(HTMLParser):
    """Tags and attributes of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.ids: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]
        self.ids += [value or "" for name, value in attrs if name == "id" and tag == "section"]


def content(kind: str, agreement: float = 0.8) -> Content:
    """A run whose student differs from its teacher now and then."""
    labels = LabelSet(HOSTILE, kind)  # type: ignore[arg-type]
    generator = np.random.default_rng(0)
    manifest = manifest_of(80, labels)
    teacher = 4 * manifest.targets() + generator.normal(size=(80, 4))
    logits = {
        "a": teacher,
        "b": teacher + 2 * generator.normal(size=(80, 4)),
        "c": teacher + generator.normal(size=(80, 4)),
        "plain": teacher,
    }
    predictions = predictions_of(manifest, **{name: found.tolist() for name, found in logits.items()})
    models = [JUDGED_TEACHER, replace(JUDGED_STUDENT, notes=[NOTE], parity=[replace(PARITY, file="b")])]
    measured = Measurements(predictions, dict.fromkeys(logits, LATENCY))
    found = judge("<panels>", measured, models, VerifyConfig(agreement=agreement), LOOK, FILES)
    return Content(
        certificate=found,
        predictions=predictions,
        audit=None,
        curves={"mini": {"": EPOCHS}},
        sweeps={},
        provenance=[("data", "csv")],
        pictures={},
    )


@pytest.mark.parametrize("kind", ["nominal", "ordinal", "multilabel"])
def test_page__hostile_names_are_words_and_nothing_else(kind: str) -> None:
    known = content(kind)
    text = page(known)
    seen = Seen(text)
    assert not {"img", "script"} & set(seen.tags)
    assert not [name for name, _ in seen.attributes if name.startswith("on")]
    assert "<b>a label" not in text
    assert "never says &lt;b&gt;a label&lt;/b&gt;" in text
    assert "\u202e" not in text
    assert "\\u202e" in text
    assert "{{7*7}}" in text
    assert "$x^2$" in text
    assert text.count("<svg") > 8
    assert ("Flips by truth and side" in text, "Flips, teacher × student" in text) == {
        "nominal": (False, True),
        "ordinal": (True, True),
        "multilabel": (False, False),
    }[kind]
    assert page(known) == text


@pytest.mark.parametrize("kind", ["nominal", "ordinal", "multilabel"])
def test_page__loads_nothing(kind: str) -> None:
    text = page(content(kind))
    seen = Seen(text)
    assert "http://" not in text
    assert "https://" not in text
    assert "@import" not in text
    links = [value for name, value in seen.attributes if name in ("href", "src", "xlink:href")]
    assert all(value.startswith(("#", "data:image/jpeg")) for value in links)
    policy = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
    assert ("content", policy) in seen.attributes
    # Of links within the page, each has an end; `<use>` and clip paths among them.
    ends = {value for name, value in seen.attributes if name == "id"}
    assert {value[1:] for value in links if value.startswith("#")} <= ends
    assert len(text.encode()) < 3_000_000


@pytest.mark.parametrize("agreement", [0.5, 0.9, 0.9999])
def test_page__the_verdict_comes_first_with_what_would_change_it(agreement: float) -> None:
    known = content("ordinal", agreement)
    text = page(known)
    assert Seen(text).ids[0] == "verdict"
    verdict = known.certificate.verdict
    assert f"<title>&lt;panels&gt;: {verdict}</title>" in text
    first = text[text.index('<section id="verdict"') : text.index('<section id="files"')]
    for one in known.certificate.criteria:
        if one.verdict != "PASS" and one.tier != "reported" and one.file in ("a", "b"):
            assert figures(one) in first.replace("&#39;", "'")


def test_page__sentence_and_table_give_the_share_that_the_bound_is_of() -> None:
    known = content("ordinal", 0.9)
    strict = {"evidence": Share(n=10, count=9), "value": 0.9, "counted": "those unlike any in training", "lower": 0.55}
    criteria = tuple(
        replace(one, **strict) if one.name == "agreement" else one  # type: ignore[arg-type]
        for one in known.certificate.criteria
    )
    text = page(replace(known, certificate=replace(known.certificate, criteria=criteria)))
    assert (
        "90.0% of 10 test images, counting those unlike any in training, and on at least 55.0% of images like" in text
    )
    assert re.search(r'<td>90\.0%</td>\s*<td class="\w+">55\.0%</td>', text)


def test_page__every_figure_is_the_certificates(finished_run: RunFolder, certificate: Certificate) -> None:
    predictions = Predictions.read(finished_run.verify / "predictions.parquet")
    known = Content(
        certificate=certificate, predictions=predictions, audit=None, curves={}, sweeps={}, provenance=[], pictures={}
    )
    text = page(known).replace("&#39;", "'")
    for model in certificate.models.values():
        for path, file in model.files.items():
            assert f"<td>{file.accuracy.rate:.1%}</td><td>{100 * file.accuracy.lower:.1f}–" in text
            assert f"<td>{file.latency_ms.p50:.1f}</td>" in text
            assert certificate.files[path] in text
    for one in certificate.criteria:
        assert not worth_a_line(one) or figures(one) in text
    assert certificate.models[TEACHER].confusion is not None
    assert "Confusion" in text
