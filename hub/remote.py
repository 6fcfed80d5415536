"""Repositories on the Hub: opening one, and mirroring a folder in one commit."""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi
from huggingface_hub.errors import (  # type: ignore[attr-defined]  # HTTPError is httpx's or httpx2's
    HTTPError,
    RepositoryNotFoundError,
)
from huggingface_hub.hf_api import RepoFile
from huggingface_hub.utils.sha import git_hash

from run.errors import UserError
from run.files import file_digest

KEPT = (".gitattributes",)
"""Files that the Hub itself puts into a repository."""


@dataclass(frozen=True)
class Remote:
    """A branch of a repository, as it is on the Hub."""

    repo: str
    head: str | None = None
    """Its last commit; null where the repository does not exist."""
    private: bool = True
    files: Mapping[str, str] = field(default_factory=dict)
    """Digest of every file: SHA-256 of those that the Hub keeps as LFS, git's blob id of the others."""


@dataclass(frozen=True)
class Pushed:
    """Outcome of pushing one release folder."""

    folder: str
    repo: str
    url: str | None
    """Of the commit, or of the pull request; null after a dry run."""
    changed: bool
    """False where the repository already held these very files."""
    commit: str | None = None
    """The commit that holds them; null after a dry run."""


@contextmanager
def hub_errors(repo: str, *, reading: bool = False) -> Iterator[None]:
    """Turn what the Hub's client raises into a message that says what to do.

    Args:
        repo: for the message.
        reading: nothing is written there.

    Raises:
        UserError: the Hub cannot be reached, or refuses.
    """
    try:
        yield
    except UserError:
        raise
    except (HTTPError, OSError, ValueError, RuntimeError) as error:
        detail = re.sub(r"(https?://[^\s?]+)\?[^\s']+", r"\1", str(error))  # signed upload addresses are secrets
        if reading:
            raise UserError(
                f"{repo} is no folder here, and cannot be read on the Hub: {detail}\n"
                "Check the name and the connection; what is private needs `hf auth login`."
            ) from error
        raise UserError(
            f"{repo} cannot be written on the Hub: {detail}\n"
            "Check the connection, log in with `hf auth login` using a token that may write to "
            f"{repo.split('/')[0]}, and try again: what is already there is not sent twice."
        ) from error


def look(api: HfApi, repo: str, *, revision: str = "main") -> Remote:
    """The repository as it is now, which may be not at all."""
    try:
        info = api.model_info(repo, revision=revision)
    except RepositoryNotFoundError:
        return Remote(repo)
    entries = api.list_repo_tree(repo, revision=info.sha, recursive=True)
    files = {one.path: one.lfs.sha256 if one.lfs else one.blob_id for one in entries if isinstance(one, RepoFile)}
    return Remote(repo, info.sha, bool(info.private), files)


def make(api: HfApi, repo: str, *, private: bool) -> Remote:
    """The repository, created unless it exists.

    Raises:
        UserError: it exists and is public, and ``private`` is asked for.
    """
    api.create_repo(repo, exist_ok=True, private=private)
    remote = look(api, repo)
    require_private(remote, private=private)
    return remote


def require_private(remote: Remote, *, private: bool) -> None:
    """Refuse a public repository where a private one is wanted."""
    if private and not remote.private:
        raise UserError(
            f"{remote.repo} is public on the Hub and hub.private is true: make it private in its settings there, "
            "or set hub.private to false"
        )


def files_of(folder: Path) -> list[Path]:
    """Every file in the folder, sorted; leftovers of interrupted writes are passed over."""
    paths = (path for path in folder.rglob("*") if path.is_file())
    return sorted(p for p in paths if not any(part.startswith(".partial-") for part in p.relative_to(folder).parts))


def holds(remote: Remote, folder: Path) -> bool:
    """True where the branch holds exactly the folder's files, but for what the Hub itself puts there."""
    paths = {path.relative_to(folder).as_posix(): path for path in files_of(folder)}
    if paths.keys() != remote.files.keys() - set(KEPT):
        return False
    # The length of a digest tells which it is: 64 digits of SHA-256, or 40 of git's.
    return all(
        remote.files[name] == (file_digest(path) if len(remote.files[name]) == 64 else git_hash(path.read_bytes()))
        for name, path in paths.items()
    )


def mirror(
    api: HfApi, remote: Remote, folder: Path, message: str, *, branch: str = "main", pull_request: bool = False
) -> Pushed:
    """Make the branch hold exactly the folder's files, in one commit or, where it already does, in none.

    Someone else's commit since ``remote`` was looked at is an error, not overwritten.

    Args:
        remote: the branch as it was looked at.
        pull_request: open a pull request with that commit, and leave the branch as it is.
    """
    if holds(remote, folder):
        address = f"{api.endpoint}/{remote.repo}/commit/{remote.head}"
        return Pushed(folder.name, remote.repo, address, changed=False, commit=remote.head)
    paths = {path.relative_to(folder).as_posix(): path for path in files_of(folder)}
    gone = remote.files.keys() - paths.keys() - set(KEPT)
    commit = api.create_commit(
        remote.repo,
        [
            *(CommitOperationAdd(name, path) for name, path in paths.items()),
            *(CommitOperationDelete(name) for name in sorted(gone)),
        ],
        commit_message=message,
        revision=branch,
        create_pr=pull_request,
        # The commit that was looked at: where someone else's came in between, the Hub refuses.
        parent_commit=remote.head,
    )
    return Pushed(folder.name, remote.repo, commit.pr_url or commit.commit_url, changed=True, commit=commit.oid)
