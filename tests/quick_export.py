"""PyTorch's exporter without what it does again and again: every file is the same, byte for byte.

It makes its table of operators anew for each file, which takes a second. And it tries hundreds of rules on each node,
of which one with two outputs walks the whole graph before it looks at the node: time grows with the graph squared.
"""

from functools import cache
from typing import Any

from onnxscript.rewriter._basics import MatchResult
from onnxscript.rewriter._matcher import SimplePatternMatcher
from torch.onnx._internal.exporter._registration import ONNXRegistry

_match = SimplePatternMatcher.match


def _match_operator_first(self: Any, model: Any, graph: Any, node: Any, **options: Any) -> MatchResult:
    first = self.pattern.output_nodes[0]
    if first.op.matches(node.op_type) and first.domain.matches(node.domain):
        return _match(self, model, graph, node, **options)
    return MatchResult().fail("another operator")


registry: Any = ONNXRegistry
registry.from_torchlib = staticmethod(cache(ONNXRegistry.from_torchlib))
SimplePatternMatcher.match = _match_operator_first
