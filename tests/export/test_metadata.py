import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest

from data.labels import LabelSet
from export.metadata import describe, read_contract
from export.onnx_graph import metadata_of
from export.runtime import OnnxClassifier
from models.decision import DecisionRule
from run.errors import UserError
from tests import support
from tests.export.conftest import Exported

MANY = LabelSet(support.FOUR.names, "multilabel")


def stored(labels: LabelSet) -> dict[str, str]:
    classifier = replace(support.tiny(labels=labels), labels=labels)
    return {key: json.dumps(value) for key, value in describe(classifier).items()}


@pytest.mark.parametrize("labels", [support.TWO, support.FOUR, MANY], ids=lambda labels: labels.kind)
def test_describe__carries_the_default_rule(labels: LabelSet) -> None:
    found = stored(labels)
    assert json.loads(found["decision"]) == DecisionRule.of(labels).to_json()
    contract = read_contract(found, Path("model.onnx"))
    assert contract.rule == DecisionRule.of(labels)
    assert contract.spec == support.tiny().spec


def test_read_contract__a_file_without_a_rule_gets_the_default() -> None:
    found = stored(MANY)
    del found["decision"]
    assert read_contract(found, Path("model.onnx")).rule.thresholds == (0.5,) * 4


def test_read_contract__a_rule_for_other_labels() -> None:
    found = {**stored(MANY), "decision": json.dumps({"method": "threshold", "thresholds": [0.5]})}
    with pytest.raises(UserError, match=r"model\.onnx does not carry labels and input contract"):
        read_contract(found, Path("model.onnx"))


def test_onnx_classifier__decides_by_the_rule_of_its_file(exported: Exported, tmp_path: Path) -> None:
    model = onnx.load(exported[1])
    rule = DecisionRule(MANY, (0.0, 1.0, 0.0, 1.0))
    metadata = {**metadata_of(model), "labels": json.dumps(MANY.to_json()), "decision": json.dumps(rule.to_json())}
    onnx.helper.set_model_props(model, metadata)
    onnx.save(model, tmp_path / "model.onnx")
    opened = OnnxClassifier(tmp_path / "model.onnx")
    assert opened.rule == rule
    decided = opened.rule.decide(opened.probabilities([support.picture()]))
    np.testing.assert_array_equal(decided, [[True, False, True, False]])
