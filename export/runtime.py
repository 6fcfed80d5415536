"""Exported files in ONNX Runtime: from a decoded image to probabilities."""

import platform
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray
from PIL import Image

from export.libraries import first_line
from export.limits import within_time
from export.metadata import Contract, read_contract
from export.session import open_session
from models.spec import InputSpec
from run.errors import UserError, quoted


def open_file(path: Path, threads: int | None = None, seconds: float | None = None) -> ort.InferenceSession:
    """Open an ONNX file.

    Args:
        threads: of one inference; null takes every core.
        seconds: most that it may take; null leaves it be. What is constant in a graph is computed when it is opened.

    Raises:
        UserError: it is missing, or ONNX Runtime refuses it, or its time was over.
    """
    if not path.is_file():
        raise UserError(f"{quoted(path)} does not exist: run `pocketeva export` first, or check the name")
    with _refusals(path):
        return within_time(lambda _: open_session(path, threads), seconds, f"opening {quoted(path)}")


@contextmanager
def _refusals(path: Path) -> Iterator[None]:
    """Say which file ONNX Runtime refuses."""
    try:
        yield
    except (UserError, MemoryError):
        raise
    except Exception as error:  # ONNX Runtime's own errors share no other base
        raise UserError(f"{quoted(path)} cannot be run: {first_line(error)}") from error


class Picture:
    """A decoded image, prepared once for all files that are to see it alike."""

    def __init__(self, image: Image.Image) -> None:
        self.image = image
        self._prepared: dict[InputSpec, NDArray[np.float32]] = {}

    def pixel_values(self, spec: InputSpec) -> NDArray[np.float32]:
        """The image as a batch of one [1, 3, S, S]."""
        if spec not in self._prepared:
            self._prepared[spec] = spec.normalize(spec.render(self.image)[None])
        return self._prepared[spec]


class OnnxClassifier:
    """A ``model.onnx`` written by this project, with decision rule and input contract from its own metadata.

    Args:
        threads: of ONNX Runtime; null takes every core.
        session: an open one of this file.
        seconds: most that opening it, and then one inference, may take; null leaves them be, and costs no thread.

    Raises:
        UserError: it is missing, damaged, or does not carry the metadata.
    """

    def __init__(
        self,
        path: Path,
        threads: int | None = None,
        session: ort.InferenceSession | None = None,
        *,
        seconds: float | None = None,
    ) -> None:
        self.threads = threads
        self._path = path
        self._seconds = seconds
        self._session = open_file(path, threads, seconds) if session is None else session
        contract = read_contract(self._session.get_modelmeta().custom_metadata_map, path)
        # Before any image is prepared: metadata may say anything, and memory is taken by what it says.
        self._require_graph(contract)
        self.rule = contract.rule
        self.labels = contract.rule.labels
        self.spec = contract.spec

    def prepare(self, images: Sequence[Image.Image]) -> NDArray[np.float32]:
        """Decoded images as ``pixel_values`` [B, 3, S, S]."""
        return self.spec.normalize(np.stack([self.spec.render(image) for image in images]))

    def logits(self, pixel_values: NDArray[np.float32]) -> NDArray[np.float32]:
        """Logits [B, C] of prepared images [B, 3, S, S], run as one batch."""
        (values,) = self._run(["logits"], {"pixel_values": pixel_values})
        return np.asarray(values, np.float32)

    def logits_of(self, picture: Picture) -> NDArray[np.float32]:
        """Logits [C] of an image, run by itself.

        That is how an app asks, and dynamic INT8 takes its scales from all images of a batch.
        """
        return np.asarray(self.logits(picture.pixel_values(self.spec))[0])

    def probabilities(self, images: Sequence[Image.Image]) -> NDArray[np.float32]:
        """Probabilities [B, C] of decoded images, each run by itself."""
        return self.rule.probabilities(np.stack([self.logits_of(Picture(image)) for image in images]))

    def _run(self, outputs: Sequence[str], inputs: Mapping[str, NDArray[Any]]) -> list[Any]:
        with _refusals(self._path):
            return within_time(lambda options: self._session.run(outputs, inputs, options), self._seconds)

    def _require_graph(self, contract: Contract) -> None:
        """Refuse metadata that is not about this graph."""
        size = contract.spec.size
        count = len(contract.rule.labels)
        self._require("input", self._session.get_inputs(), {"pixel_values": (None, 3, size, size)})
        self._require("output", self._session.get_outputs(), {"logits": (None, count)})

    def _require(self, what: str, found: Sequence[Any], expected: Mapping[str, tuple[int | None, ...]]) -> None:
        """Compare names and shapes; null stands for a size that differs from run to run. Further outputs do no harm."""
        shapes = {each.name: tuple(side if isinstance(side, int) else None for side in each.shape) for each in found}
        if {name: shapes.get(name) for name in (expected if what == "output" else shapes)} != expected:
            raise UserError(
                f"{quoted(self._path)}: its metadata is not about its graph, which has the {what} {_shapes(shapes)} "
                f"where {_shapes(expected)} is expected: it was not exported by PocketEVA, or was changed since"
            )


def _shapes(shapes: Mapping[str, tuple[int | None, ...]]) -> str:
    sides = {name: ", ".join("any" if side is None else str(side) for side in shape) for name, shape in shapes.items()}
    return ", ".join(f"{name} [{shape}]" for name, shape in sides.items()) or "none"


class RgbClassifier(OnnxClassifier):
    """An ``rgb.onnx``: takes decoded images of any size, one at a time."""

    def _require_graph(self, contract: Contract) -> None:
        count = len(contract.rule.labels)
        scores = {"scores": (count,)} if contract.rule.labels.kind == "ordinal" else {}
        self._require("input", self._session.get_inputs(), {"image": (None, None, 3)})
        self._require("output", self._session.get_outputs(), {"probabilities": (count,), **scores})

    def outputs(self, image: Image.Image) -> dict[str, NDArray[np.float32]]:
        """``probabilities`` [C] of a decoded image, and ``scores`` [C] where the labels are ordinal."""
        names = [output.name for output in self._session.get_outputs()]
        return dict(zip(names, self._run(names, {"image": np.asarray(image)}), strict=True))

    def logits_of(self, picture: Picture) -> NDArray[np.float32]:
        """Logits [C] that give the file's probabilities of an image: it has no output for its own."""
        return self.rule.logits(self.probabilities([picture.image])[0])

    def probabilities(self, images: Sequence[Image.Image]) -> NDArray[np.float32]:
        return np.stack([self.outputs(image)["probabilities"] for image in images])


def processor() -> str:
    """The model of this machine's CPU, which speed and the last digits of INT8 depend on."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text(encoding="utf-8").splitlines() if cpuinfo.is_file() else []
    named = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return named[0] if named else platform.processor() or platform.machine()
