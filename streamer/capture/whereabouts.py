"""Whether a recording may come from where the sound server takes it, and what is to be told of it.

Where one device was asked for, only that will do: a recording that is moved away is given up, and the device
looked for. Where the server was to choose, its choice is followed, and told. What the server plays itself is
no microphone: only who began with that gets it again.
"""

from __future__ import annotations

from streamer.capture.recorder_wire import ServerSource

SERVERS_CHOICE = ("default", "pulse", "pipewire")
"""Devices of ALSA that stand for whatever source the sound server chooses."""
PLAYED = '"{}", which is what the sound server plays: no microphone'


class Whereabouts:
    """Of one microphone, through all its recordings."""

    def __init__(self, *, any_device: bool) -> None:
        self._any_device = any_device
        """The device was not named."""
        self._source: ServerSource | None = None
        self._is_follower = any_device
        self.news = ""
        """What has changed, until it is taken."""
        self.warning: str | None = None

    def begin(self, device: str, source: ServerSource | None) -> str:
        """Another recording has been opened; why it will not do, or ""."""
        before, self._source = self._source, source or self._source
        self._is_follower = self._any_device or device.lower() in SERVERS_CHOICE
        if source is None or not source.is_monitor:
            self.warning = None
        elif before is not None and not before.is_monitor:
            self._source = before
            return "the sound server has nothing but " + PLAYED.format(source.description)
        elif self._is_follower:
            self.warning = "listens to " + PLAYED.format(source.description)
        return ""

    def move(self, source: ServerSource) -> str:
        """The server has moved the recording; why that will not do, or ""."""
        before, told = self._source, f'the sound server has moved it to "{source.description}"'
        if before is not None and before.name == source.name:
            return ""
        if not self._is_follower:
            return told
        if source.is_monitor and not (before and before.is_monitor):
            return "the sound server has moved it to " + PLAYED.format(source.description)
        self._source, self.news = source, told
        self.warning = self.warning if source.is_monitor else None
        return ""

    @property
    def wants_microphone(self) -> bool:
        """What the server plays will not do any more."""
        return self._source is not None and not self._source.is_monitor

    def take_news(self) -> str:
        """What is to be told; "" once that has been done."""
        news, self.news = self.news, ""
        return news

    @property
    def followed(self) -> str:
        """The name of the source that the server has chosen, for people; "" where it was asked for."""
        return self._source.description if self._is_follower and self._source else ""
