from pathlib import Path
from typing import Any

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
    "repo",
    ["panels", "acme/", "/panels", "a/b/c", "acme/two words", "acme/a--b", "acme/a..b", "", "acme/solar-", "é/a"],
)
def test_hub_config__refuses_repo(repo: str) -> None:
    with pytest.raises(ValueError, match=r"^repo is"):
        HubConfig(repo=repo)


def test_hub_config__the_longest_of_the_teachers_repositories_counts() -> None:
    assert HubConfig(repo=f"acme/{'x' * 83}").repo
    with pytest.raises(ValueError, match=r"makes acme/x+-teacher-ONNX, a name of 97 characters.*maximum length is 96"):
        HubConfig(repo=f"acme/{'x' * 84}")


def test_hub_config__names_of_what_is_not_published_do_not_count() -> None:
    config = HubConfig(repo=f"acme/{'x' * 84}", models=("mini",))
    assert [config.publishes(name) for name in ("mini", "teacher")] == [True, False]
    with pytest.raises(ValueError, match=r"^repo is acme/solar-; it must be another one: the Hub refuses it"):
        HubConfig(repo="acme/solar-", models=("mini",))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"license": "Apache License 2.0"}, r"^license is Apache License 2\.0; .*such as apache-2\.0, or other$"),
        ({"license": ""}, r"^license is"),
        ({"datasets": ("acme/ok", "/data/panels 2026")}, r"^datasets\[1\] is /data/panels 2026; .*org/panels"),
        ({"datasets": ("tests/hub",)}, r"^datasets\[0\] is tests/hub; .*no path of this machine"),
        ({"tags": ("solar", "/data/panels")}, r"^tags\[1\] is /data/panels"),
        ({"tags": (" ",)}, r"^tags\[0\] is"),
    ],
)
def test_hub_config__refuses_what_no_card_may_hold(
    settings: dict[str, Any], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(Path(__file__).parents[2])
    with pytest.raises(ValueError, match=message):
        HubConfig(**settings)


def test_hub_config__checkpoints_need_a_repo() -> None:
    with pytest.raises(ValueError, match=r"^repo is null; .*push_checkpoints"):
        HubConfig(push_checkpoints=True)


@pytest.mark.parametrize("branch", ["main", "", "two words", "refs/pr/1", "a..b", "a.lock", "a."])
def test_hub_config__refuses_branch(branch: str) -> None:
    with pytest.raises(ValueError, match=r"^checkpoint_branch is"):
        HubConfig(checkpoint_branch=branch)


def test_hub_config__is_private_by_default() -> None:
    assert HubConfig().private
