"""Stage 2: train students from the teacher's logits for each view, from the cache or live.

``distill`` holds the stage, ``lessons`` the examples and who teaches, ``module``, ``losses`` and ``mixup`` the step.
``cache`` makes and checks the view cache by itself. Left out on purpose: the teacher is in no student's checkpoint.
"""
