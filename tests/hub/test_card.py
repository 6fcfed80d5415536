import json
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import ModelCard

from data.labels import LabelSet
from hub.card import hub_id, write_cards
from hub.config import HubConfig
from run.errors import UserError
from run.folder import RunFolder
from tests.hub import releases
from tests.hub.releases import STUDENT

CONFIG = HubConfig(
    repo="acme/panels",
    license="apache-2.0",
    datasets=("acme/photos",),
    tags=("solar",),
    description="Sorts photographs of panels.",
    limits="Not for panels at night.",
)


def cards(run: RunFolder, config: HubConfig = CONFIG) -> dict[str, Any]:
    """The ``ModelCard`` read back from each folder."""
    paths = write_cards(run.release, releases.certificate(run), config)
    return {path.parent.name: ModelCard.load(path) for path in paths}


def set_facts(run: RunFolder, name: str, **facts: Any) -> None:
    path = run.release / name / "config.json"
    config = json.loads(path.read_text(encoding="utf-8"))
    config["pocketeva"].update(facts)
    path.write_text(json.dumps(config), encoding="utf-8")


def test_write_cards__metadata(release_run: RunFolder) -> None:
    found = {name: card.data for name, card in cards(release_run).items()}
    assert set(found) == {"teacher", "teacher-onnx", STUDENT, f"{STUDENT}-onnx"}
    for name, data in found.items():
        assert data.license == "apache-2.0"
        assert data.pipeline_tag == "image-classification"
        assert data.library_name == ("onnx" if name.endswith("-onnx") else "timm")
        assert data.datasets == ["acme/photos"]
        assert {"pocketeva", "solar"} <= set(data.tags or ())
        assert data.metrics == ["accuracy", "f1"]
    assert "transformers.js" in found["teacher-onnx"].tags
    assert "transformers.js" not in found["teacher"].tags


def test_write_cards__model_index(release_run: RunFolder) -> None:
    found = cards(release_run)
    student = {result.metric_type: result for result in found[STUDENT].data.eval_results or ()}
    assert {kind: result.metric_value for kind, result in student.items()} == {
        "accuracy": 0.885,
        "f1": 0.7654,
        "agreement": 0.95,
    }
    assert student["accuracy"].dataset_split == "test"
    assert student["accuracy"].dataset_type == "acme/photos"
    teacher = [result.metric_type for result in found["teacher-onnx"].data.eval_results or ()]
    assert teacher == ["accuracy", "f1"]


def test_write_cards__base_model_of_random_weights(release_run: RunFolder) -> None:
    found = cards(release_run)
    assert found["teacher"].data.base_model is None
    assert "base_model_relation" not in found["teacher"].data.to_dict()
    assert found[f"{STUDENT}-onnx"].data.base_model == f"acme/panels-{STUDENT}"
    assert "trained from nothing" in found[STUDENT].text


def test_write_cards__base_model_of_pretrained_weights(release_run: RunFolder) -> None:
    set_facts(release_run, "teacher", base_model="hf-hub:acme/start", pretrained=True)
    found = cards(release_run)
    data = found["teacher"].data.to_dict()
    assert (data["base_model"], data["base_model_relation"]) == ("acme/start", "finetune")
    assert "base_model_relation" not in found["teacher-onnx"].data.to_dict()
    assert "trained from nothing" not in found["teacher"].text
    assert "trained from nothing" in found[STUDENT].text


def test_hub_id__names_and_private_paths(tmp_path: Path) -> None:
    assert hub_id("acme/start") == "acme/start"
    assert hub_id("mobilenetv4_conv_small") == "timm/mobilenetv4_conv_small.e2400_r224_in1k"
    assert hub_id(str(tmp_path)) is None
    assert hub_id("/home/someone/gone") is None
    assert hub_id("local-dir:acme/start") is None
    assert hub_id("no_such_model") is None


def test_write_cards__says_what_was_measured(release_run: RunFolder) -> None:
    text = cards(release_run)[f"{STUDENT}-onnx"].text
    assert "177 of 200 (88.5%), 95% interval 85.5% to 90.5%" in text
    assert "| Always answering `fine` | 120 of 200 (60.0%) |" in text
    assert "Agreement of `mini-onnx/onnx/model.onnx`, **PASS**: the student's first choice is the teacher's" in text
    assert "on 190 of 200 (95.0%)" in text
    assert "at least 92.0% with 95% confidence, target 90.0%" in text
    assert "2.0e-06 over 40 images, limit 0.0001" in text
    assert "| `broken` | 0 | – | – | – |" in text
    assert "| `fine` | 87 | 13 | 0 |" in text
    assert "210 images" in text
    assert "temperature of 1.250" in text
    assert not text.lstrip().splitlines()[2].startswith(">")


def test_write_cards__ordered_labels_how_far_off_and_on_which_side(release_run: RunFolder) -> None:
    text = cards(release_run)[STUDENT].text
    assert "| Quadratic weighted kappa | 0.876 |" in text
    assert "| Mean error, in labels | 0.125 |" in text
    assert "| Called 2 or more labels too mild | 8 of 200 (4.0%), interval 1.0% to 6.0% |" in text
    assert "| Called 1 or more labels too severe | 13 of 200 (6.5%), interval 3.5% to 8.5% |" in text


def test_write_cards__of_a_multilabel_set(tmp_path: Path) -> None:
    labels = LabelSet(releases.LABELS.names, "multilabel")
    run = releases.write_release(tmp_path / "panels", labels)
    paths = write_cards(run.release, releases.certificate(run, labels=labels), CONFIG)
    found = {path.parent.name: path.read_text(encoding="utf-8") for path in paths}
    for text in found.values():
        assert "An image may have several, or none: each applies from a probability of 0.5 on." in text
        assert "| Always answering `fine` and `worn \\| torn` | 120 of 200 (60.0%) |" in text
        assert "| Accuracy: every label of the image right |" in text
        assert "| `fine` | 100 | 0.910 | 0.870 | 0.890 | 9 of 100 | 13 of 100 |" in text
        assert "| `broken` | 0 | – | – | – | 0 of 200 | 0 of 0 |" in text
        assert "sigmoid" in text
        assert "softmax" not in text
        assert "Confusion matrix" not in text
        assert "kappa" not in text


def test_write_cards__teacher_has_no_agreement(release_run: RunFolder) -> None:
    text = cards(release_run)["teacher"].text
    assert "Agreement" not in text
    assert "Parity of `teacher-onnx/onnx/model.onnx`, **PASS**" in text


def test_write_cards__labels_and_the_authors_words(release_run: RunFolder) -> None:
    text = cards(release_run)[STUDENT].text
    assert "0. `fine`\n1. `worn | torn`\n2. `broken`" in text
    assert "| `worn \\| torn` | 9 | 91 | 0 |" in text
    assert "more severe" in text
    assert "Sorts photographs of panels." in text
    assert "## Limits\n\nNot for panels at night." in text


def test_write_cards__snippet_follows_the_resize_mode(release_run: RunFolder) -> None:
    found = cards(release_run)
    assert "resize(image, 64, 64)" in found[f"{STUDENT}-onnx"].text
    assert ".crop(" not in found[f"{STUDENT}-onnx"].text
    assert ".crop(" in found["teacher-onnx"].text


def test_write_cards__without_repo(release_run: RunFolder) -> None:
    found = cards(release_run, HubConfig())
    assert "hf-hub:ORG/NAME-teacher" in found["teacher"].text
    assert found["teacher-onnx"].data.base_model is None


def test_write_cards__no_machine_path(release_run: RunFolder) -> None:
    set_facts(release_run, "teacher", base_model=str(release_run.root), pretrained=True)
    for card in cards(release_run).values():
        assert str(release_run.root) not in str(card)
        assert str(Path.home()) not in str(card)


def test_write_cards__a_model_the_certificate_does_not_know(release_run: RunFolder) -> None:
    content = releases.certificate(release_run)
    del content["models"][STUDENT]
    write_cards(release_run.release, content, CONFIG)
    assert "**Not verified.**" in (release_run.release / STUDENT / "README.md").read_text(encoding="utf-8")
    assert "**Not verified.**" not in (release_run.release / "teacher" / "README.md").read_text(encoding="utf-8")


def test_write_cards__a_damaged_release(release_run: RunFolder) -> None:
    (release_run.release / STUDENT / "config.json").unlink()
    with pytest.raises(UserError, match=rf"{STUDENT}/config\.json cannot be read.*pocketeva export"):
        cards(release_run)
