"""Subject of a card: one folder of a release, and everything known of the model in it."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from export.parity_record import OtherResize
from export.release import ReleasedModel
from hub.config import HubConfig
from models.decision import DecisionRule
from models.facts import CheckpointFacts, read_config
from models.spec import InputSpec
from verify.certificate import Certificate, ModelFacts
from verify.evidence import Criterion


@dataclass(frozen=True)
class Subject:
    """A released model, as checkpoint or as ONNX files."""

    model: ReleasedModel
    is_onnx: bool
    hub: HubConfig
    """With ``repo``."""
    certificate: Certificate | None
    """Null where nothing was measured of these very files."""
    javascript: OtherResize | None = None
    """transformers.js on the golden images; null where it was not tried."""

    @property
    def folder(self) -> Path:
        """The folder that the card goes into."""
        return self.model.onnx if self.is_onnx else self.model.checkpoint

    @property
    def repo(self) -> str:
        """Repository of this folder."""
        return self.onnx_repo if self.is_onnx else self.checkpoint_repo

    @property
    def checkpoint_repo(self) -> str:
        """Repository of the checkpoint."""
        return self.hub.repository(self.model.name)

    @property
    def onnx_repo(self) -> str:
        """Repository of the ONNX files."""
        return self.hub.repository(self.model.name, onnx=True)

    @cached_property
    def facts(self) -> CheckpointFacts:
        """Training's own record: labels, starting point, temperature."""
        return CheckpointFacts.of_config(self._config, str(self.model.checkpoint))

    @property
    def rule(self) -> DecisionRule:
        """From the model's probabilities to its answer."""
        return DecisionRule.of(self.facts.labels)

    @cached_property
    def _config(self) -> dict[str, Any]:
        return read_config(self.model.checkpoint)

    @property
    def architecture(self) -> str:
        """Timm's name of it."""
        return str(self._config["architecture"])

    @property
    def spec(self) -> InputSpec:
        """The input contract."""
        return InputSpec.from_pretrained_cfg(self._config["pretrained_cfg"])

    @property
    def measured(self) -> ModelFacts:
        """The certificate's measurements of the model."""
        assert self.certificate is not None
        return self.certificate.models[self.model.name]

    @property
    def agreement(self) -> Criterion | None:
        """The criterion on the float32 file's agreement with the teacher's; null for the teacher."""
        return self.certificate.agreement(self.model.reference.name) if self.certificate else None
