"""``prepare`` over every format, and over a bucket."""

from pathlib import Path
from typing import Any

import datasets
import pyarrow as pa
import pytest

from data import scan
from data.config import DataConfig, SplitsConfig
from data.loaders import load
from data.manifest import Manifest
from data.prepare import prepare
from data.readers.formats import READERS
from data.readers.formats.huggingface import records_of
from run.folder import RunFolder
from tests.data.readers.ten_formats import Photo, Written, photos, write_all
from tests.data.stores import BUCKET, s3_store, upload
from tests.support import TWO

SPLITS = SplitsConfig(val=0.2, calibration=0.4, test=0.2)


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Photo], Written]:
    root = tmp_path_factory.mktemp("formats") / "images"
    rows = photos(root, TWO.names, count=6)
    return root, rows, write_all(root, rows, list(TWO.names))


def config(written: Written, format_: Any, **given: Any) -> DataConfig:
    path, settings = written[format_]
    ungrouped = {key: value for key, value in settings.items() if key != "group_column"}  # not every format has groups
    return DataConfig(format=format_, splits=SPLITS, **{"path": str(path), **ungrouped, **given})


def test_prepare__every_format_gives_the_same_bytes(written: tuple[Path, list[Photo], Written], tmp_path: Path) -> None:
    made: dict[str, tuple[bytes, bytes]] = {}
    for format_ in READERS:
        if format_ != "elpv":
            run = RunFolder(tmp_path / format_)
            prepare(run, TWO, config(written[2], format_))
            made[format_] = run.manifest.read_bytes(), (run.data / "audit.json").read_bytes()
    assert len(made) == 10
    assert len(set(made.values())) == 1


def test_prepare__a_data_set_in_memory(written: tuple[Path, list[Photo], Written], tmp_path: Path) -> None:
    root, rows, sources = written
    in_memory = datasets.Dataset.from_list(
        [{"image": str(root / row.path), "label": row.label, "split": row.split} for row in rows]
    )
    given = DataConfig(split_column="split", splits=SPLITS)
    run, other = RunFolder(tmp_path / "run"), RunFolder(tmp_path / "other")
    prepare(run, TWO, given, records=records_of(in_memory, given, TWO, tmp_path / "store"))
    prepare(other, TWO, config(sources, "csv"))
    assert run.manifest.read_bytes() == other.manifest.read_bytes()


def test_prepare__images_in_a_bucket(
    written: tuple[Path, list[Photo], Written], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root, _, sources = written
    with s3_store(monkeypatch) as client:
        upload(client, root.parent, "set/")
        place = f"s3://{BUCKET}/set"
        remote = config(sources, "csv", path=f"{place}/labels.csv", image_root=f"{place}/images")
        run, local = RunFolder(tmp_path / "run"), RunFolder(tmp_path / "local")
        manifest = prepare(run, TWO, remote)
        here = prepare(local, TWO, config(sources, "csv"))
        assert manifest.table.drop_columns(["uri"]).equals(here.table.drop_columns(["uri"]))
        uris = [uri.replace(f"{place}/images", str(root)) for uri in manifest.column("uri")]
        assert uris == here.column("uri")
        monkeypatch.setattr(scan, "read_bytes", lambda uri: pytest.fail("nothing has changed"))
        assert prepare(run, TWO, remote).table.equals(manifest.table)
        image = load(manifest.column("uri")[0])
        assert image.tobytes() == load(here.column("uri")[0]).tobytes()
        assert isinstance(Manifest.read(run.manifest, TWO).table, pa.Table)
