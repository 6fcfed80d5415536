"""Stage 1: fine-tune the teacher, its head on cached features or all of it on images, and calibrate it.

``train`` holds the stage, ``fits`` its two fits, ``module`` and ``losses`` the step, ``teacher`` the model before and
afterwards. ``suspects`` lists labels that the teacher's features speak against.
"""
