"""``prepare`` over a bucket: requests per 10,000 objects, and images/s, against asking about each object by itself.

``python -m benchmarks.remote [--objects 10000] [--quick]``

Moto plays the store, in a process of its own on 127.0.0.1, and counts the requests that it answers. The objects are
photographs of 320 × 240 pixels in label folders; every turn prepares them anew. The other side asks for each object's
size and tag and downloads one object at a time in each process, as ``prepare`` did before it listed folders. Moto is
the slower end of these connections: a real store answers more at a time, and each answer takes longer to come.
"""

import io
import json
import logging
import multiprocessing
import os
import socket
import tempfile
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from benchmarks import common
from data import listing, scan, walk
from data.config import DataConfig
from data.labels import LabelSet
from data.prepare import prepare
from run.folder import RunFolder

LABELS = LabelSet(("sound", "broken"), "nominal")
BUCKET = "photographs"
SIZE = (320, 240)
COUNTS = "/benchmark-counts"


def main() -> None:
    """Measure and print one JSON object."""
    parser = common.parser_of(__doc__, "turns", "quick", turns=2)
    parser.add_argument("--objects", type=int, default=10_000)
    given = parser.parse_args()
    objects = 600 if given.quick else given.objects
    with store() as address, common.scratch() as folder:
        fill(objects)
        requests: dict[str, Counter[str]] = {}

        def images_per_s(side: str) -> float:
            before = counts(address)
            config = DataConfig(format="folder", path=f"s3://{BUCKET}")
            run = RunFolder(Path(tempfile.mkdtemp(dir=folder)))  # a new one: what is prepared would be done already
            seconds = common.timed(lambda: prepare(run, LABELS, config)).seconds
            requests[side] = counts(address) - before
            return objects / seconds

        def one_by_one() -> float:
            with asking_one_by_one():
                return images_per_s("one_by_one")

        sides = {"prepare": lambda: images_per_s("prepare"), "one_by_one": one_by_one}
        rates = common.best(common.in_turns(sides, 1 if given.quick else given.turns))
    common.report(
        "remote",
        ratio=round(rates["prepare"] / rates["one_by_one"], 2),
        against="asking about each object, and downloading one at a time in each process, images/s",
        machine=common.machine(),
        objects=objects,
        images_per_s=rates,
        requests_per_10_000={
            side: {kind: round(number * 10_000 / objects, 1) for kind, number in sorted(found.items())}
            for side, found in requests.items()
        },
    )


@contextmanager
def asking_one_by_one() -> Iterator[None]:
    """No listing's fingerprint counts, and a process downloads one object at a time."""
    picture = walk.Picture
    with ExitStack() as stack:
        for module, name, value in (
            (walk, "Picture", lambda uri, _fingerprint: picture(uri, None)),
            (listing, "WORTH_LISTING", 10**9),
            (scan, "CONNECTIONS", 1),
        ):
            stack.callback(setattr, module, name, getattr(module, name))
            setattr(module, name, value)
        yield


@contextmanager
def store() -> Iterator[str]:
    """An empty bucket that a process of its own serves; gives its address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    address = f"http://127.0.0.1:{port}"
    names = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
    os.environ.update({"AWS_ENDPOINT_URL": address, "AWS_DEFAULT_REGION": "us-east-1", **dict.fromkeys(names, "test")})
    server = multiprocessing.get_context("spawn").Process(target=serve, args=(port,), daemon=True)
    server.start()
    try:
        for _ in range(300):
            try:
                counts(address)
                break
            except OSError:
                time.sleep(0.1)
        yield address
    finally:
        server.terminate()
        server.join()


def serve(port: int) -> None:
    """Answer until this process is ended, and count by kind of request."""
    from moto.server import DomainDispatcherApplication, create_backend_app
    from werkzeug.serving import WSGIRequestHandler, run_simple

    class Quiet(WSGIRequestHandler):
        def log_request(self, *_: Any) -> None:
            pass

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    answer = DomainDispatcherApplication(create_backend_app)
    seen: Counter[str] = Counter()

    def application(environ: dict[str, Any], start_response: Any) -> Any:
        if environ["PATH_INFO"] == COUNTS:
            start_response("200 OK", [("Content-Type", "application/json")])
            return [json.dumps(seen).encode()]
        lists = "list-type" in environ.get("QUERY_STRING", "")
        seen["LIST" if lists else environ["REQUEST_METHOD"]] += 1
        return answer(environ, start_response)

    run_simple("127.0.0.1", port, application, threaded=True, request_handler=Quiet)


def counts(address: str) -> Counter[str]:
    """Requests that were answered so far, by kind."""
    with urllib.request.urlopen(f"{address}{COUNTS}") as answer:  # noqa: S310 - this machine's own
        return Counter(json.load(answer))


def fill(objects: int) -> None:
    """Write the objects, none like another."""
    import boto3

    client = boto3.client("s3")
    client.create_bucket(Bucket=BUCKET)
    draw = np.random.default_rng(0)
    for number in range(objects):
        coarse = Image.fromarray(draw.integers(0, 256, (6, 8, 3), np.uint8))
        stream = io.BytesIO()
        coarse.resize(SIZE, Image.Resampling.BICUBIC).save(stream, "JPEG")
        client.put_object(Bucket=BUCKET, Key=f"{LABELS.names[number % 2]}/{number}.jpg", Body=stream.getvalue())


if __name__ == "__main__":
    main()
