"""Fitting one file's rule after another to the same calibration images."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx

from data.loaders import load
from data.manifest import Manifest
from export.images import RenderedImages
from export.onnx_graph import metadata_of
from export.points.config import DecisionConfig
from export.points.fit import fit_points, fitting_rows, require_enough_images
from export.points.record import FileRule
from export.runtime import RgbClassifier
from export.session import side_by_side
from models.decision import DecisionRule, Floats
from models.spec import InputSpec
from run.errors import UserError


@dataclass(frozen=True)
class RuleFitter:
    """Fits the rule of each file of a model; without operating points, no image is looked at."""

    base: DecisionRule
    asked: DecisionConfig
    rendered: RenderedImages
    targets: Floats

    @classmethod
    def of(cls, manifest: Manifest, asked: DecisionConfig, spec: InputSpec) -> "RuleFitter":
        """Read the calibration images, where operating points ask for them.

        Raises:
            UserError: they are too few.
        """
        require_enough_images(manifest, asked)
        rows = fitting_rows(manifest) if asked.points else manifest[:0]
        rendered = RenderedImages(rows.column("uri"), spec)
        return cls(asked.rule(manifest.labels), asked, rendered, rows.targets())

    def fit(self, path: Path, temperature: float = 1.0) -> FileRule:
        """Fit to a file that gives logits, which are divided by the temperature.

        Raises:
            UserError: no threshold keeps a promise on this file's scores.
        """
        if not self.asked.points:
            return FileRule(self.base)
        logits = self.rendered.logits(path) / np.float32(temperature)
        return self._fit(path.name, self.base.probabilities(logits))

    def fit_rgb(self, path: Path) -> FileRule:
        if not self.asked.points:
            return FileRule(self.base)
        model = RgbClassifier(path, threads=1)
        found = side_by_side(lambda uri: model.probabilities([load(uri)]), self.rendered.uris)
        return self._fit(path.name, np.concatenate(found))

    def _fit(self, name: str, probabilities: Floats) -> FileRule:
        points = fit_points(self.base, self.asked, probabilities, self.targets, name)
        try:
            return FileRule(self.base.with_points([point.point for point in points]), points)
        except ValueError:
            found = ", ".join(f"{point.name!r} from {point.threshold:.4g} on" for point in points)
            raise UserError(
                f"{name}: a more severe level has a lower threshold than one that promises few false alarms ({found}): "
                "leave out fpr of the milder one, or promise less of the other"
            ) from None


def set_rule(path: Path, rule: DecisionRule) -> None:
    """Write a rule into a file's metadata."""
    model = onnx.load(path)
    metadata = metadata_of(model) | {"decision": json.dumps(rule.to_json())}
    onnx.helper.set_model_props(model, dict(sorted(metadata.items())))
    path.write_bytes(model.SerializeToString(deterministic=True))
