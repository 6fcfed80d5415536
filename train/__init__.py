"""Stage 1: fine-tune the teacher, its head on cached features or all of it on images, and calibrate it.

``train`` holds the stage, ``head`` and ``optimum`` solve the last layer, ``modes`` and ``module`` are for a fit on
images, ``losses`` serves both, ``teacher`` is the model before and afterwards. ``suspects`` lists labels that the
teacher's features speak against.
"""
