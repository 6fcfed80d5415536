"""A frozen model with its cache: the teacher, or the backbone that its head is trained on."""

from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from cache.fill import PassCount, fill
from cache.key import CacheKey, ViewCache
from cache.read import HeadLogits, Outputs, ViewOutputs, head_logits, read_outputs
from data.examples import Examples
from data.views import ViewSpec
from models.classifier import Classifier
from models.device import precision_for
from models.forward import FrozenForward, Output, forward_of
from run.context import RunContext


class FrozenModel:
    """A model whose output for image × view is computed once, kept in the run's cache, and read from there.

    Args:
        classifier: put into eval mode once it is run.
        output: what is kept. Features serve any head: logits are then the model's own head applied to them.

    Attributes:
        passes: how often the model was run through this object.

    Example:
        >>> teacher = FrozenModel(classifier, "logits", context)
        >>> logits = teacher.compute_logits(examples, views=8)  # hours the first time, seconds afterwards
        >>> logits[row, view]
    """

    def __init__(self, classifier: Classifier, output: Output, context: RunContext) -> None:
        self.classifier = classifier
        self.output: Output = output
        self.passes = PassCount()
        self._context = context
        self._precision = precision_for(classifier.model, context.trainer)

    @cached_property
    def forward(self) -> FrozenForward:
        """Renders [B, 3, S, S] to outputs; from the first call on, the model lies on its device."""
        return forward_of(self.classifier, self.output, self._context.trainer, self._precision)

    def cache(self, views: ViewSpec) -> ViewCache:
        """The cache of views from one distribution; it need not be there."""
        compiled = self._context.trainer.compile_frozen
        key = CacheKey.of(self.classifier, self.output, views, self._precision, compiled=compiled)
        return ViewCache(self._context.folder.cache, key)

    def compute_outputs(self, examples: Examples, views: int) -> Outputs:
        """Outputs [rows, views, width] of views 0 to ``views``; whatever the cache lacks is computed first."""
        # The key is taken anew for each call: a head that was trained in between changes the digest of logits.
        cache = self.cache(examples.views)
        self.passes.add(fill(cache, examples.rows, views, self.forward, workers=self._context.trainer.workers))
        return read_outputs(cache, examples.rows.column("image_id"), views)

    def compute_logits(self, examples: Examples, views: int) -> ViewOutputs:
        """Logits [rows, views, C], like ``compute_outputs``."""
        outputs = self.compute_outputs(examples, views)
        return outputs if self.output == "logits" else HeadLogits(self.classifier, outputs)

    def live_logits(self, images: Tensor) -> NDArray[np.float32]:
        """Logits [B, C] of renders, as the cache would have them: in the same precision, with the head in float32."""
        outputs = self.forward(images)
        return outputs if self.output == "logits" else head_logits(self.classifier, outputs)
