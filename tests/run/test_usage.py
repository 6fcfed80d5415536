import re

import pytest

from run.usage import duration, peak_memory


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0.04, "0.0 s"), (59.4, "59.4 s"), (75.2, "1 min 15 s"), (3599.6, "1 h 0 min"), (7384, "2 h 3 min")],
)
def test_duration(seconds: float, said: str) -> None:
    assert duration(seconds) == said


def test_peak_memory__of_this_process() -> None:
    found = re.match(r"(\d+\.\d) GB", peak_memory())
    assert found
    assert 0 < float(found[1]) < 64
