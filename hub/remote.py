"""Repositories on the Hub: opening one, and mirroring a folder in one commit."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi
from huggingface_hub.errors import HTTPError  # type: ignore[attr-defined]  # of httpx or httpx2, as the version has it

from run.errors import UserError

KEPT = (".gitattributes",)
"""Files that the Hub itself puts into a repository."""


@dataclass(frozen=True)
class Pushed:
    """Outcome of pushing one release folder."""

    folder: str
    repo: str
    url: str | None
    """Of the commit; null after a dry run."""
    changed: bool
    """False where the repository already held these very files."""


@contextmanager
def hub_errors(repo: str) -> Iterator[None]:
    """Turn what the Hub's client raises into a message that says what to do.

    Raises:
        UserError: the Hub cannot be reached, or refuses.
    """
    try:
        yield
    except UserError:
        raise
    except (HTTPError, OSError, ValueError, RuntimeError) as error:
        detail = re.sub(r"(https?://[^\s?]+)\?[^\s']+", r"\1", str(error))  # signed upload addresses are secrets
        raise UserError(
            f"{repo} cannot be written on the Hub: {detail}\n"
            "Check the connection, log in with `hf auth login` using a token that may write to "
            f"{repo.split('/')[0]}, and try again: what is already there is not sent twice."
        ) from error


def open_repository(api: HfApi, repo: str, *, private: bool) -> None:
    """Create the repository unless it is there.

    Raises:
        UserError: it is there and public, and ``private`` is asked for.
    """
    api.create_repo(repo, exist_ok=True, private=private)
    if private and not api.model_info(repo).private:
        raise UserError(
            f"{repo} is public on the Hub and hub.private is true: make it private in its settings there, "
            "or set hub.private to false"
        )


def files_of(folder: Path) -> list[Path]:
    """Every file in the folder, sorted; leftovers of interrupted writes are passed over."""
    paths = (path for path in folder.rglob("*") if path.is_file())
    return sorted(p for p in paths if not any(part.startswith(".partial-") for part in p.relative_to(folder).parts))


def mirror(api: HfApi, repo: str, folder: Path, message: str, *, branch: str = "main") -> Pushed:
    """Make the branch hold exactly the folder's files, in one commit or, where it already does, in none.

    Someone else's commit in the meantime is an error, not overwritten.
    """
    info = api.model_info(repo, revision=branch)
    paths = {path.relative_to(folder).as_posix(): path for path in files_of(folder)}
    gone = {sibling.rfilename for sibling in info.siblings or []} - paths.keys() - set(KEPT)
    commit = api.create_commit(
        repo,
        [
            *(CommitOperationAdd(name, path) for name, path in paths.items()),
            *(CommitOperationDelete(name) for name in sorted(gone)),
        ],
        commit_message=message,
        revision=branch,
        # The commit that was listed above: where someone else's came in between, the Hub refuses.
        parent_commit=info.sha,
    )
    return Pushed(folder.name, repo, commit.commit_url, changed=commit.oid != info.sha)
