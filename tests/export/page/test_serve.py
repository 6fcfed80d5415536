"""The server of the page: only the release's own files, on this machine, to its own pages."""

import http.client
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from export.page import serve
from export.page.runtime import FILES
from export.page.serve import POLICY, find_page, page_server, served_files
from export.page.write import FILES as PAGE
from pocketeva import WRONG_INPUT, main
from run.errors import UserError


@pytest.fixture(scope="module")
def runtime(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Stands in for the runtime's files, whose bytes do not matter to a server."""
    folder = tmp_path_factory.mktemp("runtime")
    for name in FILES:
        (folder / name).write_bytes(name.encode())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(serve, "find_runtime", lambda _: folder)
        yield folder


@pytest.fixture(scope="module")
def port(paged: Path, runtime: Path) -> Iterator[int]:
    """A running server's."""
    assert runtime.is_dir()
    with page_server(paged) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


def asked(
    port: int, path: str, method: str = "GET", host: str | None = None
) -> tuple[int, http.client.HTTPMessage, bytes]:
    """Status, headers and body; the path goes out as it is."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.putrequest(method, path, skip_host=True)
    connection.putheader("Host", host or f"127.0.0.1:{port}")
    connection.endheaders()
    answer = connection.getresponse()
    found = answer.status, answer.headers, answer.read()
    connection.close()
    return found


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/", "text/html; charset=utf-8"),
        ("/index.html?x=1", "text/html; charset=utf-8"),
        ("/page/page.js", "text/javascript; charset=utf-8"),
        ("/page/page.css", "text/css; charset=utf-8"),
        ("/runtime/ort.wasm.bundle.min.mjs", "text/javascript; charset=utf-8"),
        ("/runtime/ort-wasm-simd-threaded.wasm", "application/wasm"),
        ("/golden/exif.jpg", "image/jpeg"),
        ("/thresholds.json", "application/json"),
        ("/rgb.onnx", "application/octet-stream"),
    ],
)
def test_page_server__types_and_headers(port: int, path: str, kind: str) -> None:
    status, headers, body = asked(port, path)
    assert (status, headers["Content-Type"], int(headers["Content-Length"])) == (200, kind, len(body))
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Content-Security-Policy"] == f"{POLICY}; frame-ancestors 'none'"
    assert "Access-Control-Allow-Origin" not in headers
    assert (asked(port, path, "HEAD")[0], asked(port, path, "HEAD")[2]) == (200, b"")


@pytest.mark.parametrize(
    "path",
    [
        "/onnx/model.onnx",  # a file of the release that the page has no use for
        "/../../etc/passwd",
        "/golden/../../../etc/passwd",
        "/%2e%2e/%2e%2e/etc/passwd",
        "/golden/%2e%2e%2fonnx%2fmodel.onnx",
        "//etc/passwd",
        "/golden/",
        "/page",
        "/index.html\\..\\x",
    ],
)
def test_page_server__nothing_else(port: int, path: str) -> None:
    assert asked(port, path)[0] == 404


def test_page_server__another_name_for_this_machine_gets_nothing(port: int) -> None:
    assert asked(port, "/", host=f"evil.example:{port}")[0] == 421
    assert asked(port, "/", host=f"localhost:{port}")[0] == 200
    assert asked(port, "/", method="POST")[0] == 501


def test_page_server__listens_on_this_machine_alone(paged: Path, port: int) -> None:
    with page_server(paged) as server:
        assert server.server_address[0] == "127.0.0.1"
    with pytest.raises(UserError, match=f"port {port} cannot be had"):
        page_server(paged, port)


@pytest.mark.usefixtures("runtime")
def test_served_files__links_out_of_the_folder(paged: Path, tmp_path: Path) -> None:
    folder = tmp_path / "mini-onnx"
    shutil.copytree(paged, folder)
    (folder / "golden" / "other.png").symlink_to("/etc/passwd")
    with pytest.raises(UserError, match=r"golden/other\.png is not there, or is a link"):
        served_files(folder)


def test_find_page__which_of_several(paged: Path, tmp_path: Path) -> None:
    for name in ("a-onnx", "b-onnx"):
        (tmp_path / "release" / name).mkdir(parents=True)
        shutil.copyfile(paged / "index.html", tmp_path / "release" / name / "index.html")
    assert find_page(tmp_path / "release" / "a-onnx") == tmp_path / "release" / "a-onnx"
    with pytest.raises(UserError, match=r"holds 2 pages; give one of\n.*a-onnx\n.*b-onnx"):
        find_page(tmp_path)
    shutil.rmtree(tmp_path / "release" / "b-onnx")
    assert find_page(tmp_path) == find_page(tmp_path / "release") == tmp_path / "release" / "a-onnx"


def test_page__without_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["page", str(tmp_path)]) == WRONG_INPUT
    assert "holds no page" in capsys.readouterr().err


def test_policy__is_the_pages_own() -> None:
    html = (PAGE / "index.html").read_text(encoding="utf-8")
    assert f'content="{POLICY}"' in html
    assert "onclick" not in html
    assert "style=" not in html
    assert "<script>" not in html
    scripts = "".join(path.read_text(encoding="utf-8") for path in (PAGE / "page").glob("*.js"))
    assert not any(
        word in scripts for word in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(")
    )
