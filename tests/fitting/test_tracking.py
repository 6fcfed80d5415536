from pathlib import Path
from typing import Any

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from run.config import TrackingConfig
from tests.fitting.toy import run_toy


def test_loggers__tensorboard(tmp_path: Path) -> None:
    run_toy(tmp_path, tracking=TrackingConfig(tensorboard=True))
    (folder,) = (tmp_path / "fit" / "tensorboard").iterdir()
    events: Any = EventAccumulator(str(folder))
    events.Reload()
    losses = [event.value for event in events.Scalars("val_loss")]
    assert len(losses) == 4
    assert losses[-1] < losses[0]
