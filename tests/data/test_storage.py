import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import s3fs

from data import storage
from data.storage import (
    entries,
    file_system,
    fingerprint,
    is_folder,
    is_remote,
    listing,
    local_copy,
    read_bytes,
)
from run.errors import UserError
from tests.data.stores import BUCKET, s3_environment, s3_store, upload, web_server

FILES = {"in/a b.png": b"first", "in/deep/#1?.png": b"second", "in/.hidden": b"", "labels.csv": b"image,label\n"}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("files")
    for name, data in FILES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return folder


@pytest.fixture(scope="module")
def client(root: Path) -> Iterator[Any]:
    with pytest.MonkeyPatch.context() as patch, s3_store(patch) as client:
        upload(client, root)
        yield client


@pytest.fixture(scope="module")
def places(root: Path, client: Any) -> Iterator[dict[str, str]]:
    """The same files on disk, in a bucket and on the web."""
    with web_server(root) as address:
        yield {"disk": str(root), "s3": f"s3://{BUCKET}", "web": address}


@pytest.fixture(params=["disk", "s3", "web"])
def place(request: pytest.FixtureRequest, places: dict[str, str]) -> str:
    return places[request.param]


def copied(uri: str) -> bytes:
    with local_copy(uri) as path:
        return path.read_bytes()


def test_read__the_same_bytes_everywhere(place: str) -> None:
    for read in (read_bytes, copied):
        assert read(f"{place}/in/a b.png") == b"first"
        assert read(f"{place}/labels.csv") == FILES["labels.csv"]


def test_read_bytes__odd_names_in_stores(places: dict[str, str]) -> None:
    for name in ("disk", "s3"):
        assert read_bytes(f"{places[name]}/in/deep/#1?.png") == b"second"


def test_listing__folders_and_files(place: str) -> None:
    assert listing(place) == (["in"], ["labels.csv"])
    name = "a%20b.png" if place.startswith("http") else "a b.png"  # names on the web are parts of addresses
    assert listing(f"{place}/in") == listing(f"{place}/in/") == (["deep"], [name])
    assert is_folder(f"{place}/in")
    assert not is_folder(f"{place}/none")


def test_listing__a_folder_may_be_an_object_of_its_own(client: Any) -> None:
    client.put_object(Bucket=BUCKET, Key="marked/", Body=b"")
    client.put_object(Bucket=BUCKET, Key="marked/x.png", Body=b"x")
    assert listing(f"s3://{BUCKET}/marked") == ([], ["x.png"])
    for key in ("marked/", "marked/x.png"):
        client.delete_object(Bucket=BUCKET, Key=key)
    with pytest.raises(FileNotFoundError):
        listing(f"s3://{BUCKET}/marked")


@pytest.mark.parametrize("act", [read_bytes, fingerprint, listing, copied])
def test_storage__what_is_not_there(place: str, act: Callable[[str], object]) -> None:
    with pytest.raises(FileNotFoundError, match="none"):
        act(f"{place}/none/x.png")


def test_local_copy__a_folder_is_no_file(root: Path) -> None:
    with pytest.raises(IsADirectoryError, match="this is a folder, not a file"), local_copy(str(root)):
        pass


def test_local_copy__is_gone_afterwards(places: dict[str, str]) -> None:
    with local_copy(f"{places['s3']}/labels.csv") as path:
        assert path.is_file()
    assert not path.exists()
    with local_copy(f"{places['disk']}/labels.csv") as path:
        pass
    assert path.is_file()


def test_fingerprint__changes_with_the_file(root: Path, places: dict[str, str], client: Any) -> None:
    before = {name: fingerprint(f"{place}/labels.csv") for name, place in places.items()}
    assert {name: fingerprint(f"{place}/labels.csv") for name, place in places.items()} == before
    assert "None" not in "".join(before.values())
    client.put_object(Bucket=BUCKET, Key="labels.csv", Body=b"image,lable\n")  # as long as before
    assert fingerprint(f"s3://{BUCKET}/labels.csv") != before["s3"]
    client.put_object(Bucket=BUCKET, Key="labels.csv", Body=FILES["labels.csv"])
    (root / "labels.csv").write_bytes(b"longer than before")
    for name in ("disk", "web"):
        assert fingerprint(f"{places[name]}/labels.csv") != before[name]
    (root / "labels.csv").write_bytes(FILES["labels.csv"])


def test_storage__nobody_answers() -> None:
    with pytest.MonkeyPatch.context() as patch:
        s3_environment(patch, "http://127.0.0.1:9")
        patch.setattr(s3fs.S3FileSystem, "retries", 1)
        for uri in (f"s3://{BUCKET}/x.png", "http://127.0.0.1:9/x.png"):
            with pytest.raises(OSError, match=f"^{uri} cannot be read: .*onnect"):
                read_bytes(uri)
    s3fs.S3FileSystem.clear_instance_cache()


def test_storage__no_credentials(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    s3_environment(monkeypatch, "http://127.0.0.1:9")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    for name in ("AWS_SHARED_CREDENTIALS_FILE", "AWS_CONFIG_FILE"):
        monkeypatch.setenv(name, str(tmp_path / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    with pytest.raises(OSError, match=r"^s3://photos/x\.png cannot be read: .*credentials"):
        read_bytes(f"s3://{BUCKET}/x.png")
    s3fs.S3FileSystem.clear_instance_cache()


@pytest.mark.parametrize(
    ("uri", "message"),
    [
        ("gs://bucket/x.png", r"gs:// needs another package: pip install gcsfs"),
        ("abfs://bucket/x.png", "cannot be reached: .*adlfs"),
        ("nothing://x.png", "cannot be reached: Protocol not known"),
    ],
)
def test_file_system__a_missing_package_is_named(uri: str, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(*_args: object, **_more: object) -> None:
        raise ImportError("Install adlfs to access this file system")

    if not uri.startswith("nothing"):
        monkeypatch.setattr("fsspec.url_to_fs", missing)
    for act in (file_system, read_bytes, fingerprint):
        with pytest.raises(UserError, match=message):
            act(uri)


def test_is_remote__paths_are_not() -> None:
    assert is_remote("s3://a/b")
    assert not is_remote("/a/b:c")
    assert set(storage._PACKAGES) >= {"s3", "gs", "http", "https"}


@contextmanager
def leading(to: str) -> Iterator[str]:
    """A web server that sends everybody on to another address; yields its own."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(302)
            self.send_header("Location", to + self.path)
            self.end_headers()

        do_HEAD = do_GET  # noqa: N815

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
            pass

    with serving(Handler) as address:
        yield address


@contextmanager
def serving(handler: type[BaseHTTPRequestHandler]) -> Iterator[str]:
    """A web server; yields its address."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize("read", [read_bytes, fingerprint, lambda uri: read_bytes(uri, 4)])
def test_read__an_image_does_not_lead_to_another_server(places: dict[str, str], read: Callable[[str], Any]) -> None:
    assert read(f"{places['web']}/labels.csv")
    with leading(places["web"]) as address, pytest.raises(OSError, match=r"leads on to http://127\.0\.0\.1"):
        read(f"{address}/labels.csv")


def test_local_copy__a_label_file_that_the_user_named_may_lead_elsewhere(places: dict[str, str]) -> None:
    with leading(places["web"]) as address:
        assert copied(f"{address}/labels.csv") == FILES["labels.csv"]


def test_read_bytes__no_file_fills_the_memory(tmp_path: Path) -> None:
    with (tmp_path / "large.png").open("wb") as file:
        file.truncate(storage.MOST_BYTES + 1)
    for read in (read_bytes, fingerprint):
        with pytest.raises(OSError, match="above the limit of 536,870,912 bytes"):
            read(str(tmp_path / "large.png"))


class Endless(BaseHTTPRequestHandler):
    """Says no size, and sends for as long as somebody listens."""

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        pass

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.end_headers()
        with suppress(OSError):
            while self.command == "GET":
                self.wfile.write(b"x" * 100_000)

    do_HEAD = do_GET  # noqa: N815


@pytest.mark.parametrize("read", [read_bytes, lambda uri: read_bytes(uri, 9), copied, lambda uri: entries(f"{uri}/")])
def test_read__a_server_that_never_ends(monkeypatch: pytest.MonkeyPatch, read: Callable[[str], Any]) -> None:
    for name in ("MOST_BYTES", "MOST_UNSIZED"):
        monkeypatch.setattr(f"data.storage.{name}", 1_000_000)
    message = "what the server sends is above the limit of 1,000,000 bytes"
    with serving(Endless) as address, pytest.raises(OSError, match=message):
        read(f"{address}/a.jpg")
