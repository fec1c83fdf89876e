"""How long people wait: a click in the page, `p` on a whole clip, and eight people at one model server.

Everything is real: Label Studio, the model server with the packaged nano network, headless Chromium. Only the clips are
drawn, so that it is known where every answer must lie. Run: ``python -m benchmarks.studio``.
"""
