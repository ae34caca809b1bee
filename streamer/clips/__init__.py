"""The sound around an event, if asked for: cut from a stream's memory, kept as FLAC, forgotten in time."""
