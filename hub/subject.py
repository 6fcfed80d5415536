"""One release folder and all that is known of the model in it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from data.labels import LabelSet
from hub.config import HubConfig
from models.spec import InputSpec


@dataclass(frozen=True)
class Subject:
    """What a card is about."""

    folder: str
    """``teacher``, ``STUDENT``, or one of these with ``-onnx``."""
    hub: HubConfig
    """With ``repo``."""
    config: Mapping[str, Any]
    """``config.json`` of the checkpoint."""
    certificate: Mapping[str, Any] | None
    """Null where nothing was measured of these very files."""

    @property
    def model(self) -> str:
        """The model's name in the certificate."""
        return self.folder.removesuffix("-onnx")

    @property
    def is_onnx(self) -> bool:
        """Whether it is the exported model."""
        return self.folder != self.model

    @property
    def is_teacher(self) -> bool:
        """Whether it is the teacher."""
        return self.model == "teacher"

    @property
    def repo(self) -> str:
        """Where this folder goes."""
        return self.hub.repository(self.folder)

    @property
    def checkpoint_repo(self) -> str:
        """Where the checkpoint goes."""
        return self.hub.repository(self.model)

    @property
    def onnx_repo(self) -> str:
        """Where the exported model goes."""
        return self.hub.repository(f"{self.model}-onnx")

    @property
    def teacher_repo(self) -> str:
        """Where the teacher's checkpoint goes."""
        return self.hub.repository("teacher")

    @property
    def facts(self) -> Mapping[str, Any]:
        """What training recorded: labels, starting point, temperature."""
        facts: Mapping[str, Any] = self.config["pocketeva"]
        return facts

    @property
    def labels(self) -> LabelSet:
        """What the outputs stand for."""
        return LabelSet.of_json(self.facts["labels"])

    @property
    def spec(self) -> InputSpec:
        """The input contract."""
        return InputSpec.from_pretrained_cfg(self.config["pretrained_cfg"])

    @property
    def measured(self) -> Mapping[str, Any]:
        """What the certificate says of the model."""
        assert self.certificate is not None
        measured: Mapping[str, Any] = self.certificate["models"][self.model]
        return measured

    def criterion(self, name: str) -> Mapping[str, Any] | None:
        """One criterion for this model's float32 file, if the certificate has it."""
        criteria = [] if self.certificate is None else self.certificate["criteria"]
        return next((c for c in criteria if c["name"] == name and c["file"] == self.measured["file"]), None)
