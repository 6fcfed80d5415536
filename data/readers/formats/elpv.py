"""The photographs of the installed elpv-dataset package: solar cells with four ordered defect likelihoods."""

from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

from data.readers.record import Record
from data.readers.source import Source
from data.readers.targets import one_hot
from run.errors import UserError


def read(source: Source) -> Iterator[Record]:
    """All 2,624 images; the likelihoods 0, 1/3, 2/3 and 1 take the run's four labels in their order.

    The one column to slice by is ``type``: mono or poly, the kind of the cell.
    """
    package = find_spec("elpv_dataset")
    format_ = source.key_of("format")
    if package is None or package.origin is None:
        raise UserError(f"{format_} elpv needs the package elpv-dataset: pip install 'pocketeva[demo]'")
    labels = source.labels
    if labels is not None and (len(labels) != 4 or not labels.exclusive):
        raise UserError(
            f"{format_} elpv has four ordered defect likelihoods; labels.names has {len(labels)} labels ({labels.kind})"
        )
    root = Path(package.origin).parent / "data"
    for line in (root / "labels.csv").read_text(encoding="utf-8").splitlines():
        name, likelihood, cell_type = line.split()
        target = one_hot(round(float(likelihood) * 3), 4) if labels is not None else None
        metadata = (("type", cell_type),) if "type" in source.metadata else None
        yield Record(uri=str(root / name), target=target, metadata=metadata, where=f"elpv_dataset, {name}")
