"""Stage 0: labels and images are read once, and manifest and audit written."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from data import readers
from data.audit import Promise
from data.changes import Rows
from data.config import DataConfig
from data.examine import examine
from data.groups import Groups, find_groups
from data.labels import LabelSet
from data.listing import collect
from data.manifest import OK, SCHEMA, SPLITS, Manifest
from data.readers.record import Record
from data.readers.source import Source
from data.remarks import show
from data.scan import scan
from data.splits import NONE, Assignment, Splits, assign
from data.statuses import UNLABELED, statuses
from data.storage import path_of, shown
from run.errors import UserError, listed, plural, quoted
from run.files import Json, remove, write_text
from run.folder import RunFolder
from run.stage import Inputs, kept_rows, stage


def prepare(
    run: RunFolder,
    labels: LabelSet,
    config: DataConfig,
    *,
    records: Iterable[Record] | None = None,
    promise: Promise | None = None,
    slices: Sequence[str] = (),
) -> Manifest:
    """Read the sources, check every image, draw the splits, write the manifest and the audit.

    An image is read again only if its file's size, time or tag changed. A split that is recorded is kept.

    Args:
        records: the labeled images, instead of those that ``config`` names; an in-memory data set, for example.
        promise: what verification will ask of the test split, to say whether there are images enough; asking for
            something else is no reason to prepare again.
        slices: columns of the source that verification slices by; they are carried into the manifest.

    Raises:
        UserError: a source is wrong, an image is not there or cannot be decoded, or a label or a split is empty.
    """
    revisions: dict[str, str] = {}
    listing = _listing(run, labels, config, records, slices, revisions)
    inputs: Inputs = {
        "data": asdict(replace(config, working_size=None)),  # only training reads the copies
        "labels": labels.to_json(),
        "files": Rows.of_listing(listing),
        "columns": SCHEMA.names,
    }
    with stage(run, "prepare", inputs) as current:
        if current.done:
            return Manifest.read(run.manifest, labels)
        table = _with_columns(listing, scan(listing, run.data / "scan"))
        _require_readable(run, table, config)
        groups = find_groups(table, near_bits=config.near_duplicate_bits, join_near=config.near_duplicates == "group")
        assigned = _assign(run, table, groups, config)
        status = statuses(table, groups, assigned.split, labels)
        manifest = _manifest(labels, table, groups, assigned.split, status)
        audit = replace(examine(manifest, groups, assigned.crossing, promise), revisions=revisions)
        labeled = np.asarray(table.column("target").is_valid(), bool)
        # Before anything is written: a manifest that is there is one to train on.
        audit.require_images(config.group_column, len(np.unique(groups.group[labeled])))
        manifest.write(run.manifest, draw=_draw(config))
        audit.write(run.data / "audit.json")
        current.wrote([run.manifest, run.data / "audit.json"])
    show(audit)
    return manifest


def require_current(run: RunFolder, labels: LabelSet, config: DataConfig, slices: Sequence[str] = ()) -> None:
    """Refuse labels that are no longer those that ``prepare`` read; a source that is not here is not asked."""
    sources = [config, *([config.unlabeled] if config.unlabeled else [])]
    kept = kept_rows(run, "prepare", "files")
    if not (kept.is_file() and all(Path(source.path).exists() for source in sources)):
        return
    listing = Rows.of_listing(_listing(run, labels, config, None, slices, {}))
    if changes := Rows(listing.table.drop_columns(["fingerprint"]), listing.digest).difference(kept):
        raise UserError(f"since the last `pocketeva prepare`, {changes} in {quoted(config.path)}: run it again")


def _listing(
    run: RunFolder,
    labels: LabelSet,
    config: DataConfig,
    records: Iterable[Record] | None,
    slices: Sequence[str],
    revisions: dict[str, str],
) -> pa.Table:
    """Labeled images, then those of the pool that are not among them; the commits that were read are noted."""
    store = run.data / "images"
    source = Source(config, labels, store, revisions=revisions, metadata=tuple(slices))
    listing = collect(readers.read(source) if records is None else records)
    _require_values(listing, slices)
    if config.unlabeled is None:
        return listing
    source = Source(config.unlabeled, None, store, key="data.unlabeled", revisions=revisions)
    pool = collect(replace(record, split="unlabeled") for record in readers.read(source))
    new = pc.invert(pc.is_in(pool.column("uri"), value_set=listing.column("uri")))
    both = pa.concat_tables([listing, pool.filter(new)])
    return both.take(pc.sort_indices(both.column("uri")))


def _require_values(listing: pa.Table, slices: Sequence[str]) -> None:
    given = {name for row in listing.column("metadata").to_pylist() for name, _ in row or ()} if slices else set()
    absent = [name for name in slices if name not in given]
    if absent:
        raise UserError(
            f"verify.slices: no image has a value for {', '.join(map(repr, absent))}: name columns of the label file, "
            "or keys beside the image in coco and label_studio"
        )


def _with_columns(table: pa.Table, more: pa.Table) -> pa.Table:
    for name in more.column_names:
        table = table.append_column(name, more.column(name))
    return table


def _require_readable(run: RunFolder, table: pa.Table, config: DataConfig) -> None:
    path = run.data / "refused.txt"
    remove(path)
    refused = table.select(["uri", "status"]).filter(pc.not_equal(table.column("status"), OK)).to_pylist()
    if refused and not config.skip_unreadable:
        lines = [f"{quoted(shown(path_of(row['uri'])))}: {row['status']}" for row in refused]
        write_text(path, "\n".join(lines) + "\n")
        raise UserError(
            f"{len(refused):,} of {len(table):,} images cannot be read (all of them are in {quoted(path)}):\n"
            f"{listed(lines)}\nRepair or remove them, or go on without them: --data.skip_unreadable true."
        )


def _assign(run: RunFolder, table: pa.Table, groups: Groups, config: DataConfig) -> Assignment:
    """The split of every row; those of the pool are unlabeled."""
    given = _numbers(table.column("split"))
    recorded = _recorded(run.manifest, table, groups, config)
    pool = (given == UNLABELED) | ~np.asarray(table.column("target").is_valid(), bool)
    # The pool has no say: an unlabeled image must not move the split of a labeled one that looks like it.
    given[pool] = recorded[pool] = NONE
    found = assign(groups.group, groups.names, given, recorded, config.splits)
    split = np.where(pool, UNLABELED, found.split).astype(np.int8)
    crossing = found.crossing & ~pool
    if crossing.any() and not config.allow_leakage:
        where = table.select(["where", "split"]).filter(pa.array(crossing))
        order = np.argsort(groups.group[crossing], kind="stable")
        lines = (f"{row['where']} ({row['split']})" for row in where.take(order).to_pylist())
        count = plural(int(crossing.sum()), "image has", "images have")
        raise UserError(
            f"{count} duplicates, or others of the group, in another given split:\n"
            f"{listed(lines)}\nKeep each in one split, or set data.allow_leakage to true to go on like this."
        )
    return Assignment(split, crossing)


def _recorded(path: Path, table: pa.Table, groups: Groups, config: DataConfig) -> Splits:
    """The splits of the last manifest, by image and else by group; none if it was drawn or grouped in another way."""
    nothing = np.full(len(table), NONE, np.int8)
    if not path.is_file():
        return nothing
    notes = pq.read_schema(path).metadata
    if json.loads(notes.get(b"draw", b"null")) != _draw(config):
        return nothing
    old = pq.read_table(path, columns=["image_id", "group", "split", "status"])
    old = old.filter(pc.and_(pc.equal(old.column("status"), OK), pc.not_equal(old.column("split"), "unlabeled")))
    of_image = pc.index_in(table.column("image_id"), value_set=old.column("image_id"))
    of_group = pc.index_in(groups.names, value_set=old.column("group")).take(pa.array(groups.group))
    return _numbers(old.column("split").take(pc.coalesce(of_image, of_group)))


def _draw(config: DataConfig) -> dict[str, Json]:
    """The settings that splits are drawn by: recorded ones would tear groups that are made in another way."""
    near_bits = config.near_duplicate_bits if config.near_duplicates == "group" else None
    return {**asdict(config.splits), "group_column": config.group_column, "near_duplicate_bits": near_bits}


def _numbers(splits: pa.ChunkedArray) -> Splits:
    """Places in ``SPLITS``; ``NONE`` for null."""
    places = pc.index_in(splits, value_set=pa.array(SPLITS))
    return np.array(pc.fill_null(places, NONE).to_numpy(), np.int8)


def _manifest(labels: LabelSet, table: pa.Table, groups: Groups, split: Splits, status: list[str]) -> Manifest:
    columns = {
        **{name: table.column(name) for name in ("image_id", "uri", "target", "votes", "width", "height", "metadata")},
        "split": pa.array(SPLITS).take(pa.array(np.where(split == NONE, SPLITS.index("train"), split))),
        "group": groups.names.take(pa.array(groups.group)),
        "status": pa.array(status, pa.string()),
        "near": pa.array(groups.near),
    }
    return Manifest(labels, pa.table({name: columns[name] for name in SCHEMA.names}, SCHEMA))
