"""streamer: a daemon that listens. Sound in, keyword and sound-event labels out over ZeroMQ."""

__version__ = "0.1.0"
