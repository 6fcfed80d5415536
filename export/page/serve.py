"""``pocketeva page``: the page of a release on 127.0.0.1, with the runtime that it needs."""

from collections.abc import Mapping
from contextlib import suppress
from functools import partial
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

from export.golden.kit import GOLDEN
from export.page.runtime import FILES, RUNTIME, find_runtime
from export.page.write import FLOAT_RGB, INDEX, PageSettings, page_files
from export.points.record import ThresholdsRecord
from export.release import RGB
from run.console import console
from run.errors import UserError, listed, quoted

HOST = "127.0.0.1"

TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".mjs": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".wasm": "application/wasm",
    ".onnx": "application/octet-stream",
    ".png": "image/png",
    ".jpg": "image/jpeg",
}
"""Not the system's own table: on some systems it calls scripts plain text, which browsers then refuse to run."""

POLICY = (
    "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; style-src 'self'; connect-src 'self'; "
    "img-src 'self' data:; base-uri 'none'; form-action 'none'"
)
"""Stands in the page too, because static hosts send no headers; here it also holds for a stranger's page."""

HEADERS = {
    "Cache-Control": "no-cache",
    "Content-Security-Policy": f"{POLICY}; frame-ancestors 'none'",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(self), microphone=(), geolocation=()",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


def show_page(release: Path, port: int = 0) -> None:
    """Serve a release's page until Ctrl-C.

    Args:
        release: a run, a release, a model's folder in it, or a downloaded ``NAME-onnx`` folder.
        port: 0 takes a free one.

    Raises:
        UserError: there is no page, the runtime is not to be had, or the port is taken.
    """
    with page_server(release, port) as server:
        address = f"http://{HOST}:{server.server_port}/"
        console.print(f"open {address} in a browser of this machine; Ctrl-C ends it", soft_wrap=True)
        with suppress(KeyboardInterrupt):
            server.serve_forever()


def page_server(release: Path, port: int = 0) -> ThreadingHTTPServer:
    """A server for the page, bound and not yet running."""
    files = served_files(find_page(release))
    try:
        return ThreadingHTTPServer((HOST, port), partial(_Handler, files))
    except (OSError, OverflowError) as error:
        raise UserError(f"port {port} cannot be had ({error}): give another one with --port, or none") from error


def served_files(folder: Path) -> dict[str, Path]:
    """Every file that is served, by its path in the address; nothing else can be asked for.

    Raises:
        UserError: a file is missing or a link that leads out of the folder, or the runtime is not to be had.
    """
    own = [FLOAT_RGB] if (folder / FLOAT_RGB).exists() else []
    kit = [path.relative_to(folder) for path in folder.glob(f"{GOLDEN}/*") if path.suffix in TYPES]
    names = [*page_files(), Path(PageSettings.FILE), RGB.path, Path(ThresholdsRecord.FILE), *own, *kit]
    root = folder.resolve()
    for name in names:
        path = (root / name).resolve()
        if not (path.is_file() and path.is_relative_to(root)):
            raise UserError(
                f"{quoted(folder / name)} is not there, or is a link: run `pocketeva export` again, or download "
                "the folder with `hf download --local-dir`"
            )
    runtime = find_runtime(folder)
    found = {name.as_posix(): root / name for name in names}
    return {"": root / INDEX, **found, **{f"{RUNTIME}/{name}": runtime / name for name in FILES}}


def find_page(release: Path) -> Path:
    """The folder with the page: the given one, or the only one in a release or a run.

    Raises:
        UserError: there is none, or there are several.
    """
    places = (INDEX, f"*-onnx/{INDEX}", f"release/*-onnx/{INDEX}")
    pages = sorted(path.parent for place in places for path in release.glob(place))
    if not pages:
        raise UserError(
            f"{quoted(release)} holds no page: give a run or a release that `pocketeva export` wrote, or a student's "
            "folder NAME-onnx; teachers have none"
        )
    if len(pages) > 1:
        raise UserError(f"{quoted(release)} holds {len(pages)} pages; give one of\n{listed(map(quoted, pages))}")
    return pages[0]


class _Handler(BaseHTTPRequestHandler):
    """Gives files of a fixed table, to pages of this server alone."""

    protocol_version = "HTTP/1.1"
    timeout = 60

    def __init__(self, files: Mapping[str, Path], *given: object) -> None:
        self._files = files
        super().__init__(*given)  # type: ignore[arg-type]

    def version_string(self) -> str:
        return "pocketeva"

    def log_message(self, format: str, *given: object) -> None:  # noqa: A002
        """Nothing: a terminal full of requests helps nobody."""

    def do_GET(self) -> None:
        """Send a file; where only the head was asked for, what comes before it."""
        # Another name for this machine would let a stranger's site, whose name leads here, read the release.
        own = {f"{HOST}:{self.server.server_port}", f"localhost:{self.server.server_port}"}  # type: ignore[attr-defined]
        path = self._files.get(unquote(urlsplit(self.path).path).removeprefix("/"))
        status, kind, data = HTTPStatus.OK, "text/plain", b""
        if self.headers.get("Host") not in own:
            status = HTTPStatus.MISDIRECTED_REQUEST
        elif path is None:
            status = HTTPStatus.NOT_FOUND
        else:
            kind, data = TYPES[path.suffix], path.read_bytes()
        self.send_response(status)
        for name, value in {"Content-Type": kind, "Content-Length": str(len(data)), **HEADERS}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(data)

    do_HEAD = do_GET  # noqa: N815
