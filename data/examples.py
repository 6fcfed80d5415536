"""Examples: the rows that a model is shown, and the views it sees of them."""

from dataclasses import dataclass

from data.config import ViewsConfig
from data.manifest import Manifest
from data.views import ViewSpec
from data.working import make_working_copies
from run.context import RunContext


@dataclass(frozen=True)
class Examples:
    """Rows of a manifest with the distribution that their views are drawn from.

    The distribution names the size of the working copies that views are cut from, so both are made together: views of
    copies never share a cache with views of originals.
    """

    rows: Manifest
    views: ViewSpec

    @classmethod
    def of_originals(cls, rows: Manifest, views: ViewsConfig) -> "Examples":
        """Images as they are on disk: what calibrates and judges a model."""
        return cls(rows, ViewSpec.of(views))

    @classmethod
    def make_working_copies(cls, rows: Manifest, views: ViewsConfig, context: RunContext) -> "Examples":
        """Working copies of large images, made where they are missing: what a model learns from."""
        size = context.working_size
        return cls(make_working_copies(rows, context.folder, size), ViewSpec.of(views, size))

    def __len__(self) -> int:
        return len(self.rows)
