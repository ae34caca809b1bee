"""Errors for the person at the terminal: one line with cause and remedy, and an exit status."""

from __future__ import annotations

EXIT_OK = 0
EXIT_FAILURE = 1
EXIT_USAGE = 2
EXIT_CONFIG = 3
EXIT_DEVICE = 4
EXIT_BUNDLE = 5
EXIT_SOUND = 6
EXIT_SOCKET = 7
EXIT_JOURNAL = 8
EXIT_INTERRUPTED = 130


class StreamerError(Exception):
    """A fault that a person can mend: what is wrong, and what to do about it."""

    status = EXIT_FAILURE

    def __init__(self, message: str, remedy: str = "") -> None:
        super().__init__(message, remedy)
        self.message = message
        self.remedy = remedy

    def __str__(self) -> str:
        return f"{self.message}; {self.remedy}" if self.remedy else self.message


class ConfigError(StreamerError):
    """One or more settings are wrong; `faults` lists every one of them."""

    status = EXIT_CONFIG

    def __init__(self, faults: list[str], remedy: str = "") -> None:
        super().__init__("; ".join(faults), remedy)
        self.faults = faults


class DeviceError(StreamerError):
    """There is no such microphone, or it refuses."""

    status = EXIT_DEVICE


class BundleError(StreamerError):
    """A model bundle cannot be trusted or cannot be run; names the file and the field."""

    status = EXIT_BUNDLE


class SoundError(StreamerError):
    """A file or pipe that holds no usable sound."""

    status = EXIT_SOUND


class SocketError(StreamerError):
    """An address, socket or runtime directory that cannot be used."""

    status = EXIT_SOCKET


class JournalError(StreamerError):
    """A journal that must not be used: open to others, in use, another program's, or a newer version's."""

    status = EXIT_JOURNAL


class SecurityError(StreamerError):
    """A key or a list of who may come in that cannot be used."""

    status = EXIT_CONFIG


class MissingExtra(StreamerError):
    """An optional part is not installed; the remedy is its install command."""

    def __init__(self, part: str, extra: str) -> None:
        super().__init__(f"{part} is not installed", f"pip install 'streamer[{extra}]'")
