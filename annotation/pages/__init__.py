"""What the engine and a page of Label Studio say to each other.

Pictures and clips on disk (`media`), how a video is cut and scaled into pages (`views`), masks as PNG (`bitmask`), the
pieces of work that were published (`tickets`), what people did (`events`), and regions to read and write (`marks`).
"""
