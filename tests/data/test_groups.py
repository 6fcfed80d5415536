import hashlib
from typing import Any

import pyarrow as pa

from data.groups import find_groups


def table(*rows: tuple[str, int | None, str | None]) -> pa.Table:
    columns: list[Any] = [list(column) for column in zip(*rows, strict=True)]
    schema = pa.schema([("pixels", pa.string()), ("phash", pa.uint64()), ("group", pa.string())])
    return pa.table(columns, schema=schema)


def names(found: Any) -> list[str]:
    return list(found.names.take(pa.array(found.group)).to_pylist())


def test_find_groups__pixels_and_source_groups_chain_together() -> None:
    rows = table(("p", 0, None), ("q", 2**20 - 1, "A"), ("p", 0, "A"), ("r", 2**40 - 1, "B"), ("s", 2**60 - 1, None))
    found = find_groups(rows, near_bits=0, join_near=False)
    assert found.pixels[0] == found.pixels[2]
    assert len({int(found.pixels[row]) for row in range(5)}) == 4
    assert found.group[0] == found.group[1] == found.group[2]
    assert len(set(found.group.tolist())) == 3
    a, b = (hashlib.sha256(name.encode()).hexdigest() for name in "AB")
    assert names(found) == [a, a, a, b, "s"]


def test_find_groups__names_do_not_depend_on_other_rows() -> None:
    rows = [("p", 0, None), ("q", 2**20 - 1, "A"), ("s", 2**60 - 1, None)]
    few = find_groups(table(*rows), near_bits=0, join_near=False)
    more = find_groups(table(*rows, ("a", 1, None), ("b", 5, "A"), ("c", 9, "0")), near_bits=0, join_near=False)
    assert names(more)[:3] == names(few)


def test_find_groups__near_duplicates() -> None:
    rows = table(("p", 0b0000, None), ("q", 0b0011, None), ("r", 0b1111, None), ("s", None, None), ("t", None, None))
    apart = find_groups(rows, near_bits=1, join_near=False)
    assert len(set(apart.near.tolist())) == 5
    found = find_groups(rows, near_bits=2, join_near=False)
    assert found.near[0] == found.near[1] == found.near[2], "what is close to a third is linked through it"
    assert len(set(found.near.tolist())) == 3
    assert len(set(found.group.tolist())) == 5
    joined = find_groups(rows, near_bits=2, join_near=True)
    assert joined.group[0] == joined.group[2]
    assert names(joined)[0] == "p"
    assert len(set(joined.group.tolist())) == 3
