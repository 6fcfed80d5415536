"""The view cache: outputs of a frozen model for image × view, computed once and memory-mapped for ever after.

``key`` names a cache, ``plan`` cuts it into ``shards``, ``fill`` makes them from what ``render`` draws, ``read`` gives
them back, ``check`` compares with the live model. ``frozen`` is the way in; ``passes`` lists who asks for what.
Left out on purpose: images are never kept, and nothing is that can be derived (``docs/cache.md``).
"""
