"""Sending every folder of a release to its repository: refusals first, then a commit each, a tag, a collection."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from huggingface_hub import HfApi
from huggingface_hub.errors import RevisionNotFoundError

from hub.remote import KEPT, Pushed, Remote, holds, hub_errors, look, make, mirror, require_private
from run.console import console
from run.errors import UserError, listed
from run.files import read_json, write_json

RECORD = "pushed.json"
"""In the run's folder: of each repository, the commit of our last push."""


@dataclass(frozen=True, kw_only=True)
class Sending:
    """The way a release goes to the Hub."""

    message: str
    """Of every commit."""
    private: bool
    """Repositories have to be private."""
    tag: str | None = None
    """For every commit; null sets none."""
    collection: str | None = None
    """``org/title`` of a collection for all repositories; null makes none."""
    pull_request: bool = False
    """Open pull requests, and leave the branch as it is."""
    overwrite: bool = False
    """Replace what others changed since our last push."""


def send(repos: Mapping[Path, str], how: Sending, record: Path) -> list[Pushed]:
    """Push each folder to its repository.

    Nothing is made or sent before every repository has been looked at. A push that failed half-way is repeated by the
    same command: what is there already is not sent twice.

    Args:
        record: file that keeps the commit of each repository's last push.

    Raises:
        UserError: the token may not write there, a repository is public or was changed by somebody else, or the Hub
            refuses.
    """
    api = HfApi()
    require_rights(api, {repo.partition("/")[0] for repo in repos.values()})
    ours = _read(record)
    remotes = {}
    for folder, repo in repos.items():
        with hub_errors(repo):
            remotes[folder] = look(api, repo)
            _require_ours(api, remotes[folder], folder, ours.get(_key(api, repo)), how)
    for folder, remote in remotes.items():
        if remote.head is None:
            with hub_errors(remote.repo):
                remotes[folder] = make(api, remote.repo, private=how.private)
    pushed = []
    for folder, remote in remotes.items():
        with hub_errors(remote.repo):
            pushed.append(_send_one(api, remote, folder, how, record))
    if how.collection is not None and not how.pull_request:
        _collect(api, how.collection, list(repos.values()), private=how.private)
    return pushed


def _send_one(api: HfApi, remote: Remote, folder: Path, how: Sending, record: Path) -> Pushed:
    pushed = mirror(api, remote, folder, how.message, pull_request=how.pull_request)
    what = f"pull request {pushed.url}" if how.pull_request else "pushed"
    console.print(f"{pushed.repo}: {what if pushed.changed else 'unchanged'}", markup=False, soft_wrap=True)
    if not how.pull_request:
        # Before the tag: a push that ends here has to know its own commit when it is repeated.
        write_json(record, {**_read(record), _key(api, remote.repo): str(pushed.commit)})
        if how.tag is not None:
            api.create_tag(remote.repo, tag=how.tag, revision=pushed.commit, exist_ok=True)
    return pushed


def require_rights(api: HfApi, owners: set[str]) -> None:
    """Ask the Hub whose token this is, before anything is made.

    Raises:
        UserError: there is no token that the Hub knows, or it may not write where the repositories lie.
    """
    for owner in sorted(owners):
        with hub_errors(owner):
            who = api.whoami()
        token = who.get("auth", {}).get("accessToken", {})
        if token.get("role") == "read":
            raise UserError(
                f"the token {token.get('displayName', '')!r} may only read: use one that may write to {owner}"
            )
        roles = {str(org.get("name")): org.get("roleInOrg") for org in who.get("orgs", [])}
        if owner != who.get("name") and roles.get(owner, "read") == "read":
            may = ", ".join([str(who.get("name")), *(name for name, role in roles.items() if role != "read")])
            raise UserError(
                f"hub.repo: this token may not write to {owner}, but to {may}: change hub.repo, or log in with "
                f"`hf auth login` as a member of {owner} who may write"
            )


def _require_ours(api: HfApi, remote: Remote, folder: Path, ours: str | None, how: Sending) -> None:
    """Refuse a repository that is public, or whose last commit is neither ours nor the Hub's own first one."""
    if remote.head is None:
        return
    require_private(remote, private=how.private)
    known = remote.head == ours or remote.files.keys() <= set(KEPT)
    if known or how.overwrite or how.pull_request or holds(remote, folder):
        return
    since = "was changed since this run was last pushed" if ours else "holds files that this run did not push"
    try:
        before = look(api, remote.repo, revision=ours) if ours else Remote(remote.repo)
    except RevisionNotFoundError:  # it was deleted and made again, or its history was rewritten
        before = Remote(remote.repo)
    raise UserError(
        f"{remote.repo} {since}:\n{listed(_changes(before.files, remote.files))}\n"
        "Nothing was sent. Look at them there; then push with --pr to open a pull request beside them, or with "
        "--overwrite to replace them."
    )


def _changes(before: Mapping[str, str], after: Mapping[str, str]) -> list[str]:
    names = sorted((before.keys() | after.keys()) - set(KEPT))
    words = {(True, False): "deleted", (False, True): "new", (True, True): "changed"}
    return [f"{name}: {words[name in before, name in after]}" for name in names if before.get(name) != after.get(name)]


def _collect(api: HfApi, collection: str, repos: list[str], *, private: bool) -> None:
    """Put all repositories into one collection, which is made where it is missing."""
    owner, _, title = collection.partition("/")
    with hub_errors(collection):
        slug = api.create_collection(title, namespace=owner, private=private, exists_ok=True).slug
        for repo in repos:
            api.add_collection_item(slug, repo, "model", exists_ok=True)
    console.print(f"collection: {api.endpoint}/collections/{slug}", markup=False, soft_wrap=True)


def _key(api: HfApi, repo: str) -> str:
    return f"{api.endpoint}/{repo}"


def _read(record: Path) -> dict[str, str]:
    """The commits; none where the record is damaged: a repository with files is then asked about."""
    found = read_json(record)
    return {str(key): str(value) for key, value in found.items()} if isinstance(found, dict) else {}
