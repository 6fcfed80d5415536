"""What more cores bring to ``prepare``, ``export`` and ``verify``: whole processes, on 1, 2, 4, … cores and on all.

``python -m benchmarks.cores [--turns 2]``, on Linux. Needs the ``demo`` extra. The demo is prepared, trained and
distilled once, for an epoch each; each verb begins from there. ``export`` holds the comparison with PyTorch, the gates
of fp16 and INT8, and the golden kits. Seconds hold the start of Python and its imports, which no core makes faster.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import yaml

from benchmarks import common
from benchmarks.tasks import DEMO
from pocketeva import NOT_VERIFIED

TREE = Path(__file__).resolve().parents[1]
CONFIG = "demo.yaml"


def main() -> None:
    """Measure and print one JSON object."""
    given = common.parser_of(__doc__, "turns", turns=2).parse_args()
    counts = common.core_counts()
    cores = counts[-1]
    with common.scratch() as root:
        base = root / "base"
        base.mkdir()
        write_config(base / CONFIG)
        for verb in ("prepare", "train", "distill"):
            seconds_of(base, verb, cores)
        turns = [{count: from_there(base, root / "own", count) for count in counts} for _ in range(given.turns)]
    seconds = {count: {verb: min(turn[count][verb] for turn in turns) for verb in turns[0][count]} for count in counts}
    common.report(
        "cores",
        ratio=sum(seconds[1].values()) / sum(seconds[cores].values()),
        against="the same verbs on one core: seconds there over seconds on all",
        machine=common.machine(),
        seconds=seconds,
        speedup={verb: round(alone / seconds[cores][verb], 2) for verb, alone in seconds[1].items()},
    )


def write_config(path: Path) -> None:
    """The demo, trained for an epoch: how long the verbs here take does not depend on what was learned."""
    config = yaml.safe_load(DEMO.read_text(encoding="utf-8"))
    for fit in (config["teacher"]["full"], *(student["fit"] for student in config["students"])):
        fit["epochs"] = 1
    path.write_text(yaml.safe_dump(config), encoding="utf-8")


def from_there(base: Path, own: Path, cores: int) -> dict[str, float]:
    """Seconds of each verb on so many cores, in a copy of a run whose student is trained."""
    own.mkdir()
    shutil.copy(base / CONFIG, own)
    seconds = {"prepare": seconds_of(own, "prepare", cores)}
    shutil.rmtree(own)
    shutil.copytree(base, own)
    for verb in ("export", "verify"):
        seconds[verb] = seconds_of(own, verb, cores)
    shutil.rmtree(own)
    common.say(f"{cores} cores: {seconds}")
    return seconds


def seconds_of(folder: Path, verb: str, cores: int) -> float:
    """Seconds of a verb in a folder, as a user starts it, on some of the cores."""
    some = sorted(os.sched_getaffinity(0))[:cores]
    command = ["taskset", "--cpu-list", ",".join(map(str, some)), sys.executable, "-m", "pocketeva", verb, CONFIG]
    environment = {**os.environ, "PYTHONPATH": str(TREE)}
    done = common.timed(lambda: subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True))
    if done.value.returncode not in (0, NOT_VERIFIED):
        raise SystemExit(f"{verb} failed:\n{done.value.stderr}")
    return round(done.seconds, 1)


if __name__ == "__main__":
    main()
