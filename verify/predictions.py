"""Predictions of every judged file for every calibration and test image. All that is claimed of a release follows.

No image can be recognized in the file: ids and groups are keyed digests, because a plain digest of an image would tell
whoever has that image that it was in the test split. The key stays in the run folder.
"""

import hmac
import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from data.duplicates import chain, components
from data.labels import LabelSet
from data.manifest import SPLITS, Manifest, read_table
from models.decision import DecisionRule, Decisions
from run.errors import UserError, quoted
from run.files import atomic_path, make_private

SCHEMA = 2
"""Raised whenever a reader of the file would have to change."""

PREDICTIONS = "predictions.parquet"

LOGITS = pa.list_(pa.float32())


@dataclass(frozen=True)
class JudgedFile:
    """One file that was run."""

    sha256: str
    bytes: int
    rule: DecisionRule


@dataclass(frozen=True)
class Predictions:
    """A row per labeled calibration and test image, in the order of the images' own digests.

    Columns: ``image`` and ``group`` (keyed digests), ``split``, ``target`` (as in the manifest), ``cluster`` (a number
    that near-duplicates in one split share), ``near_training`` (true where a training image is nearly the same),
    ``width``, ``height``, ``brightness`` (mean gray level, 0 to 255), ``metadata`` (the columns to slice by), and for
    each judged file, under its name, the logits [C] that it gave; its temperature is in them.

    Example:
        >>> predictions = Predictions.read(run.verify / PREDICTIONS)
        >>> test = predictions.split("test").one_per_group()
        >>> test.logits("mini-onnx/onnx/model.onnx").shape
        (505, 4)
        >>> told = test.with_truth()  # without images whose votes tie
        >>> (told.truth() == told.decisions("mini-onnx/onnx/model.onnx")).mean()
        0.65
    """

    labels: LabelSet
    files: Mapping[str, JudgedFile]
    """By name: the path below the release, or ``BASELINE/model.onnx``."""
    table: pa.Table

    @classmethod
    def of(
        cls,
        rows: Manifest,
        key: bytes,
        files: Mapping[str, JudgedFile],
        logits: Mapping[str, NDArray[np.float32]],
        *,
        brightness: NDArray[np.float32] | None = None,
        near_training: NDArray[np.bool_] | None = None,
    ) -> "Predictions":
        """Put together what was measured.

        Args:
            rows: the images, in the order of what was measured.
            logits: by name [N, C].
            brightness: mean gray levels [N]; null where not measured.
            near_training: images [N] that a training image is nearly the same as; null where not known.
        """
        unknown = pa.nulls(len(rows))
        columns = {
            "image": [keyed(key, image) for image in rows.column("image_id")],
            "group": [keyed(key, group) for group in rows.column("group")],
            "split": rows.table.column("split"),
            "target": rows.table.column("target"),
            "cluster": pa.array(_clusters(rows)),
            "near_training": (unknown if near_training is None else pa.array(near_training)).cast(pa.bool_()),
            "width": rows.table.column("width"),
            "height": rows.table.column("height"),
            "brightness": (unknown if brightness is None else pa.array(brightness)).cast(pa.float32()),
            "metadata": rows.table.column("metadata"),
        }
        found = {name: pa.array(list(logits[name]), LOGITS) for name in files}
        return cls(rows.labels, files, pa.table({**columns, **found}))

    @classmethod
    def read(cls, path: Path) -> "Predictions":
        """Read what ``write`` wrote.

        Raises:
            UserError: it does not exist, is damaged, or is of another schema version.
        """
        if not path.is_file():
            raise UserError(f"{quoted(path)} does not exist: run `pocketeva verify` first")
        try:
            table = read_table(path)
        except (OSError, pa.ArrowException) as error:
            raise UserError(f"{quoted(path)} is damaged: remove it, and run `pocketeva verify` again") from error
        metadata = table.schema.metadata
        version = int((metadata or {}).get(b"schema", 1))
        if version != SCHEMA:
            raise UserError(
                f"{quoted(path)} has schema version {version}, and this version of PocketEVA reads {SCHEMA}: "
                "run `pocketeva verify` again"
            )
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
        metadata = {
            "schema": str(SCHEMA),
            "labels": json.dumps(self.labels.to_json(), ensure_ascii=False),
            "files": json.dumps(files),
        }
        with atomic_path(path) as partial:
            pq.write_table(self.table.replace_schema_metadata(metadata), partial)

    def split(self, name: str) -> "Predictions":
        """The rows of one split."""
        return self.take(np.flatnonzero(pc.equal(self.table.column("split"), name)))

    def with_truth(self) -> "Predictions":
        """The rows with one true label, or one true set of labels: without those whose votes tie."""
        return self.take(np.flatnonzero(self.labels.has_truth(self.targets)))

    def one_per_group(self) -> "Predictions":
        """One image of every group of duplicates, drawn by hash: exact bounds need independent draws."""
        return self._first_of("group")

    def one_per_cluster(self) -> "Predictions":
        """One image of every cluster of near-duplicates, drawn by hash; groups are within clusters."""
        return self._first_of("cluster")

    def beside(self, other: "Predictions") -> "Predictions":
        """These and what other files said of the same images."""
        assert self.column("image") == other.column("image"), "other images"
        table = self.table
        for file in other.files:
            table = table.append_column(file, other.table.column(file))
        return Predictions(self.labels, {**self.files, **other.files}, table)

    def take(self, rows: NDArray[np.integer]) -> "Predictions":
        """These rows, by number."""
        return Predictions(self.labels, self.files, self.table.take(rows))

    @property
    def targets(self) -> NDArray[np.float32]:
        """Targets [N, C]."""
        return self._matrix("target")

    def column(self, name: str) -> list[Any]:
        """One column as Python values [N]."""
        return list(self.table.column(name).to_pylist())

    def truth(self) -> Decisions:
        """True labels of rows ``with_truth``: label indices [N], or which labels apply [N, C]."""
        # Not by a file's rule: its thresholds were fitted to its own scores and mean nothing for targets.
        return self.labels.truth(self.targets)

    def logits(self, file: str) -> NDArray[np.float32]:
        """Logits [N, C] that a file gave; of an ``rgb.onnx``, those that give its probabilities."""
        return self._matrix(file)

    def probabilities(self, file: str) -> NDArray[np.float32]:
        """Probabilities [N, C] that a file gave."""
        return self.files[file].rule.probabilities(self.logits(file))

    def decisions(self, file: str) -> Decisions:
        """Decisions of a file, by its own rule: label indices [N], or which labels apply [N, C]."""
        return self.files[file].rule.decide(self.probabilities(file))

    def _first_of(self, column: str) -> "Predictions":
        # Rows lie in the order of the images' digests, so the first one is drawn by hash: no name and no source order
        # chooses it, and whoever measures the same images draws the same ones.
        _, first = np.unique(self.table.column(column).to_numpy(), return_index=True)
        return self.take(np.sort(first))

    def _matrix(self, column: str) -> NDArray[np.float32]:
        flat = pc.list_flatten(self.table.column(column)).to_numpy()
        return np.asarray(flat, np.float32).reshape(-1, len(self.labels))

    def __len__(self) -> int:
        return int(self.table.num_rows)


def make_key(path: Path) -> bytes:
    """Read the key of a run's digests; the first call draws it. Only the owner of the file can read it."""
    if not path.is_file():
        with atomic_path(path) as partial:
            make_private(partial)
            partial.write_bytes(secrets.token_bytes(32))
    return path.read_bytes()


def keyed(key: bytes, name: str) -> str:
    """Digest of an image's or a group's name that says nothing to whoever lacks the key."""
    return hmac.new(key, name.encode(), "sha256").hexdigest()


def _clusters(rows: Manifest) -> NDArray[np.int32]:
    """A number [N] that rows of one split share where they are near-duplicates, or of one group."""
    split = pc.index_in(rows.table.column("split"), value_set=pa.array(SPLITS)).to_numpy()
    group = rows.table.column("group").combine_chunks().dictionary_encode().indices.to_numpy()
    near = pc.fill_null(rows.table.column("near"), -1).to_numpy()
    links = [chain(np.where(codes < 0, -1, codes * len(SPLITS) + split)) for codes in (group, near)]
    return components(len(rows), np.concatenate(links))
