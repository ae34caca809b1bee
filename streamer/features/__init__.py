"""Samples to feature rows, in the order of the files: framing, mel, mfcc, deltas; extractor joins them."""
