"""The passes of frozen models: which views of which images each stage asks for.

``train`` and ``distill`` select their examples here, and ``cache build`` goes through the same passes in the same
order, so that what is made ahead is what they ask for.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from data.config import ViewsConfig
from data.examples import Examples
from data.manifest import Manifest
from models.facts import Mode
from models.forward import Output
from run.context import RunContext


@dataclass(frozen=True)
class ViewPass:
    """Views 0 to ``views`` of the images of some splits."""

    splits: tuple[str, ...]
    views: int
    """None at all where every epoch has a live teacher."""
    labeled: bool = False
    """Only the images that have labels."""
    originals: bool = False
    """Images as they are on disk, instead of working copies."""

    def make_examples(self, context: RunContext, manifest: Manifest, views: ViewsConfig) -> Examples:
        """The images; working copies that are missing are made.

        Raises:
            UserError: no image has a label, or a working copy cannot be made.
        """
        rows = manifest.labeled_rows(*self.splits) if self.labeled else manifest.usable(*self.splits)
        if self.originals:
            return Examples.of_originals(rows, views)
        return Examples.make_working_copies(rows, views, context)


def teacher_passes(views: ViewsConfig) -> tuple[ViewPass, ViewPass, ViewPass]:
    """The images that a teacher learns from (a head: from so many views), is validated on, and is calibrated on.

    The last two are the same images. The calibration split is left for operating points, whose promises are exact only
    where nothing that a score depends on was fitted to it.
    """
    return (
        ViewPass(("train",), views.count, labeled=True),
        ViewPass(("val",), 1, labeled=True),
        ViewPass(("val",), 1, labeled=True, originals=True),
    )


def student_passes(views: ViewsConfig, *, live_only: bool) -> tuple[ViewPass, ViewPass]:
    """The images that a student learns from, where a teacher teaches it, and is validated on."""
    return ViewPass(("train", "unlabeled"), 0 if live_only else views.count), ViewPass(("val",), 1)


def output_for_students(mode: Mode | None) -> Output:
    """The output that a trained teacher's cache holds.

    The features that a head was trained on give its logits too; any other teacher's logits need a pass of their own.
    """
    return "features" if mode == "head" else "logits"


def cached_passes(
    output: Output, mode: Mode, views: ViewsConfig, students: Iterable[Iterable[ViewPass]]
) -> list[ViewPass]:
    """Every pass that will be asked of one output, in the order of the stages."""
    passes: list[ViewPass] = []
    if output == "features":
        learned, held_out, calibration = teacher_passes(views)
        # Any other teacher is calibrated after its other layers have changed.
        passes += [learned, held_out, calibration] if mode == "head" else [learned, held_out]
    if output == output_for_students(mode):
        passes += [one for student in students for one in student]
    # Students share their passes: the first one fills the cache for all.
    return [one for one in dict.fromkeys(passes) if one.views]
