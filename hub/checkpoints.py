"""Publishing the best checkpoint so far while a fit goes on."""

from collections.abc import Callable
from pathlib import Path

from huggingface_hub import HfApi

from hub.config import HubConfig
from hub.contents import require_allowed, require_impersonal
from hub.remote import hub_errors, look, make, mirror
from run.console import log
from run.errors import UserError


def publisher(config: HubConfig) -> Callable[[str, Path, str], None] | None:
    """Function for ``RunContext.publish``: pushes a model's checkpoint folder; null where that is not wanted.

    It is called with the model's name, the folder and a message. The folder becomes all there is on the checkpoint
    branch; ``main`` is not touched. A model that ``hub.models`` leaves out is passed over. Where the Hub refuses or
    cannot be reached, training goes on and a warning says so.
    """
    if not config.push_checkpoints:
        return None
    api = HfApi()

    def publish(name: str, folder: Path, message: str) -> None:
        if not config.publishes(name):
            return
        repo = config.repository(name)
        branch = config.checkpoint_branch
        try:
            require_allowed([folder])
            require_impersonal([folder], (), str(config))
            with hub_errors(repo):
                make(api, repo, private=config.private)
                api.create_branch(repo, branch=branch, exist_ok=True)
                mirror(api, look(api, repo, revision=branch), folder, message, branch=branch)
        except UserError as error:
            log.print(f"Warning: this checkpoint was not published; training goes on. {error}", markup=False)

    return publish
