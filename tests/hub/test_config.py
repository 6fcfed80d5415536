import pytest

from hub.config import HubConfig
from run.errors import UserError


def test_hub_config__repository_names() -> None:
    config = HubConfig(repo="acme/panels")
    assert config.repository("teacher") == "acme/panels-teacher"
    assert config.repository("mini", onnx=True) == "acme/panels-mini-ONNX"


def test_hub_config__repository_needs_repo() -> None:
    with pytest.raises(UserError, match=r"hub\.repo is null"):
        HubConfig().repository("teacher")


@pytest.mark.parametrize(
    "repo", ["panels", "acme/", "/panels", "a/b/c", "acme/two words", "acme/a--b", "acme/a..b", ""]
)
def test_hub_config__refuses_repo(repo: str) -> None:
    with pytest.raises(ValueError, match=r"^repo is"):
        HubConfig(repo=repo)


def test_hub_config__checkpoints_need_a_repo() -> None:
    with pytest.raises(ValueError, match=r"^repo is null; .*push_checkpoints"):
        HubConfig(push_checkpoints=True)


@pytest.mark.parametrize("branch", ["main", "", "two words", "refs/pr/1"])
def test_hub_config__refuses_branch(branch: str) -> None:
    with pytest.raises(ValueError, match=r"^checkpoint_branch is"):
        HubConfig(checkpoint_branch=branch)


def test_hub_config__is_private_by_default() -> None:
    assert HubConfig().private
