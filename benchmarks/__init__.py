"""`make bench`: what streamer costs, beside others, on this machine. `__main__.py` is the way in."""
