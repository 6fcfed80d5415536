import contextlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file, save_file

import pocketeva
from hub.claims import Claim
from hub.reproduce import outcome
from tests.finished import copied
from tests.hub.fake_hub import FakeHub
from tests.hub.inspection.test_inspect import put
from verify.again import Measured
from verify.certificate import FROM_PUBLISHER, SCHEMA

Asked = Callable[..., tuple[int, dict[str, Any], str]]


@pytest.fixture(scope="module")
def root(finished_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of a finished run's working folder; tests read its release."""
    return copied(finished_root, tmp_path_factory.mktemp("reproduce") / "work")


@pytest.fixture
def ask(root: Path, capfd: pytest.CaptureFixture[str]) -> Asked:
    """Reproduce a place; the exit code, what was printed for programs, and the messages."""

    def reproduced(place: Path | str, *more: str) -> tuple[int, dict[str, Any], str]:
        with contextlib.chdir(root):
            code = pocketeva.main(["reproduce", str(place), "config.yaml", "--json", *more])
        said = capfd.readouterr()
        return code, json.loads(said.out.splitlines()[-1]) if said.out else {}, said.err

    return reproduced


@pytest.fixture
def mini(root: Path, tmp_path: Path) -> Path:
    """A copy of the student's two folders, to be changed."""
    for name in ("mini", "mini-onnx"):
        shutil.copytree(root / "outputs" / "quick" / "release" / name, tmp_path / "release" / name)
    return tmp_path / "release" / "mini"


def test_reproduce__a_release_gives_its_own_figures(ask: Asked, root: Path) -> None:
    code, found, _ = ask(root / "outputs" / "quick" / "release")
    assert code == pocketeva.DONE
    assert {figure["file"] for figure in found["figures"]} >= {"teacher fp32", "mini fp32", "mini rgb"}
    assert {figure["metric"] for figure in found["figures"]} == {"accuracy", "macro f1"}
    assert max(abs(figure["difference"]) for figure in found["figures"]) < 1e-9
    bounds = [
        (figure["measured"], figure["published"]) for figure in found["figures"] if figure["metric"] == "accuracy"
    ]
    assert all(measured["lower"] == pytest.approx(published["lower"]) for measured, published in bounds)


def test_reproduce__figures_that_do_not_hold(ask: Asked, mini: Path) -> None:
    path = mini.with_name("mini-onnx") / "certificate.json"
    content = json.loads(path.read_text())
    for name, facts in content["models"]["mini"]["files"].items():
        if name.endswith("onnx/model.onnx"):
            facts["accuracy"] |= {"rate": 0.0, "lower": 0.0, "upper": 0.01}
    path.write_text(json.dumps(content))
    code, found, _ = ask(mini.with_name("mini-onnx"))
    assert code == pocketeva.NOT_VERIFIED
    assert not found["holds"]
    outcomes = {(one["file"], one["metric"]): one["outcome"] for one in found["figures"]}
    assert outcomes["fp32", "accuracy"] == "does not hold"
    assert outcomes["rgb", "accuracy"] == "holds"


def test_reproduce__a_checkpoint_of_ours_by_its_card(ask: Asked, mini: Path) -> None:
    code, found, _ = ask(mini)
    assert code == pocketeva.DONE
    assert [figure["metric"] for figure in found["figures"]] == ["accuracy", "macro f1"]
    assert "agreement" in found["not_measured"][0]


def as_others_write_it(folder: Path, names: list[str], order: list[int]) -> None:
    """Make a checkpoint of ours one of transformers, with other names and its outputs in another order."""
    config = json.loads((folder / "config.json").read_text())
    head = config["pretrained_cfg"]["classifier"]
    path = folder / "model.safetensors"
    weights = load_file(path)
    for part in ("weight", "bias"):
        weights[f"{head}.{part}"] = weights[f"{head}.{part}"][order].contiguous()
    save_file({f"timm_model.{name}": tensor for name, tensor in weights.items()}, path, {"format": "pt"})
    for key in ("pocketeva", "label_names", "label2id"):
        del config[key]
    config |= {"model_type": "timm_wrapper", "id2label": {str(index): names[row] for index, row in enumerate(order)}}
    (folder / "config.json").write_text(json.dumps(config))


def test_reproduce__labels_of_others_are_matched_by_name(ask: Asked, mini: Path) -> None:
    names = ["Sound", "DOUBTFUL", "likely", "broken "]
    as_others_write_it(mini, names, [2, 0, 3, 1])
    code, found, err = ask(mini)
    assert code == pocketeva.DONE, err
    assert found["figures"][0]["metric"] == "accuracy"
    as_others_write_it_again = json.loads((mini / "config.json").read_text())
    as_others_write_it_again["id2label"]["0"] = "Sound"
    (mini / "config.json").write_text(json.dumps(as_others_write_it_again))
    code, _, err = ask(mini)
    assert code == pocketeva.WRONG_INPUT
    assert "its own: 'Sound', 'Sound', 'broken ', 'DOUBTFUL'" in err
    assert "labels.names: 'sound', 'doubtful', 'likely', 'broken'" in err


def test_reproduce__figures_by_hand(ask: Asked, mini: Path) -> None:
    (mini / "README.md").write_text("# No figures for programs\n")
    code, _, err = ask(mini)
    assert code == pocketeva.WRONG_INPUT
    assert "has no model-index" in err
    code, found, _ = ask(mini, "--published", "binary:broken=50", "--published", "accuracy=99.9", "--tolerance", "60")
    assert [figure["metric"] for figure in found["figures"]] == ["binary:broken", "accuracy"]
    assert code == pocketeva.DONE


def test_reproduce__releases_that_publish_nothing(ask: Asked, mini: Path) -> None:
    onnx = mini.with_name("mini-onnx")
    certificate = onnx / "certificate.json"
    content = certificate.read_text()
    certificate.write_text(content.replace(f'"format": {SCHEMA}', '"format": 99'))
    said = ask(onnx)[2]
    assert "has schema version 99" in said
    assert FROM_PUBLISHER in said
    certificate.write_text(content.replace('"doubtful"', '"dubious"'))
    assert "was made for the labels ['sound', 'dubious'" in ask(onnx)[2]
    certificate.write_text(content)
    (onnx / "rgb.onnx").write_bytes((onnx / "onnx" / "model.onnx").read_bytes())
    assert "is not the file that" in ask(onnx)[2]
    certificate.unlink()
    code, _, err = ask(onnx)
    assert code == pocketeva.WRONG_INPUT
    assert "holds no certificate.json, so it publishes no figures" in err
    assert "is no folder here, and no org/name on the Hub" in ask("gone")[2]


@pytest.mark.usefixtures("local_hub")
def test_reproduce__a_repository_on_the_hub(
    root: Path, mini: Path, fake_hub: FakeHub, capsys: pytest.CaptureFixture[str]
) -> None:
    put(fake_hub, "acme/mini-ONNX", mini.with_name("mini-onnx"))
    with contextlib.chdir(root):
        assert pocketeva.main(["reproduce", "acme/mini-ONNX", "config.yaml"]) == pocketeva.DONE
    assert "figures hold on" in " ".join(capsys.readouterr().out.split())


def test_reproduce__a_classifier_of_transformers(ask: Asked, tmp_path: Path) -> None:
    from transformers import ViTConfig, ViTForImageClassification, ViTImageProcessor

    labels = dict(enumerate(("broken", "likely", "doubtful", "sound")))
    shape = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    config = ViTConfig(image_size=32, patch_size=16, id2label=labels, **shape)
    ViTForImageClassification(config).save_pretrained(tmp_path / "vit")
    ViTImageProcessor(size={"height": 32, "width": 32}).save_pretrained(tmp_path / "vit")
    code, found, err = ask(tmp_path / "vit", "--published", "accuracy=50", "--tolerance", "100")
    assert code == pocketeva.DONE, err
    assert found["figures"][0]["measured"]["n"] == found["images"]


@pytest.mark.parametrize(
    ("claim", "measured", "expected"),
    [
        ((0.90, None, None), (0.89, 0.85, 0.93), "holds"),
        ((0.90, None, None), (0.911, 0.85, 0.93), "not shown"),
        ((0.90, None, None), (0.80, 0.75, 0.85), "does not hold"),
        ((0.90, 0.78, 0.95), (0.80, 0.75, 0.85), "holds"),
        ((0.90, 0.899, 0.901), (0.909, 0.908, 0.91), "holds"),
    ],
)
def test_outcome__tolerance_or_published_interval(
    claim: tuple[float, float | None, float | None], measured: tuple[float, float, float], expected: str
) -> None:
    published = Claim(file="", metric="accuracy", value=claim[0], lower=claim[1], upper=claim[2])
    assert outcome(published, Measured(*measured, 100), 1.0) == expected
