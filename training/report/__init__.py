"""The evaluation as one page to look at: hand-drawn SVG, no scripts, nothing fetched from anywhere."""
