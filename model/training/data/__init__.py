"""Readers of public data sets, as clip sources: `sources.parse_source` opens them from a text.

A reader lists names when it is made and reads nothing else. A video or an image is opened when a clip is cut
from it, frame by frame; what cannot be read raises `ClipError` with the file and the reason, and another clip
is drawn.
"""
