"""Scores to events: the rules of a label, and the decoder that applies them."""
