"""Quality: how good masks are (J, F, alignment), what they cost in people, and who may judge and promote.

Names are imported from the files that define them (``qa.metrics.score_masklet``); the small ones, such as the
settings of the gate and of the verifier, load neither torch nor OpenCV.
"""
