"""From a manifest to its audit: counts, duplicates, disagreement, and sizes that give labels away."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from data.audit import (
    FORMAT,
    Audit,
    Clusters,
    CommonSize,
    Examples,
    Member,
    Promise,
    Range,
    Refusal,
    Refusals,
    SampleSize,
    Sizes,
    SmallClass,
    TellingSize,
    Votes,
    VotesOfImage,
)
from data.groups import Groups
from data.labels import LabelSet
from data.manifest import LEFT_OUT, OK, SPLITS, Manifest

EXAMPLES = 50
"""Images of a kind that are listed at most; all are counted, and refused files are all listed."""
FEW = {"train": 20, "test": 30}
"""Fewer images of a label than this are pointed out; with 30 for testing, its recall is known to about ±18 points."""
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

Rows = NDArray[np.bool_]
"""Rows that are meant, as a mask [N]."""


def examine(manifest: Manifest, groups: Groups, crossing: Rows, promise: Promise | None) -> Audit:
    """The audit of a manifest.

    Args:
        manifest: all rows, those that take no part too.
        crossing: rows whose duplicates the source gives to another split.
        promise: what verification will ask; null leaves the count of test images without a need beside it.
    """
    status = manifest.table.column("status")
    usable = np.asarray(pc.equal(status, OK), bool)
    left_out = {kind: np.asarray(pc.starts_with(status, prefix), bool) for kind, prefix in LEFT_OUT.items()}
    # Whatever is neither used nor left out for a reason of ours is what the decoder said.
    refused = ~usable & ~np.logical_or.reduce(list(left_out.values()))
    images = _images_by_label(manifest)
    return Audit(
        format=FORMAT,
        rows=len(manifest),
        images=images,
        totals={split: len(manifest.usable(split)) for split in SPLITS},
        refused=_refusals(manifest, refused, limit=len(manifest)),
        **{kind: _refusals(manifest, rows, EXAMPLES) for kind, rows in left_out.items()},
        same_picture=_clusters(manifest, groups.pixels, usable),
        # One row stands for those of equal pixels, which are listed above.
        near_duplicates=_clusters(manifest, groups.near, usable & _first_of(groups.pixels)),
        leakage=_examples(manifest.table, crossing),
        small_classes=[
            SmallClass(label, split, count)
            for split, few in FEW.items()
            for label, count in images[split].items()
            if count < few
        ],
        votes=_votes(manifest),
        tied={split: _tied(manifest.usable(split)) for split in SPLITS},
        sizes=_sizes(manifest.usable(*SPLITS)),
        test=_test_images(manifest, groups, usable, promise),
        revisions={},
    )


def _refusals(manifest: Manifest, rows: Rows, limit: int) -> Refusals:
    part = manifest.table.select(["uri", "status"]).take(np.flatnonzero(rows)[:limit])
    return Refusals(int(rows.sum()), [Refusal(row["uri"], row["status"]) for row in part.to_pylist()])


def _images_by_label(manifest: Manifest) -> dict[str, dict[str, int]]:
    """Images by split and true label, or each of several in a multilabel set."""
    images: dict[str, dict[str, int]] = {}
    for split in SPLITS:
        part = manifest.usable(split)
        targets = part.targets()[part.labeled()]
        images[split] = dict(zip(manifest.labels.names, _true(targets, manifest.labels).sum(0).tolist(), strict=True))
    return images


def _true(targets: NDArray[np.float32], labels: LabelSet) -> NDArray[np.bool_]:
    """The true labels [N, C] of labeled rows; none where votes tie."""
    true = np.zeros(targets.shape, np.bool_)
    told = labels.has_truth(targets)
    truth = labels.truth(targets[told])
    true[told] = truth[:, None] == np.arange(len(labels)) if labels.exclusive else truth
    return true


def _test_images(manifest: Manifest, groups: Groups, usable: Rows, promise: Promise | None) -> SampleSize:
    test = np.asarray(pc.equal(manifest.table.column("split"), "test"), bool)
    # Images of one group are no independent trials: each group counts once.
    images = len(np.unique(groups.group[test & usable]))
    if promise is None:
        return SampleSize(images)
    return SampleSize(images, promise.agreement, promise.confidence, promise.images, promise.may_differ(images))


def _first_of(codes: NDArray[np.integer]) -> Rows:
    first = np.zeros(len(codes), bool)
    first[np.unique(codes, return_index=True)[1]] = True
    return first


def _clusters(manifest: Manifest, codes: NDArray[np.integer], among: Rows) -> Clusters:
    """Rows that share a number, those across several splits first among the examples."""
    rows = np.flatnonzero(among & (codes >= 0))
    if not len(rows):
        return Clusters(0, 0, 0, [])
    rows = rows[np.argsort(codes[rows], kind="stable")]
    starts = np.flatnonzero(np.diff(codes[rows], prepend=-1))
    split = pc.index_in(manifest.table.column("split"), value_set=pa.array(SPLITS)).to_numpy()[rows]
    crossing = np.minimum.reduceat(split, starts) != np.maximum.reduceat(split, starts)
    sizes = np.diff(starts, append=len(rows))
    shared = sizes > 1
    first = [*np.flatnonzero(shared & crossing), *np.flatnonzero(shared & ~crossing)][:EXAMPLES]
    examples = [rows[starts[at] : starts[at] + sizes[at]][:EXAMPLES] for at in first]
    named = manifest.table.select(["uri", "split"])
    return Clusters(
        images=int(sizes[shared].sum()),
        clusters=int(shared.sum()),
        crossing_splits=int((shared & crossing).sum()),
        examples=[[Member(**row) for row in named.take(at).to_pylist()] for at in examples],
    )


def _examples(table: pa.Table, rows: Rows) -> Examples:
    return Examples(int(rows.sum()), table.column("uri").take(np.flatnonzero(rows)[:EXAMPLES]).to_pylist())


def _tied(part: Manifest) -> int:
    return int((~part.labels.has_truth(part.targets()[part.labeled()])).sum())


def _votes(manifest: Manifest) -> Votes:
    table = manifest.table.filter(manifest.table.column("votes").is_valid())
    if not len(table):
        return Votes(0)
    share = Manifest(manifest.labels, table).targets().astype(np.float64)
    doubt = (share * (1 - share)).sum(1)  # the chance that two annotators differ, summed over labels
    order = np.argsort(-doubt, kind="stable")[: min(EXAMPLES, int((doubt > 0).sum()))]
    most = table.select(["uri", "votes"]).take(order).to_pylist()
    return Votes(
        images=len(table),
        disagree=int((doubt > 0).sum()),
        most=[VotesOfImage(row["uri"], dict(zip(manifest.labels.names, row["votes"], strict=True))) for row in most],
    )


def _sizes(part: Manifest) -> Sizes | None:
    if not len(part):
        return None
    sides = np.stack([part.table.column(name).to_numpy() for name in ("width", "height")], axis=1)
    shorter = sides.min(1)
    sizes, code, count = np.unique(sides, axis=0, return_inverse=True, return_counts=True)
    order = np.argsort(-count, kind="stable")[:COMMON_SIZES]
    rank = np.full(len(sizes), len(order))
    rank[order] = np.arange(len(order))
    return Sizes(
        shorter_side=Range(int(shorter.min()), float(np.median(shorter)), int(shorter.max())),
        distinct=len(sizes),
        common=[CommonSize(int(sizes[at, 0]), int(sizes[at, 1]), int(count[at])) for at in order],
        extreme_aspect=_examples(part.table, sides.max(1) > EXTREME_ASPECT * shorter),
        tiny=_examples(part.table, shorter < TINY_SIDE),
        tell_labels=_telling(part, rank[code.reshape(-1)]),
    )


def _telling(part: Manifest, size: NDArray[np.integer]) -> list[TellingSize]:
    """Labels whose images come in sizes of their own (Cramér's V, chi-squared test), by each row's size [N]."""
    from scipy.stats import chi2_contingency  # seconds, which a wrong path in the config need not wait for
    from scipy.stats.contingency import association

    labeled = part.labeled()
    true = _true(part.targets()[labeled], part.labels)
    size = size[labeled]
    found: list[TellingSize] = []
    for index, label in enumerate(part.labels.names):
        counts = np.array([np.bincount(size[true[:, index] == has], minlength=COMMON_SIZES + 1) for has in (0, 1)])
        # A size or a label that no image has would make an expected count of 0, and the test undefined.
        counts = counts[:, counts.sum(0) > 0]
        if counts.shape[1] < 2 or not counts.sum(1).all():
            continue
        strength = float(association(counts, method="cramer"))
        if strength > TELLING and chi2_contingency(counts).pvalue < CHANCE:
            found.append(TellingSize(label, round(strength, 3)))
    return found
