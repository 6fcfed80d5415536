"""Put together what several runs of ``benchmarks.quality`` found, seed by seed.

``python -m benchmarks.join a.json b.json ... [--base "drawings: ours"]``

Each file is what one run printed. Runs that share the seeds of one arm, or the arms of one seed, must have measured
for as long; students of one seed have the same first weights in each, so that their differences are paired.
"""

import json
from pathlib import Path
from typing import Any, TypeAlias

from benchmarks import common
from benchmarks.tasks import differences, intervals

Scores: TypeAlias = dict[str, dict[int, dict[str, float]]]
"""By ``data: arm`` and seed, what one student reached."""


def main() -> None:
    """Print a table on standard error and one JSON object."""
    parser = common.parser_of(__doc__)
    parser.add_argument("files", nargs="+", type=Path)
    parser.add_argument("--base", help="the arm that all others are compared with; the first one by default")
    given = parser.parse_args()
    runs = [json.loads(path.read_text(encoding="utf-8").splitlines()[-1]) for path in given.files]
    scores = joined(runs)
    base = given.base or next(iter(scores))
    if base not in scores:
        parser.error(f"--base {base}: the arms are {', '.join(scores)}")
    found = {arm: summary(seeds, scores[base]) for arm, seeds in scores.items()}
    for arm, figures in found.items():
        common.say(f"{arm} ({len(scores[arm])} seeds): " + ", ".join(f"{key} {of(figures[key])}" for key in figures))
    machines = sorted({run["machine"] for run in runs})
    common.report("join", ratio=None, against=base, machine="; ".join(machines), arms=found, scores=scores)


def joined(runs: list[dict[str, Any]]) -> Scores:
    """The scores of all runs.

    Raises:
        SystemExit: two runs gave one arm unlike seconds, or both have the same seed of it.
    """
    scores: Scores = {}
    seconds: dict[str, float] = {}
    for run in runs:
        for name, data in run["data"].items():
            for arm, found in data["scores"].items():
                key = f"{name}: {arm}"
                given = data["seconds"]
                if seconds.setdefault(key, given) != given:
                    raise SystemExit(f"{key}: {seconds[key]:g} seconds in one run, {given:g} in another")
                for seed, score in enumerate(found, run["first_seed"]):
                    if seed in scores.setdefault(key, {}):
                        raise SystemExit(f"{key}: two runs have seed {seed}")
                    scores[key][seed] = score
    return scores


def summary(seeds: dict[int, dict[str, float]], base: dict[int, dict[str, float]]) -> dict[str, Any]:
    """Intervals of an arm's figures and, where it is not the base, of how far it is ahead of it on the same seeds."""
    found: dict[str, Any] = intervals(list(seeds.values()))
    shared = sorted(seeds.keys() & base.keys())
    if seeds is not base and shared:
        ahead = differences([seeds[seed] for seed in shared], [base[seed] for seed in shared])
        found |= {f"{key}, ahead of the base": value for key, value in ahead.items()}
    return found


def of(value: dict[str, float | None]) -> str:
    """An interval in words: percent where it is of shares."""
    mean, half = value["mean"], value["plus_minus"]
    assert mean is not None
    scale, digits = (100, 1) if abs(mean) <= 1 else (1, 0)
    return f"{scale * mean:.{digits}f}" + ("" if half is None else f" ± {scale * half:.{digits}f}")


if __name__ == "__main__":
    main()
