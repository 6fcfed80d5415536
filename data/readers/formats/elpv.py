"""The photographs of the installed elpv-dataset package: solar cells with four ordered defect likelihoods."""

from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

from data.config import SourceConfig
from data.labels import LabelSet
from data.readers.record import Record, one_hot
from run.errors import UserError


def read(config: SourceConfig, labels: LabelSet | None, store: Path) -> Iterator[Record]:
    """All 2,624 images; the likelihoods 0, 1/3, 2/3 and 1 take the run's four labels in their order.

    Raises:
        UserError: the package is not installed, or the run has not four labels that exclude each other.
    """
    package = find_spec("elpv_dataset")
    if package is None or package.origin is None:
        raise UserError("data.format elpv needs the package elpv-dataset: pip install 'pocketeva[demo]'")
    if labels is not None and (len(labels) != 4 or labels.kind == "multilabel"):
        raise UserError(
            "data.format elpv has four ordered defect likelihoods; "
            f"labels.names has {len(labels)} labels ({labels.kind})"
        )
    root = Path(package.origin).parent / "data"
    for line in (root / "labels.csv").read_text(encoding="utf-8").splitlines():
        name, likelihood, _cell_type = line.split()
        target = one_hot(round(float(likelihood) * 3), 4) if labels is not None else None
        yield Record(uri=str(root / name), target=target, where=f"elpv_dataset, {name}")
