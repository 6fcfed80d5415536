from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import ModelCard

from export.release import Release
from export.runtime import processor
from fitting.diagnosis import Note
from hub import origins, words
from hub.card import hub_id, write_cards
from hub.config import HubConfig
from hub.origins import license_of_base, require_carried
from run.errors import UserError, plural
from run.figures import percent
from run.folder import RunFolder
from run.text import code_span, markdown_table, plain_markdown
from tests.support import edit_json
from verify.certificate import Certificate, LabelFacts, Majority
from verify.evidence import Share, Verdict
from verify.seal import PICTURES
from verify.statistics import Proportion
from verify.words import figures, missing

STUDENT = "mini"

CONFIG = HubConfig(
    repo="acme/panels",
    license="apache-2.0",
    datasets=("acme/photos",),
    tags=("solar",),
    description="Sorts photographs of panels.",
    limits="Not for panels at night.",
)


def cards(run: RunFolder, config: HubConfig = CONFIG, certificate: Certificate | None = None) -> dict[str, Any]:
    """The ``ModelCard`` read back from each folder; with the run's own certificate unless told otherwise."""
    found = certificate or Certificate.read(run.verify / "certificate.json")
    paths = write_cards(run, found, config)
    return {path.parent.name: ModelCard.load(path) for path in paths}


def set_facts(run: RunFolder, name: str, **facts: Any) -> None:
    edit_json(run.release / name / "config.json", lambda config: config["pocketeva"].update(facts))


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


def test_write_cards__model_index(release_run: RunFolder, certificate: Certificate) -> None:
    found = cards(release_run)
    student = {result.metric_type: result for result in found[STUDENT].data.eval_results or ()}
    measured = certificate.models[STUDENT].reference
    assert measured.macro_f1 is not None
    assert {kind: result.metric_value for kind, result in student.items()} == {
        "accuracy": round(measured.accuracy.rate, 4),
        "f1": round(measured.macro_f1, 4),
        "agreement": round(measured.agreement.rate, 4),
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


def test_write_cards__revisions_are_recorded(release_run: RunFolder) -> None:
    set_facts(release_run, "teacher", base_model="acme/start@v1.0", pretrained=True)
    found = cards(release_run, replace(CONFIG, datasets=("acme/cells@0123abc", "acme/more")))
    data = found["teacher"].data.to_dict()
    assert (data["base_model"], data["datasets"]) == ("acme/start", ["acme/cells", "acme/more"])
    assert "of `acme/start` at revision `v1.0`" in found["teacher"].text
    assert "Data: `acme/cells` at revision `0123abc`." in found["teacher"].text


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
    assert hub_id("") is None


def test_write_cards__says_what_was_measured(release_run: RunFolder, certificate: Certificate) -> None:
    set_facts(release_run, STUDENT, temperature=1.25, uncalibrated=None)
    model = certificate.models[STUDENT]
    accuracy = Proportion(20, 28).with_interval(0.95)
    undefined = LabelFacts(label="broken", positives=0, precision=None, recall=None, f1=None, confusion=(28, 0, 0, 0))
    known = LabelFacts(label="sound", positives=8, precision=0.91, recall=0.875, f1=0.889, confusion=(19, 1, 1, 7))
    altered = replace(
        model,
        files={**model.files, model.file: replace(model.reference, accuracy=accuracy)},
        per_label=(known, undefined),
        confusion=((7, 1, 0, 0), (0, 5, 3, 0), (0, 0, 6, 0), (0, 0, 4, 2)),
        temperature=9.0,
    )
    text = cards(release_run, certificate=replace(certificate, models={**certificate.models, STUDENT: altered}))[
        f"{STUDENT}-onnx"
    ].text
    assert "20 of 28 (71.4%), 95% interval 51.3% to 86.8%" in text
    assert "| Always answering `sound` | 7 of 28 (25.0%) |" in text
    for name in ("agreement", "parity", "majority", "dead label"):
        for criterion in certificate.of(model=STUDENT, name=name):
            assert f"* **PASS**, {criterion.name}" in text
            assert f": {plain_markdown(figures(criterion))} (" in text
    agreement = certificate.agreement(model.file)
    assert agreement is not None
    assert f"{words.agreed(agreement)}, at least {percent(agreement.lower or 0, 'at least')} with 97.0% conf" in text
    assert "The test images were judged for the 1st time, so that each criterion holds with 97.0% confidence" in text
    assert f"{sum(side.milder for side in model.reference.sides)} milder than the teacher" in text
    assert "| `sound` | 8 | 0.910 | 0.875 | 0.889 |" in text
    assert "| `broken` | 0 | – | – | – |" in text
    assert "| `sound` | 7 | 1 | 0 | 0 |" in text
    assert "29 images" in text
    assert "temperature of 1.250" in text
    assert f"| Latency, one thread of {processor()} |" in text
    assert f"for one image on one thread of {processor()}, for" in text
    assert not text.lstrip().splitlines()[2].startswith(">")


def test_write_cards__the_word_calibrated_is_only_for_scores_that_are(
    release_run: RunFolder, certificate: Certificate
) -> None:
    set_facts(release_run, STUDENT, temperature=1.25, uncalibrated=None)
    outcomes: dict[Verdict, str] = {
        "PASS": "is the calibrated probability",
        "FAIL": "further from the truth than chance",
    }
    for verdict, said in outcomes.items():
        criteria = [replace(one, verdict=verdict) if one.name == "calibration" else one for one in certificate.criteria]
        text = cards(release_run, certificate=replace(certificate, criteria=tuple(criteria)))[STUDENT].text
        assert said in text
        assert ("is the calibrated probability" in text) == (verdict == "PASS")


def test_write_cards__what_a_model_never_says_comes_first(release_run: RunFolder, certificate: Certificate) -> None:
    model = certificate.models[STUDENT]
    silent = LabelFacts(label="likely", positives=45, precision=None, recall=0.0, f1=0.0, confusion=(55, 0, 45, 0))
    models = {**certificate.models, STUDENT: replace(model, per_label=(silent,))}
    found = cards(release_run, certificate=replace(certificate, accepted=("likely",), models=models))
    expected = "> **This model never says `likely` (true on 45 of 100 test images)**, as its author accepted."
    assert found[STUDENT].text.lstrip().splitlines()[2] == expected


def test_write_cards__what_was_not_shown_stands_beside_the_verdict(
    release_run: RunFolder, certificate: Certificate
) -> None:
    text = cards(release_run)[STUDENT].text
    open_ones = certificate.not_shown(STUDENT)
    assert open_ones, "28 images show everything?"
    assert "**PASS**; not shown: " in text
    assert all(f"* **not shown**, {one.name}" in text for one in open_ones)
    assert all(f"{plain_markdown(figures(one))}; {missing(one)} (" in text for one in open_ones)


def test_write_cards__a_model_without_a_fitted_temperature_is_not_called_calibrated(release_run: RunFolder) -> None:
    reason = "is right on all 40 validation images, and no temperature fits best there"
    set_facts(release_run, STUDENT, temperature=1.0, uncalibrated=reason)
    text = cards(release_run)[STUDENT].text
    assert f"not calibrated: the model {reason}, so the temperature was left at 1" in text
    assert "is the calibrated probability" not in text


def test_write_cards__ordered_labels_how_far_off_and_on_which_side(
    release_run: RunFolder, certificate: Certificate
) -> None:
    text = cards(release_run)[STUDENT].text
    found = certificate.models[STUDENT].reference.ordinal
    assert found is not None
    assert f"| Quadratic weighted kappa | {found.quadratic_kappa:.3f} |" in text
    assert f"| Mean error, in labels | {found.mean_absolute_error:.3f} |" in text
    for side, calls in (("mild", found.under_call), ("severe", found.over_call)):
        for steps, rate in calls.items():
            said = f"| Too {side} by {plural(steps, 'label')} or more | {rate.count} of 28 ({percent(rate.rate)}), "
            assert said in text


def test_words__agreement_is_the_share_that_its_bound_is_of(certificate: Certificate) -> None:
    agreement = certificate.of(name="agreement")[0]
    counted = replace(
        agreement, evidence=Share(n=407, count=384), value=384 / 407, counted="those unlike any in training"
    )
    assert words.agreed(counted) == "384 of 407 (94.3%), counting those unlike any in training"


def test_words__of_a_multilabel_set() -> None:
    both = Majority(labels=("fine", "worn | torn"), count=120, n=200, rate=0.6)
    assert words.answer(both) == "`fine` and `worn | torn`"
    assert words.answer(replace(both, labels=())) == "no label"
    row = LabelFacts(label="fine", positives=100, precision=0.9, recall=0.9, f1=0.9, confusion=(91, 9, 13, 87))
    assert words.errors(row) == ("9 of 100", "13 of 100")
    assert words.errors(replace(row, confusion=(200, 0, 0, 0))) == ("0 of 200", "0 of 0")


def test_table__label_names_do_not_break_it() -> None:
    text = markdown_table(("label", "n"), [(code_span("worn | `torn`\n"), "3")])
    assert text.splitlines()[-1] == "| `worn \\| 'torn'` | 3 |"


def test_write_cards__teacher_has_no_agreement(release_run: RunFolder) -> None:
    text = cards(release_run)["teacher"].text
    assert "Agreement with the exported teacher" not in text
    assert "Agreement is with the teacher" not in text
    assert "* **PASS**, parity: " in text


def test_write_cards__labels_and_the_authors_words(release_run: RunFolder) -> None:
    text = cards(release_run)[STUDENT].text
    assert "0. `sound`\n1. `doubtful`\n2. `likely`\n3. `broken`" in text
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


def test_write_cards__a_model_the_certificate_does_not_know(release_run: RunFolder, certificate: Certificate) -> None:
    content = replace(certificate, models={"teacher": certificate.models["teacher"]})
    write_cards(release_run, content, CONFIG)
    assert "**Not verified.**" in (release_run.release / STUDENT / "README.md").read_text(encoding="utf-8")
    assert "**Not verified.**" not in (release_run.release / "teacher" / "README.md").read_text(encoding="utf-8")


def test_write_cards__a_damaged_release(release_run: RunFolder) -> None:
    (release_run.release / STUDENT / "config.json").unlink()
    with pytest.raises(UserError, match=rf"{STUDENT}/config\.json does not exist"):
        cards(release_run)


def test_write_cards__pictures_and_diagnoses(release_run: RunFolder, certificate: Certificate) -> None:
    note = Note(says="never says <img src=x> [at](all)", advice="more images", serious=True)
    models = {name: replace(model, notes=(note,)) for name, model in certificate.models.items()}
    text = cards(release_run, certificate=replace(certificate, models=models))[STUDENT].text
    assert r"* The model never says \<img src=x\> \[at\](all). Try: more images" in text
    pictures = [release_run.release / STUDENT / name for name in PICTURES]
    before = [path.read_bytes() for path in pictures]
    assert all(picture.startswith(b"\x89PNG") and len(picture) < 100_000 for picture in before)
    places = [text.index(f"]({name})") for name in PICTURES]
    assert places == sorted(places), "the confusion matrix stands below its table"
    assert "What looks wrong" in text
    cards(release_run)
    assert [path.read_bytes() for path in pictures] == before
    # Those of files that nobody judged would be pictures of other files.
    write_cards(release_run, None, CONFIG)
    assert not any(path.exists() for path in pictures)


def test_table__numbers_stand_to_the_right() -> None:
    rows = [
        ("`a`", "1.5", "12 of 30", "–", "", "yes"),
        ("b", "-2%", "3 of 7", "0.1", "4", "30 of 250 images change their decision"),
    ]
    assert markdown_table(("file", "MB", "flips", "F1", "ms", "why not"), rows).splitlines()[1] == (
        "| --- | ---: | ---: | ---: | ---: | --- |"
    )


def test_write_cards__files_of_which_the_same_is_said_share_a_line(release_run: RunFolder) -> None:
    lines = [line for line in cards(release_run)[STUDENT].text.splitlines() if line.startswith("* **PASS**, finite")]
    assert len(lines) == 1
    assert lines[0].endswith("(fp32, fp16, int8, rgb)")


def test_write_cards__what_the_model_was_made_of(release_run: RunFolder) -> None:
    set_facts(release_run, "teacher", base_model="timm/vit_base_patch16_224.mae", pretrained=True)
    text = cards(release_run)[STUDENT].text
    assert "| `sound` | 15 | 4 | 4 | 7 |" in text
    assert (
        "* its teacher began with the weights `timm/vit_base_patch16_224.mae`, whose license is `cc-by-nc-4.0`" in text
    )
    set_facts(release_run, "teacher", base_model="", pretrained=True)
    assert "its teacher began with weights in a folder of its author's machine" in cards(release_run)[STUDENT].text


def test_require_carried__terms_of_pretrained_weights(release_run: RunFolder) -> None:
    models = [Release(release_run.release).model(STUDENT)]
    require_carried(models, "mit")
    set_facts(release_run, "teacher", base_model="timm/vit_base_patch16_224.mae", pretrained=True)
    with pytest.raises(UserError, match=r"hub\.license is mit, and mini may not have it: its teacher began with"):
        require_carried(models, "mit")
    require_carried(models, "cc-by-nc-4.0")
    require_carried(models, "other")


def test_license_of_base__timms_and_those_of_cards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert license_of_base("tf_efficientnet_lite0.in1k") == "apache-2.0"
    assert license_of_base("acme/start@v1") is None
    card = tmp_path / "README.md"
    card.write_text("---\nlicense: cc-by-nc-4.0\n---\n", encoding="utf-8")
    monkeypatch.setattr(origins, "try_to_load_from_cache", lambda repo, name, revision: str(card))
    assert license_of_base("hf-hub:acme/start@v1") == "cc-by-nc-4.0"
    card.write_text("---\nlicense: Apache-2.0\n---\n", encoding="utf-8")
    assert license_of_base("hf-hub:timm/eva02_base_patch14_448.of_tomorrow") == "apache-2.0"
    card.write_text("---\nlicense: [\n---\n", encoding="utf-8")
    assert license_of_base("hf-hub:acme/start@v1") is None


def test_license_of_base__of_weights_that_timm_does_not_know_or_has_no_license_of() -> None:
    assert license_of_base("timm/resnet50.of_tomorrow") is None
    assert license_of_base("res2net50_26w_4s.in1k") is None


def test_require_carried__advises_only_what_the_hub_takes(release_run: RunFolder) -> None:
    set_facts(release_run, "teacher", base_model="timm/fastvit_t8.apple_dist_in1k", pretrained=True)
    with pytest.raises(UserError, match=r"say hub\.license other with the terms in hub\.limits$"):
        require_carried([Release(release_run.release).model(STUDENT)], "mit")
