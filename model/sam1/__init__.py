"""SAM 1 (Segment Anything, arXiv 2304.02643): masks in still images, the annotator's tool of phase 1."""
