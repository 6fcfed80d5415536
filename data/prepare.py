"""Stage 0: read labels and images once, and write down what was found."""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Any, cast

from rich.table import Table

from data.config import DataConfig
from data.decode import DecodeError, decode
from data.labels import LabelSet
from data.manifest import SPLITS, Manifest
from data.readers import READERS
from data.readers.record import Record
from data.splits import draw_split
from run.console import console, log, progress
from run.errors import UserError, listed
from run.files import Json, json_digest, write_json
from run.folder import RunFolder


def prepare(run: RunFolder, labels: LabelSet, config: DataConfig) -> Manifest:
    """Read the source, check every image, draw the splits, write the manifest and the audit.

    Nothing is read again while the config and the files' sizes and times are the same.

    Raises:
        UserError: the source is wrong, an image cannot be decoded, or a label or a split is empty.
    """
    records = READERS[config.format](config, labels, run.data / "images")
    inputs: dict[str, Json] = {"data": asdict(config), "labels": labels.to_json(), "files": _listing(records)}
    if run.skips("prepare", inputs):
        return Manifest.read(run.manifest, labels)
    rows = _read_all(records)
    refused = [f"{row['uri']}: {row['status']}" for row in rows if row["status"] != "ok"]
    if refused and not config.skip_unreadable:
        raise UserError(
            f"{len(refused)} of {len(rows)} images cannot be read:\n{listed(refused)}\n"
            "Repair or remove them, or set data.skip_unreadable to true to go on without them."
        )
    _mark_duplicates(rows)
    _assign_splits(rows, config)
    manifest = Manifest.of(labels, rows)
    audit = _audit(manifest)
    _require_images(audit, labels)
    manifest.write(run.manifest)
    write_json(run.data / "audit.json", audit)
    run.mark_done("prepare", inputs, [run.manifest, run.data / "audit.json"])
    _show(audit, labels)
    return manifest


def _listing(records: Sequence[Record]) -> str:
    """Digest of what the source lists: paths, sizes, times, targets and splits."""
    missing = [record.uri for record in records if not Path(record.uri).is_file()]
    if missing:
        raise UserError(f"{len(missing)} images are not there:\n{listed(missing)}")
    entries: list[Json] = []
    for record in records:
        stat = Path(record.uri).stat()
        entries.append([record.uri, stat.st_size, stat.st_mtime_ns, record.target, record.split])
    return json_digest(entries)


def _read_all(records: Sequence[Record]) -> list[dict[str, Any]]:
    rows = []
    with ThreadPoolExecutor() as pool, progress("reading images", len(records)) as advance:
        for row in pool.map(_read, records):
            rows.append(row)
            advance(1)
    return rows


def _read(record: Record) -> dict[str, Any]:
    """One manifest row, its split still to be drawn."""
    data = Path(record.uri).read_bytes()
    row: dict[str, Any] = {
        "image_id": hashlib.sha256(data).hexdigest(),
        "uri": record.uri,
        "target": record.target,
        "votes": record.votes,
        "split": record.split,
        "status": "ok",
    }
    try:
        image = decode(data)
    except DecodeError as error:
        return {**row, "group": row["image_id"], "width": 0, "height": 0, "status": str(error)}
    pixels = hashlib.sha256(f"{image.size}".encode() + image.tobytes()).hexdigest()
    return {**row, "group": pixels, "width": image.width, "height": image.height}


def _mark_duplicates(rows: list[dict[str, Any]]) -> None:
    """Of files with equal bytes one row stays, or none where their labels or given splits differ."""
    by_id = defaultdict(list)
    for row in sorted(rows, key=lambda row: str(row["uri"])):
        by_id[row["image_id"]].append(row)
    for first, *others in by_id.values():
        if any(row["target"] != first["target"] for row in others):
            for row in (first, *others):
                row["status"] = "the same file has different labels"
        elif any(row["split"] != first["split"] for row in others):
            raise UserError(
                "the same file lies in different splits; keep one of them:\n"
                + listed(f"{row['uri']} ({row['split']})" for row in (first, *others))
            )
        for row in others:
            if row["status"] == "ok":
                row["status"] = f"duplicate of {first['uri']}"


def _assign_splits(rows: list[dict[str, Any]], config: DataConfig) -> None:
    """Keep given splits; draw those that the source does not give from its training images."""
    given = {row["split"] for row in rows} - {None}
    absent = tuple(split for split in ("test", "calibration", "val") if split not in given)
    for row in rows:
        if row["split"] in (None, "train"):
            row["split"] = draw_split(row["group"], config.splits, absent)


def _audit(manifest: Manifest) -> dict[str, Json]:
    names = manifest.labels.names
    images: dict[str, Json] = {}
    for split in SPLITS:
        part = manifest.usable(split)
        counts = Counter(part.targets().argmax(1).tolist())
        images[split] = {name: counts[index] for index, name in enumerate(names)}
    left_out: list[Json] = [
        {"uri": uri, "reason": status}
        for uri, status in zip(manifest.column("uri"), manifest.column("status"), strict=True)
        if status != "ok"
    ]
    return {"rows": len(manifest), "images": images, "left_out": left_out}


def _require_images(audit: dict[str, Json], labels: LabelSet) -> None:
    images = cast("dict[str, dict[str, int]]", audit["images"])
    for split in ("train", "val", "calibration", "test"):
        if not sum(images[split].values()):
            raise UserError(f"the {split} split has no images: add images, or raise data.splits.{split}")
    empty = [name for name in labels.names if not images["train"][name]]
    if empty:
        raise UserError(f"no training images for {', '.join(empty)}: add some, or take the label out of labels.names")


def _show(audit: dict[str, Json], labels: LabelSet) -> None:
    images = cast("dict[str, dict[str, int]]", audit["images"])
    table = Table(title="images", title_justify="left")
    table.add_column("label")
    for split in SPLITS:
        table.add_column(split, justify="right")
    for name in labels.names:
        table.add_row(name, *(f"{images[split][name]:,}" for split in SPLITS))
    console.print(table)
    left_out = cast("list[dict[str, str]]", audit["left_out"])
    if left_out:
        log.print(
            f"{len(left_out)} files take no part:\n" + listed(f"{row['uri']}: {row['reason']}" for row in left_out)
        )
