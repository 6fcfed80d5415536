from pathlib import Path

import pytest

from hub.claims import by_hand, match_names, of_card
from run.errors import UserError
from tests.support import FOUR

CARD = """---
license: mit
model-index:
- name: x
  results:
  - task: {type: image-classification}
    dataset: {name: panels, type: acme/panels}
    metrics:
    - {type: accuracy, value: 98.5, name: Top-1 accuracy}
    - {type: f1, value: 0.97, name: F1 (weighted)}
    - {type: recall, value: 96.1%, args: {average: micro}}
    - {type: accuracy, value: 0.99, name: Top-5 accuracy}
    - {type: agreement, value: 0.9}
    - {type: accuracy, value: high}
---
# x
"""


def card(folder: Path, text: str) -> Path:
    (folder / "README.md").write_text(text)
    return folder


def test_of_card__metrics_by_their_names(tmp_path: Path) -> None:
    found = of_card(card(tmp_path, CARD), FOUR)
    assert [(one.metric, one.value) for one in found.read] == [
        ("accuracy", 0.985),
        ("weighted f1", 0.97),
        ("micro recall", 0.961),
    ]
    assert {one.about for one in found.read} == {"panels"}
    assert found.passed_over == ("accuracy Top-5 accuracy 0.99", "agreement 0.9", "accuracy high")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("# no front matter", "has no model-index.*--published accuracy=98.5"),
        ("---\nlicense: mit\n---\n", "has no model-index"),
        ("---\nmodel-index: [1, {results: 3}]\n---\n", "has no model-index"),
        ("---\nlicense: [\n---\n", "its first lines are no YAML"),
        (CARD.replace("accuracy, value: 98.5", "bleu, value: 3").split("    - {type: f1")[0] + "---\n", "known here"),
    ],
)
def test_of_card__nothing_to_measure(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        of_card(card(tmp_path, text.replace("Top-1 accuracy", "BLEU") if "bleu" in text else text), FOUR)


def test_by_hand__figures_of_a_text() -> None:
    found = by_hand(["accuracy=98.5", "f1=0.9", "recall:Broken=97", "binary:sound=99.87%"], FOUR)
    assert [one.metric for one in found.read] == ["accuracy", "macro f1", "recall:broken", "binary:sound"]
    assert [one.value for one in found.read] == pytest.approx([0.985, 0.9, 0.97, 0.9987])


@pytest.mark.parametrize("text", ["accuracy", "accuracy=many", "accuracy=400", "recall:other=0.9", "beauty=3"])
def test_by_hand__no_figures(text: str) -> None:
    with pytest.raises(UserError, match=r"expected METRIC=VALUE, .* Known are accuracy, f1"):
        by_hand([text], FOUR)


def test_match_names__one_each_or_not_at_all() -> None:
    assert match_names(("low", "very high"), ("Very_High", "LOW ")) == [1, 0]
    assert match_names(("low", "high"), ("low", "LOW")) is None
    assert match_names(("low", "high"), ("low", "medium")) is None
