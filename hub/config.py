"""Config section of publishing."""

from dataclasses import dataclass
from functools import partial

from hub.names import is_data_set, is_license, nearest_license, refusal
from run.config import PLAIN_NAME, Require, checking, is_plain_name
from run.errors import UserError


@dataclass(frozen=True, kw_only=True)
class HubConfig:
    """Repositories on the Hugging Face Hub, and the author's part of their cards."""

    repo: str | None = None
    """``org/name``, the beginning of each repository's name: ``org/name-teacher``, ``org/name-teacher-ONNX``,
    ``org/name-STUDENT`` and ``org/name-STUDENT-ONNX``; null publishes nothing."""
    models: tuple[str, ...] = ()
    """Names of the models to publish, ``teacher`` and students' names; empty publishes all of them. For a student
    alone: ``[mobilenetv4_conv_small-224]``."""
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
    collection: bool = True
    """Tie the repositories together in a collection of the name in ``repo``."""
    not_for_all_audiences: bool = False
    """Tag the cards ``not-for-all-audiences``, and blur the images on students' pages until they are clicked."""
    page: bool = True
    """Push onnxruntime-web (14 MB, fetched once by npm) with each student, so that any web server serves its page."""
    signing_key: str | None = None
    """A PEM file with an elliptic-curve private key: ``push`` signs each repository with it, in the format of OpenSSF
    Model Signing (the extra ``sign``), and ``recheck --public-key`` verifies that. An encrypted key's password is taken
    from the environment, ``POCKETEVA_SIGNING_PASSWORD``. The key is read, and copied nowhere; null signs nothing."""
    transformers_js: bool = True
    """Measure by how much transformers.js' own resize moves the scores of the golden images, for the cards. Needs
    Node.js, and 12 MB that ``push`` fetches once by npm; without them the cards say that nobody measured."""
    push_checkpoints: bool = False
    """While training, push the best checkpoint so far to a branch of the model's repository."""
    checkpoint_branch: str = "checkpoints"
    """That branch."""

    def __post_init__(self) -> None:
        with checking(self) as require:
            if self.repo is not None:
                require("repo", lambda: str(self.repo).count("/") == 1, f"org/name ({PLAIN_NAME}), or null")
                self.require_repositories(require, "repo", "teacher")
                free = "another one: the Hub refuses it"
                require("repo", lambda: self.publishes("teacher") or not refusal(str(self.repo)), free)
            need = "org/name where push_checkpoints is true"
            require("repo", lambda: self.repo is not None or not self.push_checkpoints, need)
            known = f"an identifier of the Hub, such as {nearest_license(self.license)}, or other"
            require("license", lambda: is_license(self.license), known)
            for index, name in enumerate(self.datasets):
                held = "the id of a data set on the Hub, such as org/panels, and no path of this machine"
                require(f"datasets[{index}]", partial(is_data_set, name.partition("@")[0]), held)
            for index, tag in enumerate(self.tags):
                require(f"tags[{index}]", partial(_is_tag, tag), "a word or a few, and no path of this machine")
            branch = f"{PLAIN_NAME}, without .. or a dot or .lock at its end, and not main"
            require("checkpoint_branch", lambda: _is_branch(self.checkpoint_branch), branch)

    def require_repositories(self, require: Require, key: str, model: str) -> None:
        """Blame ``key`` where the Hub would refuse one of a model's two repositories: it is known before any work."""
        published = self.repo and self.publishes(model)
        repos = [self.repository(model, onnx=onnx) for onnx in (False, True)] if published else []
        for repo in [repo for repo in repos if refusal(repo)][:1]:
            length = len(repo.rpartition("/")[2])
            makes = f"another one: it makes {repo}, a name of {length} characters, and the Hub refuses that"
            require(key, lambda: False, f"{makes}: {refusal(repo)}")

    def publishes(self, model: str) -> bool:
        """True for a model that goes to the Hub, if anything does."""
        return not self.models or model in self.models

    @property
    def is_refused(self) -> bool:
        """True where the Hub refuses repositories whatever the students are called."""
        return self.repo is not None and bool(
            refusal(self.repository("teacher", onnx=True) if self.publishes("teacher") else self.repo)
        )

    def repository(self, model: str, *, onnx: bool = False) -> str:
        """The repository of a model's checkpoint, or of its ONNX files.

        Raises:
            UserError: ``repo`` is null.
        """
        if self.repo is None:
            raise UserError("hub.repo is null: set it to org/name, where the release is to be published")
        return f"{self.repo}-{model}" + ("-ONNX" if onnx else "")


def _is_tag(name: str) -> bool:
    return bool(name.strip()) and not name.startswith(("/", "~"))


def _is_branch(name: str) -> bool:
    """True for a name that git takes, whose first character is a letter or a digit."""
    return is_plain_name(name, but="main") and ".." not in name and not name.endswith((".", ".lock"))
