"""A server on this machine that speaks as much of the Hub's API as publishing and loading need."""

import base64
import hashlib
import json
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit

import yaml

TOKEN = "hf_of_the_tests"
OWNER = "acme"
LFS_SUFFIXES = (".safetensors", ".onnx")


@dataclass(frozen=True)
class File:
    content: bytes
    lfs: bool

    @property
    def oid(self) -> str:
        """As the client compares it: SHA-256 for LFS, git's blob id for the rest."""
        if self.lfs:
            return hashlib.sha256(self.content).hexdigest()
        return hashlib.sha1(b"blob %d\0" % len(self.content) + self.content).hexdigest()


@dataclass(frozen=True)
class Commit:
    oid: str
    summary: str
    files: Mapping[str, File]
    """All files after it."""
    operations: tuple[str, ...] = ()
    """What it did, as ``file README.md``."""
    parent_asked: str | None = None
    """The parent that the client insisted on."""


@dataclass
class Repo:
    private: bool
    branches: dict[str, list[Commit]] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)

    @classmethod
    def new(cls, name: str, *, private: bool) -> "Repo":
        """With the first commit that the Hub makes itself."""
        files = {".gitattributes": File(b"*.safetensors filter=lfs\n", lfs=False)}
        return cls(private, {"main": [Commit(_oid(name), "initial commit", files)]})

    def find(self, revision: str) -> Commit | None:
        """The commit of a branch or an id."""
        if revision in self.branches:
            return self.branches[revision][-1]
        return next((c for commits in self.branches.values() for c in commits if c.oid == revision), None)


class FakeHub:
    """The server; what it holds can be looked at and changed by tests."""

    def __init__(self) -> None:
        self.repos: dict[str, Repo] = {}
        self.blobs: dict[str, bytes] = {}
        self.requests: list[str] = []
        self.collections: dict[str, list[str]] = {}
        self.writable = True
        self.orgs: dict[str, str] = {}
        """Role in each organization of the token's owner."""
        self.role = "write"
        """Of the token."""
        self.intruder = False
        """Someone else commits while a push is under way."""
        self._server = _Server(self)
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        """What ``HF_ENDPOINT`` is set to."""
        return f"http://127.0.0.1:{self._server.server_port}"

    def commits(self, repo: str, branch: str = "main") -> list[Commit]:
        """Those that clients made, oldest first."""
        return self.repos[repo].branches[branch][1:]

    def stop(self) -> None:
        """End the server."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def _oid(*parts: object) -> str:
    return hashlib.sha1(repr(parts).encode()).hexdigest()


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, hub: FakeHub) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.hub = hub


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: "_Server"

    @property
    def hub(self) -> FakeHub:
        return self.server.hub

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass

    def do_GET(self) -> None:
        self._route()

    def do_HEAD(self) -> None:
        self._route()

    def do_POST(self) -> None:
        self._route()

    def do_PUT(self) -> None:
        self._route()

    def _route(self) -> None:
        path = unquote(urlsplit(self.path).path).strip("/")
        self.hub.requests.append(f"{self.command} /{path}")
        self.body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        parts = path.split("/")
        if parts[0] == "lfs":
            self._put_blob(parts[1])
        elif self.headers.get("Authorization") != f"Bearer {TOKEN}" and not self._is_public(parts):
            self._error(401, "RepoNotFound", "Repository Not Found")
        elif self.command not in ("GET", "HEAD") and not self.hub.writable:
            self._error(403, "Forbidden", "this token may not write here")
        elif parts[:2] in (["api", "whoami-v2"], ["api", "collections"]):
            self._account(parts)
        elif path in ("api/repos/create", "api/validate-yaml"):
            self._create_repo() if path == "api/repos/create" else self._validate_yaml()
        elif path.endswith(".git/info/lfs/objects/batch"):
            self._lfs_batch()
        elif parts[:2] == ["api", "models"]:
            self._model("/".join(parts[2:4]), parts[4:])
        elif len(parts) > 4 and parts[2] == "resolve":
            self._resolve("/".join(parts[:2]), parts[3], "/".join(parts[4:]))
        else:
            self._error(404, "", f"the fake hub knows no {self.command} /{path}")

    def _is_public(self, parts: list[str]) -> bool:
        """What anybody may read."""
        name = "/".join(parts[2:4] if parts[:2] == ["api", "models"] else parts[:2])
        repo = self.hub.repos.get(name)
        return self.command in ("GET", "HEAD") and repo is not None and not repo.private

    def _create_repo(self) -> None:
        wanted = json.loads(self.body)
        name = f"{wanted['organization']}/{wanted['name']}"
        exists = name in self.hub.repos
        if not exists:
            self.hub.repos[name] = Repo.new(name, private=wanted.get("visibility") == "private")
        self._json({"url": f"{self.hub.url}/{name}", "name": name}, 409 if exists else 200)

    def _account(self, parts: list[str]) -> None:
        if parts[1] == "collections":
            self._collection("/".join(parts[2:4]))
            return
        orgs = [{"name": name, "roleInOrg": role} for name, role in self.hub.orgs.items()]
        token = {"displayName": "tests", "role": self.hub.role}
        self._json({"type": "user", "name": OWNER, "orgs": orgs, "auth": {"accessToken": token}})

    def _collection(self, slug: str) -> None:
        """Make a collection, or put an item into one; both answer with a conflict where it is done already."""
        status = 200
        if self.command == "POST":
            wanted = json.loads(self.body)
            new = wanted["item"]["id"] if slug else None
            slug = slug or f"{wanted['namespace']}/{wanted['title']}-1"
            status = (
                409
                if new in self.hub.collections.get(slug, ()) or (new is None and slug in self.hub.collections)
                else 200
            )
            self.hub.collections.setdefault(slug, []).extend([new] if new and status == 200 else [])
        now = "2026-01-01T00:00:00.000Z"
        about = {"slug": slug, "title": "", "owner": {"name": OWNER}, "items": [], "lastUpdated": now, "position": 0}
        self._json({**about, "private": True, "theme": "blue", "upvotes": 0}, status)

    def _validate_yaml(self) -> None:
        parts = json.loads(self.body)["content"].split("---\n")
        valid = len(parts) > 2 and parts[0] == "" and "license" in yaml.safe_load(parts[1])
        errors = [] if valid else [{"message": "no license"}]
        self._json({"errors": errors, "warnings": []}, 200 if valid else 400)

    def _lfs_batch(self) -> None:
        objects = []
        for wanted in json.loads(self.body)["objects"]:
            known = {"oid": wanted["oid"], "size": wanted["size"]}
            upload = {"upload": {"href": f"{self.hub.url}/lfs/{wanted['oid']}", "header": {}}}
            objects.append(known if wanted["oid"] in self.hub.blobs else {**known, "actions": upload})
        self._json({"transfer": "basic", "objects": objects})

    def _put_blob(self, oid: str) -> None:
        assert hashlib.sha256(self.body).hexdigest() == oid
        self.hub.blobs[oid] = self.body
        self._json({})

    def _model(self, name: str, rest: list[str]) -> None:
        repo = self.hub.repos.get(name)
        if repo is None:
            self._error(404, "RepoNotFound", "Repository Not Found")
            return
        verb, revision = (rest[0] if rest else "revision"), (rest[1] if len(rest) > 1 else "main")
        commit = repo.find(revision)
        if verb == "branch":
            self._create_branch(repo, revision)
        elif commit is None:
            self._error(404, "RevisionNotFound", "Invalid rev id")
        elif verb == "revision":
            siblings = [{"rfilename": path} for path in commit.files]
            self._json({"id": name, "sha": commit.oid, "private": repo.private, "siblings": siblings})
        elif verb == "preupload":
            self._preupload(commit)
            if self.hub.intruder:
                repo.branches[revision].append(Commit(_oid(commit), "someone else's", commit.files))
        elif verb in ("commit", "tag"):
            self._commit(name, repo, revision) if verb == "commit" else self._tag(repo, commit)
        elif verb == "tree":
            files = [_entry(path, file) for path, file in commit.files.items()]
            self._json(files)
        elif verb == "paths-info":
            wanted = json.loads(self.body)["paths"]
            self._json([_entry(path, file) for path, file in commit.files.items() if path in wanted])
        else:
            self._error(404, "", f"the fake hub knows no {verb}")

    def _create_branch(self, repo: Repo, branch: str) -> None:
        if branch in repo.branches:
            self._error(409, "", "reference already exists")
            return
        repo.branches[branch] = [repo.branches["main"][-1]]
        self._json({})

    def _tag(self, repo: Repo, commit: Commit) -> None:
        tag = json.loads(self.body)["tag"]
        self._json({}, 409 if tag in repo.tags else 200)
        repo.tags.setdefault(tag, commit.oid)

    def _preupload(self, commit: Commit) -> None:
        answers = []
        for wanted in json.loads(self.body)["files"]:
            known = commit.files.get(wanted["path"])
            mode = "lfs" if wanted["path"].endswith(LFS_SUFFIXES) else "regular"
            answer = {"path": wanted["path"], "uploadMode": mode, "shouldIgnore": False}
            answers.append(answer if known is None else {**answer, "oid": known.oid})
        self._json({"files": answers})

    def _commit(self, name: str, repo: Repo, branch: str) -> None:
        lines = [json.loads(line) for line in self.body.splitlines()]
        header = next(line["value"] for line in lines if line["key"] == "header")
        head = repo.branches[branch][-1]
        if "create_pr=1" in self.path:
            branch = f"refs/pr/{len(repo.branches)}"
            repo.branches[branch] = [head]
        parent = header.get("parentCommit")
        if parent not in (None, head.oid):
            self._error(412, "", "the branch has moved on")
            return
        files = dict(head.files)
        for line in lines:
            value: dict[str, Any] = line["value"]
            if line["key"] == "file":
                files[value["path"]] = File(base64.b64decode(value["content"]), lfs=False)
            elif line["key"] == "lfsFile":
                files[value["path"]] = File(self.hub.blobs[value["oid"]], lfs=True)
            elif line["key"] == "deletedFile":
                del files[value["path"]]
        done = tuple(f"{line['key']} {line['value']['path']}" for line in lines if line["key"] != "header")
        oid = _oid(name, branch, len(repo.branches[branch]), done)
        repo.branches[branch].append(Commit(oid, header["summary"], files, done, parent))
        answer = {"success": True, "commitOid": oid, "commitUrl": f"{self.hub.url}/{name}/commit/{oid}"}
        if branch.startswith("refs/pr/"):
            answer["pullRequestUrl"] = f"{self.hub.url}/{name}/discussions/{branch.rpartition('/')[2]}"
        self._json(answer)

    def _resolve(self, name: str, revision: str, path: str) -> None:
        repo = self.hub.repos.get(name)
        commit = None if repo is None else repo.find(revision)
        if commit is None:
            self._error(404, "RepoNotFound" if repo is None else "RevisionNotFound", "not found")
            return
        file = commit.files.get(path)
        if file is None:
            self._error(404, "EntryNotFound", "Entry not found", {"X-Repo-Commit": commit.oid})
            return
        headers = {"ETag": f'"{file.oid}"', "X-Repo-Commit": commit.oid}
        if file.lfs:
            headers |= {"X-Linked-Etag": f'"{file.oid}"', "X-Linked-Size": str(len(file.content))}
        self._answer(200, file.content, {"Content-Type": "application/octet-stream", **headers})

    def _json(self, value: object, status: int = 200) -> None:
        self._answer(status, json.dumps(value).encode(), {"Content-Type": "application/json"})

    def _error(self, status: int, code: str, message: str, headers: Mapping[str, str] | None = None) -> None:
        content = json.dumps({"error": message}).encode()
        extra = {"X-Error-Code": code, "X-Error-Message": message} if code else {}
        self._answer(status, content, {"Content-Type": "application/json", **extra, **(headers or {})})

    def _answer(self, status: int, content: bytes, headers: Mapping[str, str]) -> None:
        self.send_response(status)
        for key, value in headers.items():
            self.send_header(key, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)


def _entry(path: str, file: File) -> dict[str, Any]:
    entry: dict[str, Any] = {"type": "file", "path": path, "size": len(file.content), "oid": file.oid}
    if file.lfs:
        entry["lfs"] = {"oid": file.oid, "size": len(file.content), "pointerSize": 134}
    return entry
