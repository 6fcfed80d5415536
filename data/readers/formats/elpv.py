"""The photographs of the installed elpv-dataset package: solar cells with the likelihood of a defect."""

from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

from data.readers.record import Record
from data.readers.source import Source
from data.readers.targets import one_hot
from run.errors import UserError


def read(source: Source) -> Iterator[Record]:
    """All 2,624 images. Two labels share the likelihood, which is 0, 1/3, 2/3 or 1; four labels have one of these each.

    The one column to slice by is ``type``: mono or poly, the kind of the cell.
    """
    package = find_spec("elpv_dataset")
    format_ = source.key_of("format")
    if package is None or package.origin is None:
        raise UserError(f"{format_} elpv needs the package elpv-dataset: pip install '.[demo]' in PocketEVA's folder")
    labels = source.labels
    if labels is not None and (len(labels) not in (2, 4) or not labels.exclusive):
        raise UserError(
            f"{format_} elpv has likelihoods of a defect: two labels that share them, or four ordered ones; "
            f"labels.names has {len(labels)} labels ({labels.kind})"
        )
    root = Path(package.origin).parent / "data"
    for line in (root / "labels.csv").read_text(encoding="utf-8").splitlines():
        name, likelihood, cell_type = line.split()
        target = None if labels is None else _target(round(float(likelihood) * 3), len(labels))
        metadata = (("type", cell_type),) if "type" in source.metadata else None
        yield Record(uri=str(root / name), target=target, metadata=metadata, where=f"elpv_dataset, {name}")


def _target(thirds: int, labels: int) -> tuple[float, ...]:
    return one_hot(thirds, 4) if labels == 4 else (1 - thirds / 3, thirds / 3)
