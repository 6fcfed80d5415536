import csv
import json
import math
import signal
import struct
import sys
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback
from torch import Tensor

from fitting.callbacks import decay_at
from fitting.history import read_histories
from fitting.module import Batch, warmup_cosine
from run.config import TrackingConfig
from run.errors import UserError
from tests.fitting import toy
from tests.fitting.toy import ROWS, ToyModule, run_toy, toy_config
from tests.support import HOST, USER, files_below, named_machine
from tests.two import Started, wait_for


class StopBefore(Callback):
    """Interrupts the fit at the start of a batch, as a killed process would: nothing after it runs."""

    def __init__(self, epoch: int, batch: int = 0) -> None:
        self.at = epoch, batch

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        if (trainer.current_epoch, batch_idx) == self.at:
            raise RuntimeError("power cut")


class Memory(Callback):
    """Remembers validation losses and weights by epoch."""

    def __init__(self) -> None:
        self.val_loss: list[float] = []
        self.weights: list[Tensor] = []

    def on_validation_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.val_loss.append(float(trainer.callback_metrics["val_loss"]))
        self.weights.append(pl_module.net[0].weight.detach().clone())  # type: ignore[index, union-attr]


def states_equal(a: ToyModule, b: ToyModule) -> bool:
    pairs = zip(a.state_dict().values(), b.state_dict().values(), strict=True)
    return all(torch.equal(x, y) for x, y in pairs)


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
def test_fit__learns_in_every_precision(tmp_path: Path, precision: str) -> None:
    _, metrics = run_toy(tmp_path, toy_config(epochs=3), precision=precision)
    assert metrics["epochs"] == 3
    assert metrics["val_loss"] < metrics["previous_val_loss"]


@pytest.mark.parametrize(
    ("step", "expected"),
    [(0, 1 / 11), (4, 5 / 11), (9, 10 / 11), (10, 1.0), (55, 0.5), (100, 0.0), (120, 0.0)],
)
def test_warmup_cosine__values(step: int, expected: float) -> None:
    assert warmup_cosine(step, total=100, warmup=10) == pytest.approx(expected, abs=1e-12)


def test_warmup_cosine__without_warmup_and_for_one_step() -> None:
    assert warmup_cosine(0, 10, 0) == 1.0
    assert warmup_cosine(0, 1, 0) == 1.0
    assert math.isfinite(warmup_cosine(1, 1, 1))


@pytest.mark.parametrize("ema_decay", [None, 0.5])
def test_fit__leaves_the_best_epochs_weights(tmp_path: Path, ema_decay: float | None) -> None:
    memory = Memory()
    config = toy_config(lr=2.0, epochs=5, ema_decay=ema_decay, clip_norm=None)
    module, metrics = run_toy(tmp_path, config, callbacks=[memory])
    best = min(range(5), key=memory.val_loss.__getitem__)
    assert len({round(loss, 4) for loss in memory.val_loss}) > 1
    assert metrics["epoch"] == best
    assert metrics["epochs"] == 5
    assert metrics["val_loss"] == pytest.approx(memory.val_loss[best], abs=1e-6)
    assert torch.equal(module.state_dict()["net.0.weight"], memory.weights[best])
    assert not module.training
    assert json.loads((tmp_path / "fit" / "done.json").read_text()) == metrics


@pytest.mark.parametrize("steps", [50, 500, 5000])
def test_decay_at__leaves_little_of_the_beginning(steps: int) -> None:
    decays = [decay_at(step, 0.9999) for step in range(2, steps + 1)]
    assert decays == sorted(decays)
    assert math.prod(decays) < 1e-6, "the share of the weights after the first step"
    assert math.prod(decays[steps // 2 :]) < 0.01, "and of those at half time"
    assert decay_at(10**6, 0.999) == 0.999


def test_fit__an_average_made_for_long_fits_does_not_ruin_a_short_one(tmp_path: Path) -> None:
    losses = {}
    for ema_decay in (None, 0.9999):
        config = toy_config(epochs=17, lr=0.05, ema_decay=ema_decay)
        losses[ema_decay] = run_toy(tmp_path / str(ema_decay), config)[1]["val_loss"]
    assert losses[0.9999] < 1.1 * losses[None]


class Worsening(ToyModule):
    """Its validation loss is larger in each epoch."""

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        values = super().losses(batch)
        return {**values, "loss": values["loss"] + (0.0 if self.training else 10.0 * self.current_epoch)}


def test_fit__best_epoch_may_be_the_first(tmp_path: Path) -> None:
    memory = Memory()
    module, metrics = run_toy(tmp_path, module=Worsening(toy_config()), callbacks=[memory])
    assert metrics["epoch"] == 0
    assert metrics["val_margin"] >= 0
    assert torch.equal(module.state_dict()["net.0.weight"], memory.weights[0])
    assert not torch.equal(memory.weights[0], memory.weights[-1])


def test_fit__averaged_weights_follow_the_formula_and_integer_buffers_survive(tmp_path: Path) -> None:
    class Steps(Callback):
        raw: list[Tensor] = []  # noqa: RUF012

        def on_train_batch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule, *_: Any) -> None:
            self.raw.append(pl_module.net[0].weight.detach().clone())  # type: ignore[index, union-attr]

    steps, memory = Steps(), Memory()
    module, _ = run_toy(tmp_path, toy_config(epochs=2, ema_decay=0.23), callbacks=[steps, memory])
    average = steps.raw[0]
    for step, weight in enumerate(steps.raw[1:], start=2):
        decay = min(0.23, (1 + step) / (10 + step))
        average = decay * average + (1 - decay) * weight
    torch.testing.assert_close(module.state_dict()["net.0.weight"], average)
    torch.testing.assert_close(memory.weights[-1], average)
    counter = module.state_dict()["net.1.num_batches_tracked"]
    assert counter.dtype == torch.int64
    assert int(counter) >= 1


def test_fit__patience_stops_early(tmp_path: Path) -> None:
    class Stuck(ToyModule):
        def losses(self, batch: Batch) -> dict[str, Tensor]:
            values = super().losses(batch)
            return values if self.training else {**values, "loss": values["loss"] * 0 + 1.0}

    _, metrics = run_toy(tmp_path, module=Stuck(toy_config(epochs=9, patience=2)))
    assert metrics["epochs"] == 3
    assert metrics["epoch"] == 0


def test_fit__second_call_trains_nothing(tmp_path: Path) -> None:
    first, metrics = run_toy(tmp_path)
    before = files_below(tmp_path)
    second, again = run_toy(tmp_path)
    assert again == metrics
    assert second.epochs_seen == []
    assert states_equal(first, second)
    assert files_below(tmp_path) == before
    assert "fit/last.ckpt" not in before


@pytest.mark.parametrize(("workers", "ema_decay"), [(0, None), (0, 0.9), (1, 0.9)])
def test_fit__cut_after_any_epoch_it_ends_with_the_same_weights(
    tmp_path: Path, workers: int, ema_decay: float | None
) -> None:
    config = toy_config(ema_decay=ema_decay, lr=0.5)
    whole, expected = run_toy(tmp_path / "whole", config, workers=workers)
    for epoch in range(1, 4):
        with pytest.raises(RuntimeError, match="power cut"):
            run_toy(tmp_path / "cut", config, workers=workers, callbacks=[StopBefore(epoch)])
        assert not (tmp_path / "cut" / "fit" / "done.json").exists()
    resumed, metrics = run_toy(tmp_path / "cut", config, workers=workers)
    assert set(resumed.epochs_seen) == {3}
    assert metrics == expected
    (curves,) = read_histories(tmp_path / "cut").values()
    assert {"": curves} == read_histories(tmp_path / "whole")
    assert min(one.val_loss or 9 for one in curves) == pytest.approx(metrics["val_loss"])
    assert states_equal(whole, resumed)


class Inputs(Callback):
    """Remembers what each step was shown."""

    def __init__(self) -> None:
        self.seen: list[tuple[int, int, Tensor]] = []

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        self.seen.append((trainer.current_epoch, batch_idx, batch["x"]))


@pytest.mark.parametrize(("workers", "ema_decay"), [(0, None), (0, 0.9), (1, 0.9)])
def test_fit__cut_within_any_epoch_it_goes_on_with_the_next_batch(
    tmp_path: Path, workers: int, ema_decay: float | None
) -> None:
    """State is kept after each batch here, so nothing is shown twice, and nothing is left out."""
    config, uncut, inputs = toy_config(ema_decay=ema_decay, lr=0.5, epochs=3), Inputs(), Inputs()
    whole, expected = run_toy(tmp_path / "whole", config, callbacks=[uncut])
    for at in ((0, 1), (0, 2), (1, 0), (1, 2), (2, 1)):
        with pytest.raises(RuntimeError, match="power cut"):
            run_toy(tmp_path / "cut", config, workers=workers, minutes=0, callbacks=[StopBefore(*at), inputs])
    resumed, metrics = run_toy(tmp_path / "cut", config, workers=workers, minutes=0, callbacks=[inputs])
    assert [(epoch, batch) for epoch, batch, _ in inputs.seen] == [(epoch, batch) for epoch, batch, _ in uncut.seen]
    assert all(torch.equal(a, b) for (*_, a), (*_, b) in zip(inputs.seen, uncut.seen, strict=True))
    assert metrics == expected
    (curves,), (uncut_curves,) = (read_histories(tmp_path / name).values() for name in ("cut", "whole"))
    # The mean over the batches after a cut would pass for that of the epoch.
    assert curves == [replace(epoch, train_loss=None) for epoch in uncut_curves]
    assert states_equal(whole, resumed)


def test_fit__killed_once_patience_is_out_it_does_not_go_on(tmp_path: Path) -> None:
    class StopAtTheEnd(Callback):
        def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
            raise RuntimeError("power cut")

    config = toy_config(epochs=9, patience=2)
    _, expected = run_toy(tmp_path / "whole", module=Worsening(config))
    with pytest.raises(RuntimeError, match="power cut"):
        run_toy(tmp_path / "cut", module=Worsening(config), callbacks=[StopAtTheEnd()])
    again, metrics = run_toy(tmp_path / "cut", module=Worsening(config))
    assert again.epochs_seen == []
    assert metrics == expected


@pytest.mark.parametrize("name", ["done.json", "best.ckpt"])
def test_fit__that_is_done_and_then_damaged_starts_over(tmp_path: Path, name: str) -> None:
    _, expected = run_toy(tmp_path)
    path = tmp_path / "fit" / name
    path.write_bytes(path.read_bytes()[:20])
    again, metrics = run_toy(tmp_path)
    assert set(again.epochs_seen) == {0, 1, 2, 3}
    assert metrics == expected


@pytest.mark.parametrize("damaged", ["last.ckpt", "best.ckpt", "last.ckpt previous.ckpt", "last.ckpt best.ckpt"])
def test_fit__a_checkpoint_that_cannot_be_read_is_set_aside(
    tmp_path: Path, damaged: str, capsys: pytest.CaptureFixture[str]
) -> None:
    config = toy_config(ema_decay=0.9)
    whole, expected = run_toy(tmp_path / "whole", config)
    with pytest.raises(RuntimeError, match="power cut"):
        run_toy(tmp_path / "cut", config, callbacks=[StopBefore(3)])
    for name in damaged.split():
        path = tmp_path / "cut" / "fit" / name
        data = path.read_bytes()
        path.write_bytes(data[: len(data) // 2])
    capsys.readouterr()
    resumed, metrics = run_toy(tmp_path / "cut", config)
    assert min(resumed.epochs_seen) == (2 if damaged == "last.ckpt" else 0)
    assert metrics == expected
    assert states_equal(whole, resumed)
    said = capsys.readouterr().err
    assert all(
        f"fit/{name} cannot be read and is set aside as {name[:-5]}.unreadable\n" in said for name in damaged.split()
    )


@pytest.mark.parametrize("ema_decay", [None, 0.9])
def test_fit__best_epoch_before_the_cut_is_remembered(tmp_path: Path, ema_decay: float | None) -> None:
    """After a cut the fit only gets worse: no later epoch may take the place of the best one."""
    config, memory = toy_config(ema_decay=ema_decay), Memory()
    with pytest.raises(RuntimeError, match="power cut"):
        run_toy(tmp_path, config, module=Worsening(config), callbacks=[memory, StopBefore(2)])
    assert memory.val_loss[0] < memory.val_loss[1]
    resumed, metrics = run_toy(tmp_path, config, module=Worsening(config))
    assert 0 not in resumed.epochs_seen
    assert (metrics["epoch"], metrics["epochs"]) == (0, 4)
    assert metrics["val_loss"] == pytest.approx(memory.val_loss[0], abs=1e-6)
    assert torch.equal(resumed.state_dict()["net.0.weight"], memory.weights[0])


def test_fit__cut_in_the_first_epoch_starts_over(tmp_path: Path) -> None:
    whole, expected = run_toy(tmp_path / "whole")
    with pytest.raises(RuntimeError, match="power cut"):
        run_toy(tmp_path / "cut", callbacks=[StopBefore(0)])
    again, metrics = run_toy(tmp_path / "cut")
    assert metrics == expected
    assert states_equal(whole, again)


def test_fit__a_best_checkpoint_of_a_killed_first_epoch_is_replaced(tmp_path: Path) -> None:
    """Killed after best.ckpt was written and before last.ckpt was."""
    whole, expected = run_toy(tmp_path / "whole")
    (tmp_path / "cut" / "fit").mkdir(parents=True)
    stale = torch.load(tmp_path / "whole" / "fit" / "best.ckpt", weights_only=True)
    stale["state_dict"] = {name: value * 0 for name, value in stale["state_dict"].items()}
    torch.save(stale, tmp_path / "cut" / "fit" / "best.ckpt")
    again, metrics = run_toy(tmp_path / "cut")
    assert metrics == expected
    assert states_equal(whole, again)
    assert [path.name for path in (tmp_path / "cut" / "fit").glob("*.ckpt")] == ["best.ckpt"]


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_fit__non_finite_loss_names_epoch_batch_and_images(tmp_path: Path, value: float) -> None:
    class Breaking(ToyModule):
        def losses(self, batch: Batch) -> dict[str, Tensor]:
            values = super().losses(batch)
            breaks = self.training and len(self.epochs_seen) == 5  # epoch 1, its second batch
            self.images = batch["image_id"]
            return {**values, "loss": values["loss"] + value} if breaks else values

    module = Breaking(toy_config())
    with pytest.raises(UserError) as error:
        run_toy(tmp_path, module=module)
    assert f"is {value} in epoch 1, batch 1" in str(error.value)
    assert len(module.images) == 8
    assert all(image in str(error.value) for image in module.images)
    assert not (tmp_path / "fit" / "done.json").exists()


def test_fit__writes_metrics_as_csv(tmp_path: Path) -> None:
    _, metrics = run_toy(tmp_path, toy_config(epochs=3))
    (path,) = (tmp_path / "fit" / "log").glob("*/metrics.csv")
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    for name in ("train_loss", "train_margin", "val_loss", "val_margin"):
        assert sorted(int(row["epoch"]) for row in rows if row[name]) == [0, 1, 2]
    assert min(float(row["val_loss"]) for row in rows if row["val_loss"]) == pytest.approx(metrics["val_loss"])


def test_fit__checkpoints_load_without_pickles(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="power cut"):
        run_toy(tmp_path, toy_config(ema_decay=0.9, patience=3), callbacks=[StopBefore(2)])
    paths = sorted((tmp_path / "fit").glob("*.ckpt"))
    assert [path.name for path in paths] == ["best.ckpt", "last.ckpt", "previous.ckpt"]
    for path in paths:
        assert "net.0.weight" in torch.load(path, map_location="cpu", weights_only=True)["state_dict"]


def test_fit__learning_rate_scales_and_falls_to_zero(tmp_path: Path) -> None:
    class Rates(Callback):
        seen: list[list[float]] = []  # noqa: RUF012

        def on_train_batch_start(self, trainer: pl.Trainer, *_: Any) -> None:
            self.seen.append([group["lr"] for group in trainer.optimizers[0].param_groups])

    config = toy_config(lr=0.1, warmup=0.25)
    module = ToyModule(config)
    parameters = list(module.net.parameters())
    module._groups = [{"params": parameters[:2], "lr_scale": 0.5, "weight_decay": 0.3}, {"params": parameters[2:]}]
    rates = Rates()
    run_toy(tmp_path, config, module=module, callbacks=[rates])
    expected = [0.1 * warmup_cosine(step, total=12, warmup=3) for step in range(12)]
    assert [second for _, second in rates.seen] == pytest.approx(expected)
    assert [first for first, _ in rates.seen] == pytest.approx([rate / 2 for rate in expected])


def test_fit__trains_in_train_mode_whatever_mode_it_is_given(tmp_path: Path) -> None:
    module = ToyModule(toy_config())
    module.eval()
    run_toy(tmp_path, module=module)
    assert len(module.epochs_seen) == 4 * ROWS / 8


@pytest.mark.slow
def test_fit__ctrl_c_reaches_the_caller_and_the_next_call_resumes(tmp_path: Path) -> None:
    config = toy_config(ema_decay=0.5, epochs=6)
    whole, expected = run_toy(tmp_path / "whole", config)
    folder = tmp_path / "cut"
    process = Started(tmp_path / "work", "cut", toy.main, folder, 0.03, "sound")
    wait_for(folder / "fit" / "last.ckpt", process.alive)
    process.send(signal.SIGINT)
    code, _, errors = process.ended()
    assert code == 130, errors
    assert "Traceback" not in errors
    resumed, metrics = run_toy(folder, config)
    assert len(resumed.epochs_seen) < len(whole.epochs_seen)
    assert metrics == expected
    assert states_equal(whole, resumed)


def wandb_records(path: Path) -> list[Any]:
    """The records of a .wandb file: a LevelDB log of protocol buffers behind a header of seven bytes."""
    wandb_internal_pb2: Any = import_module("wandb.proto.wandb_internal_pb2")

    data, offset, parts, records = path.read_bytes(), 7, b"", []
    while offset + 7 <= len(data):
        if 32768 - offset % 32768 < 7:
            offset += 32768 - offset % 32768
            continue
        _, length, kind = struct.unpack_from("<IHB", data, offset)
        parts += data[offset + 7 : offset + 7 + length]
        offset += 7 + length
        if kind in (1, 4):  # the whole of a record, or the last part of one
            record = wandb_internal_pb2.Record()
            record.ParseFromString(parts)
            records.append(record)
            parts = b""
    return records


@pytest.mark.slow
def test_fit__wandb_gets_metrics_and_config_and_nothing_private(
    tmp_path: Path, images: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("WANDB_MODE", "online")  # the config decides, not the environment
    model = tmp_path / "private-model"
    model.mkdir()
    settings = {
        "name": "demo",
        "data": {"format": "csv", "path": "s3://our-bucket/labels.csv", "image_root": "a-customer/images"},
        "teacher": {"model": str(model), "lr": 0.125},
        "students": [{"model": f"local-dir:{model}"}, {"model": "mobilenetv4_conv_small"}, {"model": "our-org/hidden"}],
        "labels": {"names": ["sound", "data"]},
    }
    tracking = TrackingConfig(wandb="offline", project="quality")
    for name in ("first", "second"):
        with named_machine():
            run_toy(tmp_path / name, tracking=tracking, run_config=settings, name=name)
        (path,) = (tmp_path / name / "fit").rglob("*.wandb")
        said = capfd.readouterr().err.splitlines()
        assert said[-1] == f"Weights & Biases: wandb sync {path.parent}"
        assert len(said) == 5, "a line for each epoch, and nothing that wandb has to say"
        records = wandb_records(path)
        (run,) = [record.run for record in records if record.WhichOneof("record_type") == "run"]
        assert (run.display_name, run.project, run.host) == (name, "quality", "")
        config = {update.key: json.loads(update.value_json) for update in run.config.update}
        assert config["teacher"]["lr"] == 0.125
        assert config["labels"] == {"names": ["sound", "data"]}
        assert config["students"][1]["model"] == "mobilenetv4_conv_small"
        histories = [record.history for record in records if record.WhichOneof("record_type") == "history"]
        logged = [{item.nested_key[0] or item.key: json.loads(item.value_json) for item in h.item} for h in histories]
        assert [row["epoch"] for row in logged if "train_loss" in row] == [0, 1, 2, 3]
        assert [row["epoch"] for row in logged if "val_margin" in row] == [0, 1, 2, 3]
        assert any(record.WhichOneof("record_type") == "exit" for record in records), "the run was not finished"

        private = [
            str(images),
            "our-bucket",
            "private-model",
            "our-org",
            "hidden",
            "a-customer",
            "secret-image",
            sys.argv[0],
            sys.executable,
            "toy.py",
        ]
        private += [path.stem for path in images.rglob("*.png")]
        sent = {name: data for name, data in files_below(path.parent).items() if not name.startswith("logs/")}
        assert all(word.encode() not in data for word in private for data in sent.values())
        everything = b"".join(str(record).encode() for record in records)
        assert not [word for word in (HOST, USER) if word.encode() in everything]
        assert not [name for name in sent if not name.endswith(".wandb")], "only the record of metrics is sent"
        logs = b"".join(data for name, data in files_below(path.parent).items() if name.startswith("logs/"))
        assert str(images).encode() not in logs


@pytest.mark.slow
def test_fit__online_tracking_without_a_key_is_the_users_to_put_right(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "none"))
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")
    with pytest.raises(UserError, match=r"tracking\.wandb is online: No API key"):
        run_toy(tmp_path, tracking=TrackingConfig(wandb="online"))
