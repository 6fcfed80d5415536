"""The audit in the terminal: a table of counts, and a line for each thing worth a look."""

from collections.abc import Iterator

from rich.table import Table

from data.audit import Audit, Sizes
from data.examine import EXTREME_ASPECT, TINY_SIDE
from data.manifest import SPLITS
from run.console import log, show_table
from run.errors import listed, plural


def show(audit: Audit) -> None:
    """Print both."""
    splits = [split for split in SPLITS if audit.totals[split] or split != "unlabeled"]
    table = Table(title="images", title_justify="left")
    table.add_column("label")
    for split in splits:
        table.add_column(split, justify="right")
    for name in audit.images["train"]:
        table.add_row(name, *("" if split == "unlabeled" else f"{audit.images[split][name]:,}" for split in splits))
    table.add_section()
    table.add_row("images", *(f"{audit.totals[split]:,}" for split in splits))
    show_table(table)
    lines = list(_remarks(audit))
    if lines:
        log.print("worth a look (audit.json has the rest):\n" + listed(lines, limit=20), soft_wrap=True)


def _remarks(audit: Audit) -> Iterator[str]:
    yield from _refused(audit)
    yield from _duplicates(audit)
    for row in audit.small_classes:
        yield f"{row.label}: only {plural(row.images, f'{row.split} image')}"
    if audit.votes.disagree:
        yield f"annotators disagree on {audit.votes.disagree:,} of {plural(audit.votes.images, 'image')}"
    tied = sum(audit.tied.values())
    if tied:
        where = ", ".join(f"{count:,} in {split}" for split, count in audit.tied.items() if count)
        yield (
            f"{plural(tied, 'image has', 'images have')} no single true label, because votes tie ({where}): what is "
            "learned from them is the tie, and they count in no figure that asks what is right"
        )
    if audit.sizes is not None:
        yield from _odd_sizes(audit.sizes)
    test = audit.test
    if test.needed is not None and test.needed > test.images:
        yield (
            f"{plural(test.images, 'test image')} cannot show an agreement of {test.agreement:.1%}: "
            f"{test.needed:,} are needed even if student and teacher never differ"
        )
    if test.may_differ is not None:
        yield (
            f"{plural(test.images, 'test image')} show an agreement of {test.agreement:.1%} if student and teacher "
            f"differ on at most {test.may_differ:,} of them"
        )


def _refused(audit: Audit) -> Iterator[str]:
    for refusals in (audit.refused, audit.duplicates, audit.near_duplicates_of_held_out, audit.conflicts, audit.torn):
        if refusals.images:
            first = refusals.examples[0]
            count = plural(refusals.images, "file takes", "files take")
            yield f"{count} no part, the first: {first.uri}: {first.reason}"


def _duplicates(audit: Audit) -> Iterator[str]:
    if audit.leakage.images:
        count = plural(audit.leakage.images, "image has", "images have")
        yield f"{count} duplicates in another given split (data.allow_leakage)"
    near = audit.near_duplicates
    if near.images:
        yield (
            f"{near.images:,} images are near-duplicates of another, in {plural(near.clusters, 'cluster')}, "
            f"{near.crossing_splits:,} of them across splits (`data.near_duplicates: group` keeps each in one)"
        )


def _odd_sizes(sizes: Sizes) -> Iterator[str]:
    for row in sizes.tell_labels:
        yield f"{row.label}: its images come in sizes of their own (Cramér's V {row.cramers_v})"
    for odd, what in (
        (sizes.extreme_aspect, f"longer than {EXTREME_ASPECT:.0f}:1"),
        (sizes.tiny, f"below {TINY_SIDE} pixels"),
    ):
        if odd.images:
            yield f"{plural(odd.images, 'image is', 'images are')} {what}, the first: {odd.examples[0]}"
