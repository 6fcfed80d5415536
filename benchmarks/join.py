"""Put together what several runs of ``benchmarks.quality`` found, seed by seed.

``python -m benchmarks.join a.json b.json ... [--base "drawings: ours"]``

Each file is what one run printed. Runs may share the seeds of one arm, or the arms of one seed; they must have the same
data, teacher, student, time, clock and number of views. Students of one seed have the same first weights, so that
differences are paired: with the base of the same run, or where that has none, with another run's.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

from benchmarks import common
from benchmarks.tasks import differences, intervals

Score: TypeAlias = Mapping[str, float]
Scores: TypeAlias = dict[str, dict[int, Score]]
"""By ``data: arm`` and seed, what one student reached."""

ALIKE = ("seconds", "teacher", "student", "size", "labeled_images", "unlabeled_images", "test_images")
"""What runs over one data set have in common."""
SHARES = ("accuracy", "agreement")


def main() -> None:
    """Print a line for each arm on standard error, and one JSON object."""
    parser = common.parser_of(__doc__)
    parser.add_argument("files", nargs="+", type=Path)
    parser.add_argument("--base", help="the arm that all others are compared with; the first one by default")
    given = parser.parse_args()
    runs = [json.loads(path.read_text(encoding="utf-8").splitlines()[-1]) for path in given.files]
    require_alike(runs)
    found = [scores_of(run) for run in runs]
    base = given.base or next(iter(found[0]))
    scores = joined(found, base)
    if base not in scores:
        parser.error(f"--base {base}: the arms are {', '.join(scores)}")
    arms: dict[str, Any] = {arm: intervals(list(seeds.values())) for arm, seeds in scores.items()}
    for arm, pairs in paired(found, base, scores[base]).items():
        if arm != base and pairs:
            ahead = differences([own for own, _ in pairs], [other for _, other in pairs])
            arms[arm] |= {f"{key}, ahead of the base": value for key, value in ahead.items()}
        common.say(f"{arm} ({len(scores[arm])} seeds): {in_words(arms[arm])}")
    machines = "; ".join(sorted({run["machine"] for run in runs}))
    common.report("join", ratio=None, against=base, machine=machines, arms=arms, scores=scores)


def require_alike(runs: Sequence[Mapping[str, Any]]) -> None:
    """Refuse runs that cannot be compared."""
    first: dict[str, Any] = {}
    for run in runs:
        for name, data in run["data"].items():
            facts = {key: data[key] for key in ALIKE} | {key: run[key] for key in ("views", "clock")}
            facts["teacher"] = {key: value for key, value in facts["teacher"].items() if key != "seconds"}
            if first.setdefault(name, facts) != facts:
                raise SystemExit(f"{name}: these runs are not alike: {first[name]} and {facts}")


def scores_of(run: Mapping[str, Any]) -> Scores:
    """The scores of one run."""
    return {
        f"{name}: {arm}": dict(enumerate(found, run["first_seed"]))
        for name, data in run["data"].items()
        for arm, found in data["scores"].items()
    }


def joined(found: Sequence[Scores], base: str) -> Scores:
    """All scores; of the base, which several runs may have on the same seed, the first run's."""
    scores: Scores = {}
    for run in found:
        for arm, seeds in run.items():
            known = scores.setdefault(arm, {})
            if arm != base and known.keys() & seeds.keys():
                raise SystemExit(f"{arm}: two runs have seed {min(known.keys() & seeds.keys())}")
            scores[arm] = seeds | known
    return scores


def paired(found: Sequence[Scores], base: str, of_others: Mapping[int, Score]) -> dict[str, list[tuple[Score, Score]]]:
    """By arm, each seed's score with that of the base."""
    pairs: dict[str, list[tuple[Score, Score]]] = {}
    for run in found:
        control = {**of_others, **run.get(base, {})}
        for arm, seeds in run.items():
            pairs.setdefault(arm, []).extend((score, control[seed]) for seed, score in seeds.items() if seed in control)
    return pairs


def in_words(figures: Mapping[str, Mapping[str, float | None]]) -> str:
    """Intervals, those of shares in percent."""
    words = []
    for key, value in figures.items():
        scale = 100 if key.startswith(SHARES) else 1
        mean, half = ((value[part] or 0.0) * scale for part in ("mean", "plus_minus"))
        words.append(f"{key} {mean:.1f} ± {half:.1f}")
    return ", ".join(words)


if __name__ == "__main__":
    main()
