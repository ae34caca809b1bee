"""Recordings in: readers of the usual layouts, decoded sound, and where in a recording a label is heard."""
