"""The loop: truncated back-propagation over endless streams with carried state."""
