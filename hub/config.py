"""Config section of publishing."""

import re
from dataclasses import dataclass

from run.config import PLAIN_NAME, checking, is_plain_name
from run.errors import UserError

REPOSITORY = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*/[A-Za-z0-9][A-Za-z0-9._-]*")
"""``org/name``, as the Hub allows it."""


@dataclass(frozen=True, kw_only=True)
class HubConfig:
    """Repositories on the Hugging Face Hub, and the author's part of their cards."""

    repo: str | None = None
    """``org/name``, the beginning of each repository's name: ``org/name-teacher``, ``org/name-teacher-ONNX``,
    ``org/name-STUDENT`` and ``org/name-STUDENT-ONNX``; null publishes nothing."""
    private: bool = True
    """Only you, or your organization, can see the repositories."""
    license: str = "other"
    """The Hub's identifier of the license of the weights, for example ``apache-2.0``."""
    datasets: tuple[str, ...] = ()
    """Hub ids of the data sets trained on, for the cards."""
    tags: tuple[str, ...] = ()
    """More tags for the cards."""
    description: str = ""
    """Purpose of the models, in Markdown, for the cards."""
    limits: str = ""
    """Limits of the models, where they fail and what they are not for, in Markdown, for the cards."""
    push_checkpoints: bool = False
    """While training, push the best checkpoint so far to a branch of the model's repository."""
    checkpoint_branch: str = "checkpoints"
    """That branch."""

    def __post_init__(self) -> None:
        with checking(self) as require:
            allowed = f"org/name ({PLAIN_NAME}), or null"
            require("repo", lambda: self.repo is None or _is_repository(self.repo), allowed)
            need = "org/name where push_checkpoints is true"
            require("repo", lambda: self.repo is not None or not self.push_checkpoints, need)
            require("license", lambda: self.license != "", "a license identifier of the Hub, or other")
            branch = f"{PLAIN_NAME}, and not main"
            require("checkpoint_branch", lambda: is_plain_name(self.checkpoint_branch, but="main"), branch)

    def repository(self, model: str, *, onnx: bool = False) -> str:
        """The repository of a model's checkpoint, or of its ONNX files.

        Raises:
            UserError: ``repo`` is null.
        """
        if self.repo is None:
            raise UserError("hub.repo is null: set it to org/name, where the release is to be published")
        return f"{self.repo}-{model}" + ("-ONNX" if onnx else "")


def _is_repository(name: str) -> bool:
    return REPOSITORY.fullmatch(name) is not None and re.search(r"--|\.\.", name) is None
