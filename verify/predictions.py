"""Predictions of every judged file for every test image. Everything that is claimed of a release follows from them.

No image can be recognized in the file: ids and groups are keyed digests, because a plain digest of an image would tell
whoever has that image that it was in the test split. The key stays in the run folder.
"""

import hmac
import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from data.labels import LabelSet
from data.manifest import Manifest
from models.decision import DecisionRule, Decisions
from run.files import atomic_path

PROBABILITIES = pa.list_(pa.float32())


@dataclass(frozen=True)
class JudgedFile:
    """One file that was run."""

    sha256: str
    bytes: int
    rule: DecisionRule


@dataclass(frozen=True)
class Predictions:
    """A row per labeled test image.

    Columns: ``image`` and ``group`` (keyed digests), ``split``, ``target`` (as in the manifest), and for each judged
    file, under its name, the probabilities [C] that it gave.

    Example:
        >>> predictions = Predictions.read(run.verify / "predictions.parquet")
        >>> predictions.probabilities("mini-onnx/onnx/model.onnx").shape
        (505, 4)
    """

    labels: LabelSet
    files: Mapping[str, JudgedFile]
    """By name: the path below the release, or ``BASELINE/model.onnx``."""
    table: pa.Table

    @classmethod
    def of(
        cls,
        test: Manifest,
        key: bytes,
        files: Mapping[str, JudgedFile],
        probabilities: Mapping[str, NDArray[np.float32]],
    ) -> "Predictions":
        """Put together what was measured.

        Args:
            test: the images, in the order of the probabilities.
            key: of the digests.
            files: what was run, by name.
            probabilities: by name [N, C].
        """
        columns = {
            "image": [_keyed(key, image) for image in test.column("image_id")],
            "group": [_keyed(key, group) for group in test.column("group")],
            "split": test.table.column("split"),
            "target": test.table.column("target"),
        }
        found = {name: pa.array(list(probabilities[name]), PROBABILITIES) for name in files}
        return cls(test.labels, files, pa.table({**columns, **found}))

    @classmethod
    def read(cls, path: Path) -> "Predictions":
        """Read what ``write`` wrote."""
        # Not by `read_table`, which imports pandas: half a second for each verb.
        with pq.ParquetFile(path) as file:
            table = file.read()
        metadata = table.schema.metadata
        labels = LabelSet.of_json(json.loads(metadata[b"labels"]))
        files = {
            name: JudgedFile(found["sha256"], found["bytes"], DecisionRule.of_json(labels, found["decision"]))
            for name, found in json.loads(metadata[b"files"]).items()
        }
        return cls(labels, files, table)

    def write(self, path: Path) -> None:
        """Write it atomically; equal predictions give equal bytes."""
        files = {
            name: {"sha256": file.sha256, "bytes": file.bytes, "decision": file.rule.to_json()}
            for name, file in self.files.items()
        }
        metadata = {"labels": json.dumps(self.labels.to_json(), ensure_ascii=False), "files": json.dumps(files)}
        with atomic_path(path) as partial:
            pq.write_table(self.table.replace_schema_metadata(metadata), partial)

    def one_per_group(self) -> "Predictions":
        """The first image of every group of duplicates: exact bounds need independent draws."""
        # Reversed, because of equal keys the last one stays.
        first_of = {group: row for row, group in reversed(list(enumerate(self.groups)))}
        return Predictions(self.labels, self.files, self.table.take(sorted(first_of.values())))

    @property
    def groups(self) -> list[str]:
        """Group of each image [N]."""
        return list(self.table.column("group").to_pylist())

    @property
    def targets(self) -> NDArray[np.float32]:
        """Targets [N, C]."""
        return self._matrix("target")

    def truth(self) -> Decisions:
        """Decisions that the targets call for: label indices [N], or which labels apply [N, C]."""
        # Not by a file's rule: its thresholds were fitted to its own scores and mean nothing for targets.
        return DecisionRule.of(self.labels).decide(self.targets)

    def probabilities(self, file: str) -> NDArray[np.float32]:
        """Probabilities [N, C] that a file gave."""
        return self._matrix(file)

    def decisions(self, file: str) -> Decisions:
        """Decisions of a file, by its own rule: label indices [N], or which labels apply [N, C]."""
        return self.files[file].rule.decide(self.probabilities(file))

    def _matrix(self, column: str) -> NDArray[np.float32]:
        flat = pc.list_flatten(self.table.column(column)).to_numpy()
        return np.asarray(flat, np.float32).reshape(-1, len(self.labels))

    def __len__(self) -> int:
        return int(self.table.num_rows)


def make_key(path: Path) -> bytes:
    """Read the key of a run's digests; the first call draws it. Only the owner of the file can read it."""
    if not path.is_file():
        with atomic_path(path) as partial:
            # The mode comes before the content: between the two, others could read it.
            partial.touch(mode=0o600)
            partial.write_bytes(secrets.token_bytes(32))
    return path.read_bytes()


def _keyed(key: bytes, name: str) -> str:
    return hmac.new(key, name.encode(), "sha256").hexdigest()
