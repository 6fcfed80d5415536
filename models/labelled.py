"""The rows of a split that someone has labelled. No torch here."""

import pyarrow as pa

from data.manifest import Manifest
from run.errors import UserError


def labelled_rows(manifest: Manifest, split: str) -> Manifest:
    """The usable rows of a split that have a label; in a multilabel set it may be that no label applies.

    Raises:
        UserError: there are none.
    """
    part = manifest.usable(split)
    found = Manifest(part.labels, part.table.filter(pa.array(part.labelled())))
    if not len(found):
        raise UserError(f"the {split} split has no images with labels: add some, or raise data.splits.{split}")
    return found
