"""Training on what the engine holds: data sets as clips, videos that must not be learnt from, processes that train."""
