"""The folder that a user means by ``org/name``: of a repository on the Hub, the model and what is said of it."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from fnmatch import fnmatch
from pathlib import Path

from export.release import KINDS, WEIGHTS
from run.errors import UserError, listed, quoted

ABOUT = ("README.md", "config.json", "preprocessor_config.json", "labels.json", "thresholds.json", "certificate.json")
"""Files that say what a model is."""
MOST = 2 * 10**9
"""Bytes that are fetched, unless more is asked for."""


@contextmanager
def without_key(key: str) -> Iterator[None]:
    """Leave out of messages the key of a config that they are about elsewhere."""
    try:
        yield
    except UserError as error:
        raise UserError(str(error).removeprefix(f"{key}.model: ")) from error


def path_of(name: str) -> Path:
    """A user's word for a model, as a path that may be absent.

    Raises:
        UserError: it can be none.
    """
    path = Path(name.removeprefix("local-dir:"))
    try:
        path.exists()
    except (OSError, ValueError) as error:
        raise UserError(f"{quoted(name[:60])} is no name of a model: {error.args[-1]}") from error
    if not name:
        raise UserError("give a model: its name is empty")
    return path


def is_hub_id(name: str) -> bool:
    """True for ``org/name`` and ``org/name@REVISION``, by form alone."""
    repo = name.removeprefix("hf-hub:").partition("@")[0]
    return repo.count("/") == 1 and not repo.startswith((".", "/", "~")) and Path(repo).suffix != ".onnx"


def fetch(name: str, *, huge: bool = False) -> Path:
    """The folder of a repository on the Hub, of which only the model and what is said of it is fetched.

    Args:
        name: ``org/name``, pinned as ``org/name@REVISION``.
        huge: fetch it whatever its size.

    Raises:
        UserError: the Hub has no such repository, or cannot be reached; it holds no model, or a huge one.
    """
    from huggingface_hub import HfApi, snapshot_download  # a plain install reads releases of this machine
    from huggingface_hub.hf_api import RepoFile

    from hub.remote import hub_errors

    repo, _, revision = name.removeprefix("hf-hub:").partition("@")
    with hub_errors(repo, reading=True):
        # One commit for all that follows: a branch may move in between.
        commit = HfApi().model_info(repo, revision=revision or None).sha
        entries = HfApi().list_repo_tree(repo, recursive=True, revision=commit)
        sizes = {entry.path: entry.size for entry in entries if isinstance(entry, RepoFile)}
        wanted = _wanted(repo, list(sizes))
        total = sum(sizes[path] for path in wanted)
        if total > MOST and not huge:
            raise UserError(f"{repo} holds a model of {total / 1e9:.1f} GB: not fetched; --huge fetches it")
        return Path(snapshot_download(repo, revision=commit, allow_patterns=wanted))


def _wanted(repo: str, paths: Sequence[str]) -> list[str]:
    """The files to fetch: a checkpoint's, or else those of an ONNX folder."""
    about = [path for path in paths if path in ABOUT]
    if WEIGHTS in paths:
        return [*about, WEIGHTS]
    released = [kind.path.as_posix() for kind in KINDS.values() if kind.path.as_posix() in paths]
    graphs = released or [path for path in paths if path.endswith(".onnx")]
    if not graphs:
        shards = [path for path in paths if fnmatch(path, "*.safetensors")]
        why = f"its weights are in {len(shards)} other files" if shards else "pickles are never loaded"
        raise UserError(f"{repo} holds neither {WEIGHTS} nor an ONNX file: {why}")
    if not released and len(graphs) > 1:
        raise UserError(f"{repo} holds {len(graphs)} ONNX files; download one of\n{listed(map(quoted, graphs))}")
    return [*about, *graphs]
