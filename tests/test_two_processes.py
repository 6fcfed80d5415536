"""Two processes on one machine, over gloo, do what one does."""

import contextlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from safetensors.numpy import load_file

import pocketeva
from run.files import file_digest
from tests import finished
from tests.fitting import toy
from tests.support import REPOSITORY, files_below
from tests.two import Two, wait_for
from verify.certificate import Certificate

pytestmark = pytest.mark.slow

OUTPUTS = Path("outputs") / "quick"


def settings(processes: int) -> dict[str, Any]:
    """Batches of 20 in all, for a teacher that is trained in head and in full mode and a student without batch norm.

    The student learns from the cache in its first epoch and from the live teacher in its second.
    """
    config = finished.settings()
    fit = {"epochs": 2, "batch_size": 20 // processes, "lr": 1e-3, "ema_decay": 0.9}
    config["teacher"] |= {
        "model": "test_vit3",
        "mode": "probe_then_full",
        "drop_path": 0.0,
        "full": fit,
    }
    config["students"] = [{"name": "mini", "model": "test_vit", "pretrained": False, "image_size": 64, "fit": fit}]
    config["students"][0]["live"] = 0.5
    config["export"] = finished.FP32_ALONE
    config["trainer"]["devices"] = processes
    return config


def working_folder(root: Path, config: dict[str, Any]) -> Path:
    finished.write_images(root)
    finished.write_config(root, config)
    return root


def test_run__two_processes_train_what_one_does(tmp_path: Path) -> None:
    one, both = (working_folder(tmp_path / str(count), settings(count)) for count in (1, 2))
    processes = Two(both, pocketeva.main, ["run", "config.yaml"])
    with contextlib.chdir(one):
        assert [pocketeva.main([verb, "config.yaml"]) for verb in ("prepare", "train", "distill")] == [0, 0, 0]
    codes, (said, silence) = processes.ended()
    # Two epochs teach too little to pass; that it was judged is enough here.
    assert codes in ([0, 0], [3, 3]), said + silence
    assert "epoch 2/2" in said
    assert silence == ""

    for model in ("teacher", "students/mini"):
        expected, weights = (load_file(root / OUTPUTS / model / "model/model.safetensors") for root in (one, both))
        for name, values in expected.items():
            np.testing.assert_allclose(weights[name], values, atol=1e-4, err_msg=f"{model} {name}")
        fits = [json.loads((root / OUTPUTS / model / "metrics.json").read_text()) for root in (one, both)]
        heads = [found.pop("head", {"val_loss": 0}) for found in fits]
        assert heads[1]["val_loss"] == pytest.approx(heads[0]["val_loss"], abs=1e-4)
        for stage in set(fits[0]) - {"teacher_passes", "diagnosis"}:
            assert fits[1][stage] == pytest.approx(fits[0][stage], abs=1e-4), stage
        assert [found["teacher_passes"]["live"] for found in fits] == [0 if model == "teacher" else 60] * 2
    assert caches(one) == caches(both)
    names = files_below(both)
    assert not [name for name in names if ".partial-" in name]
    assert set(Certificate.read(both / OUTPUTS / "verify" / "certificate.json").models) == {"teacher", "mini"}
    stamp = json.loads((both / OUTPUTS / "stamps" / "verify.json").read_text())
    assert all(file_digest(both / OUTPUTS / name) == digest for name, digest in stamp["outputs"].items())


def caches(root: Path) -> dict[str, bytes]:
    """Every file of the cached features; logits of two teachers differ in last digits."""
    files = files_below(root / OUTPUTS / "cache")
    found = {name: data for name, data in files.items() if name.startswith("features-")}
    assert any(name.endswith(".npy") for name in found)
    return found


def test_fit__two_processes_interrupted_resume_to_the_same_result(tmp_path: Path) -> None:
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    assert Two(whole, toy.main, whole, 0.0, "sound").ended()[0] == [0, 0]
    codes, said = Two(cut, toy.main, cut, 0.05, "sound").interrupted(cut / "fit" / "last.ckpt").ended()
    assert codes == [130, 130], said
    assert not (cut / "fit" / "done.json").exists()
    reached = torch.load(cut / "fit" / "last.ckpt", weights_only=True)["epoch"]
    assert reached < 5
    assert Two(cut, toy.main, cut, 0.0, "sound").ended()[0] == [0, 0]

    states = [torch.load(root / "fit" / "best.ckpt", weights_only=True)["state_dict"] for root in (whole, cut)]
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    logs = list((cut / "fit" / "log").glob("version_*/metrics.csv"))
    assert 1 <= len(logs) <= 2, "one for each time that it was started and finished an epoch, not one a process"
    done = json.loads((whole / "fit" / "done.json").read_text())
    assert json.loads((cut / "fit" / "done.json").read_text()) == done

    module = toy.ToyModule(toy.toy_config())
    module.load_state_dict(states[0])
    (alone,) = pl.Trainer(accelerator="cpu", logger=False, enable_progress_bar=False).validate(module, toy.loaders()[1])
    assert done["val_loss"] == pytest.approx(alone["val_loss"], abs=1e-6), "the mean over both shares, of what is kept"


def test_fit__two_processes_stop_early_together(tmp_path: Path) -> None:
    codes, said = Two(tmp_path / "toy", toy.main, tmp_path / "toy", 0.0, "worsens").ended()
    assert codes == [0, 0], said
    done = json.loads((tmp_path / "toy" / "fit" / "done.json").read_text())
    assert (done["epoch"], done["epochs"]) == (0, 3), "the first epoch, and two that are worse"


def test_fit__two_processes_agree_on_what_fits_in_both(tmp_path: Path) -> None:
    done = {}
    for name in ("roomy", "small"):
        codes, said = Two(tmp_path / name, toy.main, tmp_path / name, 0.0, name).ended()
        assert codes == [0, 0], said
        done[name] = json.loads((tmp_path / name / "fit" / "done.json").read_text())
    splits = json.loads((tmp_path / "small" / "fit" / "micro_batch.json").read_text())
    assert [(split["step"], split["images"]) for split in splits] == [(0, 8), (0, 2)]
    assert done["small"] == pytest.approx(done["roomy"], rel=1e-4), "gradients are exchanged once a step, and whole"


def test_fit__a_loss_that_breaks_in_one_process_ends_both_with_one_message(tmp_path: Path) -> None:
    codes, (first, second) = Two(tmp_path / "toy", toy.main, tmp_path / "toy", 0.0, "breaks").ended()
    assert codes == [2, 2], first + second
    assert "nan" not in first, "one message, from one process"
    assert second.startswith("the training loss is nan in epoch 1, batch 0")
    assert second.count("secret-image") == 8


def test_train__by_itself_starts_a_process_for_each_device_and_ends_them_on_ctrl_c(tmp_path: Path) -> None:
    config = settings(2)
    config["teacher"] |= {"mode": "full", "full": {"epochs": 3000, "batch_size": 10, "lr": 1e-3}}
    root = working_folder(tmp_path / "work", config)
    with contextlib.chdir(root):
        assert pocketeva.main(["prepare", "config.yaml"]) == 0
    process = subprocess.Popen(
        [sys.executable, "-m", "pocketeva", "train", "config.yaml"],
        cwd=root,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        stderr=subprocess.PIPE,
        text=True,
    )
    wait_for(root / OUTPUTS / "teacher" / "fit" / "full" / "last.ckpt", lambda: process.poll() is None)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=300)
    assert process.returncode == pocketeva.INTERRUPTED, said
    assert said.count("interrupted; the same command goes on from here") == 1
    assert "Traceback" not in said
