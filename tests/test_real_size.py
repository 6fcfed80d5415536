"""The teacher this project is for, at its real size, through every stage, in bounded memory."""

import json
import os
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from cache.plan import read_plans
from tests import finished, support
from verify.certificate import Certificate

TEACHER = "eva02_base_patch14_448"
STUDENT = "mobilenetv4_conv_small"
SPLITS = {"train": 2, "val": 1, "calibration": 1, "test": 1}
"""Images of each of two labels."""
FEW_PASSES = """
import sys
from itertools import islice
import export.golden.write as golden
import export.parity as parity
import export.timing as timing
import pocketeva
import verify.latency as latency
from tests import one_thread, quick_export  # for their effect

# A forward pass in each file takes seconds: the kit's images, larger batches and exact times are other tests'.
every = golden.golden_images
golden.golden_images = lambda: islice(every(), 1)
parity.BATCHES = (1, 2)
timing.WARM_UP, timing.FEWEST, latency.SECONDS = 0, 1, 0
sys.exit(pocketeva.main(["run", "config.yaml"]))
"""
GIBIBYTE = 2**30
LIMIT = 8 * GIBIBYTE


def settings() -> dict[str, Any]:
    config = finished.settings("real")
    config["labels"] = {"names": list(support.FOUR.names[:2]), "kind": "ordinal"}
    config["teacher"] = {"model": TEACHER, "pretrained": False, "mode": "head"}
    fit = {"epochs": 1, "batch_size": 4, "lr": 1e-3}
    student = {"name": "phone", "model": STUDENT, "pretrained": False, "image_size": 224, "fit": fit}
    return {**config, "views": {"count": 1}, "students": [student], "export": finished.FP32_ALONE}


@pytest.mark.slow(minutes=True)
@pytest.mark.timeout(1800)
def test_run__eva02_base_at_448(tmp_path: Path) -> None:
    finished.write_images(tmp_path, SPLITS, labels=2)
    finished.write_config(tmp_path, settings())
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    started = time.monotonic()
    result = subprocess.run(
        [sys.executable, "-c", FEW_PASSES],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=1700,
    )
    assert result.returncode in (0, 3), result.stderr  # so few images prove nothing
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    sys.stdout.write(f"{time.monotonic() - started:.0f} s, {peak / GIBIBYTE:.2f} GiB\n")
    assert peak < LIMIT

    root = tmp_path / "outputs" / "real"
    (cache,) = (root / "cache").iterdir()  # one backbone pass serves head, temperature and student
    key = json.loads((cache / "key.json").read_text(encoding="utf-8"))
    assert (key["output"], key["width"]) == ("features", 768)
    cached = [shard.images for plan in read_plans(cache).values() for shard in plan]
    images = [image for shard in cached for image in shard]
    assert sorted(map(len, cached)) == [2, 4]
    assert len(set(images)) == len(images) == 6

    certificate = Certificate.read(root / "verify" / "certificate.json")
    assert (certificate.test.images, certificate.test.groups) == (3, 2)
    parity = {found.model: found.verdict for found in certificate.criteria if found.name == "parity"}
    assert parity == {"teacher": "PASS", "phone": "PASS"}
    sizes = {model: facts.reference.bytes for model, facts in certificate.models.items()}
    assert 330e6 < sizes["teacher"] < 360e6
    assert 9e6 < sizes["phone"] < 12e6
