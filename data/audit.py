"""The audit: what was found in the images and labels, for people to read before they train on them."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import pyarrow.compute as pc
from numpy.typing import NDArray
from rich.table import Table
from scipy.stats import chi2_contingency
from scipy.stats.contingency import association

from data.groups import Groups
from data.labels import THRESHOLD
from data.manifest import LEFT_OUT, OK, SPLITS, Manifest
from run.console import console, log
from run.errors import UserError, listed
from run.files import Json

EXAMPLES = 50
"""How many of a kind are listed in audit.json; all are counted, and refused files are all listed."""
FEW_TO_TRAIN = 20
"""Fewer training images of a label than this are pointed out."""
FEW_TO_TEST = 30
"""Fewer test images of a label than this are pointed out: its recall is known to about ±18 points at best."""
EXTREME_ASPECT = 4.0
"""Longer side over shorter side."""
TINY_SIDE = 32
"""Pixels."""
COMMON_SIZES = 20
"""Sizes that are told apart when labels are held against them; the rest counts as one."""
TELLING = 0.3
"""Cramér's V between size and label above which a model may learn the size instead of the picture."""
CHANCE = 0.001
"""The p-value that such a link must stay below."""


@dataclass(frozen=True)
class Promise:
    """What verification will ask of the test split."""

    agreement: float
    confidence: float

    @property
    def images(self) -> int:
        """How many test images show it if the student never differs from its teacher (the exact binomial bound)."""
        return math.ceil(math.log(1 - self.confidence) / math.log(self.agreement))


def audit(manifest: Manifest, groups: Groups, crossing: NDArray[np.bool_], promise: Promise | None) -> dict[str, Json]:
    """Everything worth knowing about a manifest, as JSON.

    Args:
        manifest: all rows, those that take no part too.
        groups: of its rows.
        crossing: rows whose duplicates the source gives to another split.
        promise: what verification will ask; null leaves the count of test images without a need beside it.
    """
    status = manifest.table.column("status")
    usable = np.asarray(pc.equal(status, OK), bool)
    kinds = {kind: np.asarray(pc.starts_with(status, prefix), bool) for kind, prefix in LEFT_OUT.items()}
    refused = np.flatnonzero(~usable & ~np.logical_or.reduce(list(kinds.values())))
    images, totals = _counts(manifest)
    return {
        "format": 2,
        "rows": len(manifest),
        "images": images,
        "totals": totals,
        "refused": {"images": len(refused), "examples": _reasons(manifest, refused)},
        **{
            kind: {"images": int(rows.sum()), "examples": _reasons(manifest, np.flatnonzero(rows)[:EXAMPLES])}
            for kind, rows in kinds.items()
        },
        "same_picture": _clusters(manifest, groups.pixels, usable),
        "near_duplicates": _clusters(manifest, groups.near, usable & _first_of(groups.pixels)),
        "leakage": {
            "images": int(crossing.sum()),
            "examples": _examples(manifest.table.column("uri"), np.flatnonzero(crossing)),
        },
        "small_classes": _small_classes(images),
        "votes": _votes(manifest),
        "sizes": _sizes(manifest),
        "test": {"images": _test_images(manifest, groups, usable), **({} if promise is None else _needed(promise))},
    }


def _reasons(manifest: Manifest, rows: NDArray[np.intp]) -> list[Json]:
    part = manifest.table.select(["uri", "status"]).take(rows)
    return [{"uri": row["uri"], "reason": row["status"]} for row in part.to_pylist()]


def _counts(manifest: Manifest) -> tuple[dict[str, Json], dict[str, Json]]:
    """Images by split and label (the likeliest one, or every likely one in a multilabel set), and by split."""
    images: dict[str, Json] = {}
    totals: dict[str, Json] = {}
    for split in SPLITS:
        part = manifest.usable(split)
        targets = part.targets()[part.labeled()]
        likely = targets >= THRESHOLD if manifest.labels.kind == "multilabel" else _one_hot(targets)
        images[split] = dict(zip(manifest.labels.names, likely.sum(0).tolist(), strict=True))
        totals[split] = len(part)
    return images, totals


def _one_hot(targets: NDArray[np.float32]) -> NDArray[np.bool_]:
    return np.asarray(np.arange(targets.shape[1]) == targets.argmax(1)[:, None])


def _test_images(manifest: Manifest, groups: Groups, usable: NDArray[np.bool_]) -> int:
    """Test images that count: one of each group."""
    test = np.asarray(pc.equal(manifest.table.column("split"), "test"), bool)
    return len(np.unique(groups.group[test & usable]))


def _needed(promise: Promise) -> dict[str, Json]:
    return {"agreement": promise.agreement, "confidence": promise.confidence, "needed": promise.images}


def _first_of(codes: NDArray[np.integer]) -> NDArray[np.bool_]:
    first = np.zeros(len(codes), bool)
    first[np.unique(codes, return_index=True)[1]] = True
    return first


def _clusters(manifest: Manifest, codes: NDArray[np.integer], among: NDArray[np.bool_]) -> dict[str, Json]:
    """Rows that share a number: how many, in how many clusters, and examples, those across several splits first."""
    rows = np.flatnonzero(among & (codes >= 0))
    rows = rows[np.argsort(codes[rows], kind="stable")]
    starts = np.flatnonzero(np.diff(codes[rows], prepend=-1))
    if not len(rows):
        return {"images": 0, "clusters": 0, "crossing_splits": 0, "examples": []}
    split = _split_numbers(manifest)[rows]
    crossing = np.minimum.reduceat(split, starts) != np.maximum.reduceat(split, starts)
    clusters = np.split(rows, starts[1:])
    shared = np.array([len(cluster) > 1 for cluster in clusters])
    first = [*np.flatnonzero(shared & crossing), *np.flatnonzero(shared & ~crossing)][:EXAMPLES]
    uris, splits = manifest.table.column("uri"), manifest.table.column("split")
    return {
        "images": int(sum(len(cluster) for cluster in clusters if len(cluster) > 1)),
        "clusters": int(shared.sum()),
        "crossing_splits": int((shared & crossing).sum()),
        "examples": [
            [{"uri": uris[row].as_py(), "split": splits[row].as_py()} for row in clusters[at][:EXAMPLES].tolist()]
            for at in first
        ],
    }


def _split_numbers(manifest: Manifest) -> NDArray[np.int64]:
    numbers = {split: number for number, split in enumerate(SPLITS)}
    return np.array([numbers[split] for split in manifest.column("split")], np.int64)


def _examples(column: Any, rows: NDArray[np.intp]) -> list[Json]:
    return [column[row].as_py() for row in rows[:EXAMPLES].tolist()]


def _small_classes(images: dict[str, Json]) -> list[Json]:
    counts = cast("dict[str, dict[str, int]]", images)
    return [
        {"label": label, "split": split, "images": n}
        for split, few in (("train", FEW_TO_TRAIN), ("test", FEW_TO_TEST))
        for label, n in counts[split].items()
        if n < few
    ]


def _votes(manifest: Manifest) -> dict[str, Json]:
    """How often annotators disagree, and where most."""
    table = manifest.table.filter(manifest.table.column("votes").is_valid())
    if not len(table):
        return {"images": 0}
    votes = np.array(table.column("votes").to_pylist(), np.float64)
    share = Manifest(manifest.labels, table).targets().astype(np.float64)
    doubt = (share * (1 - share)).sum(1)  # the chance that two annotators differ, summed over labels
    order = np.argsort(-doubt, kind="stable")[:EXAMPLES]
    most: list[Json] = [
        {"uri": table.column("uri")[row].as_py(), "votes": dict(zip(manifest.labels.names, votes[row], strict=True))}
        for row in order.tolist()
        if doubt[row] > 0
    ]
    return {"images": len(votes), "disagree": int((doubt > 0).sum()), "most": most}


def _sizes(manifest: Manifest) -> dict[str, Json]:
    part = manifest.usable(*SPLITS)
    if not len(part):
        return {}
    sides = np.stack([part.table.column(name).to_numpy() for name in ("width", "height")], axis=1)
    shorter, longer = sides.min(1), sides.max(1)
    sizes, code, count = np.unique(sides, axis=0, return_inverse=True, return_counts=True)
    order = np.argsort(-count, kind="stable")[:COMMON_SIZES]
    common: list[Json] = [
        {"width": int(sizes[at, 0]), "height": int(sizes[at, 1]), "images": int(count[at])} for at in order
    ]
    extreme, tiny = np.flatnonzero(longer > EXTREME_ASPECT * shorter), np.flatnonzero(shorter < TINY_SIDE)
    uris = part.table.column("uri")
    rank = np.full(len(sizes), len(order))
    rank[order] = np.arange(len(order))
    return {
        "shorter_side": {"least": int(shorter.min()), "median": float(np.median(shorter)), "most": int(shorter.max())},
        "distinct": len(sizes),
        "common": common,
        "extreme_aspect": {"images": len(extreme), "examples": _examples(uris, extreme)},
        "tiny": {"images": len(tiny), "examples": _examples(uris, tiny)},
        "tell_labels": _telling(part, rank[code.reshape(-1)], common),
    }


def _telling(part: Manifest, cluster: NDArray[np.integer], common: list[Json]) -> list[Json]:
    """Labels whose images come in sizes of their own (Cramér's V, chi-squared test)."""
    labeled = part.labeled()
    targets, cluster = part.targets()[labeled] >= THRESHOLD, cluster[labeled]
    found: list[Json] = []
    for index, label in enumerate(part.labels.names):
        counts = np.array([np.bincount(cluster[targets[:, index] == has], minlength=len(common) + 1) for has in (0, 1)])
        counts = counts[:, counts.sum(0) > 0]
        if counts.shape[1] < 2 or not counts.sum(1).all():
            continue
        strength = float(association(counts, method="cramer"))
        if strength > TELLING and chi2_contingency(counts).pvalue < CHANCE:
            found.append({"label": label, "cramers_v": round(strength, 3)})
    return found


def require_images(found: dict[str, Json], labels: Iterable[str]) -> None:
    """Refuse data that nothing can be trained on or judged by.

    Raises:
        UserError: a split has no images, or a label no training images.
    """
    totals, images = (cast("dict[str, Any]", found[key]) for key in ("totals", "images"))
    for split in ("train", "val", "calibration", "test"):
        if not totals[split]:
            raise UserError(f"the {split} split has no images: add images, or raise data.splits.{split}")
    empty = [name for name in labels if not images["train"][name]]
    if empty:
        raise UserError(f"no training images for {', '.join(empty)}: add some, or take the label out of labels.names")


def show(found: dict[str, Any]) -> None:
    """Print the counts as a table and what needs a look as lines."""
    splits = [split for split in SPLITS if found["totals"][split] or split != "unlabeled"]
    table = Table(title="images", title_justify="left")
    table.add_column("label")
    for split in splits:
        table.add_column(split, justify="right")
    for name in found["images"]["train"]:
        table.add_row(name, *("" if split == "unlabeled" else f"{found['images'][split][name]:,}" for split in splits))
    table.add_section()
    table.add_row("images", *(f"{found['totals'][split]:,}" for split in splits))
    console.print(table)
    lines = list(_remarks(found))
    if lines:
        log.print("worth a look (audit.json has the rest):\n" + listed(lines, limit=20), soft_wrap=True)


def _remarks(found: dict[str, Any]) -> Iterable[str]:
    for kind in ("refused", *LEFT_OUT):
        if found[kind]["images"]:
            first = found[kind]["examples"][0]
            yield f"{found[kind]['images']:,} files take no part, the first: {first['uri']}: {first['reason']}"
    yield from _duplicate_remarks(found)
    for row in found["small_classes"]:
        yield f"{row['label']}: only {row['images']} {row['split']} images"
    votes, test = found["votes"], found["test"]
    if votes.get("disagree"):
        yield f"annotators disagree on {votes['disagree']:,} of {votes['images']:,} images"
    yield from _size_remarks(found["sizes"])
    if test.get("needed", 0) > test["images"]:
        yield (
            f"{test['images']:,} test images cannot show an agreement of {test['agreement']:.1%}: "
            f"{test['needed']:,} are needed even if student and teacher never differ"
        )


def _duplicate_remarks(found: dict[str, Any]) -> Iterable[str]:
    if found["leakage"]["images"]:
        yield f"{found['leakage']['images']:,} images have duplicates in another given split (data.allow_leakage)"
    near = found["near_duplicates"]
    if near["images"]:
        yield (
            f"{near['images']:,} images are near-duplicates of another, in {near['clusters']:,} clusters, "
            f"{near['crossing_splits']:,} of them across splits (`data.near_duplicates: group` keeps each in one)"
        )


def _size_remarks(sizes: dict[str, Any]) -> Iterable[str]:
    for row in sizes.get("tell_labels", []):
        yield f"{row['label']}: its images come in sizes of their own (Cramér's V {row['cramers_v']})"
    for key, what in (("extreme_aspect", "longer than 4:1"), ("tiny", f"below {TINY_SIDE} pixels")):
        if sizes.get(key, {}).get("images"):
            yield f"{sizes[key]['images']:,} images are {what}, the first: {sizes[key]['examples'][0]}"
