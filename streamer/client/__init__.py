"""The client's library: `Subscriber` and `Control`; for asyncio, those of streamer.client.aio.

from streamer.client import Subscriber
with Subscriber() as subscriber:
    for event in subscriber.events():
        print(event.label, event.phase, event.score)
"""

from __future__ import annotations

from streamer.client.control import Control, ControlError
from streamer.client.pages import Page
from streamer.client.place import PlaceError
from streamer.client.records import DaemonGone, Missed, Place, Record
from streamer.client.subscriber import Subscriber
from streamer.delivery.messages import Event, Frames, Health, MessageError
from streamer.security.known import Credentials

__all__ = [
    "Control",
    "ControlError",
    "Credentials",
    "DaemonGone",
    "Event",
    "Frames",
    "Health",
    "MessageError",
    "Missed",
    "Page",
    "Place",
    "PlaceError",
    "Record",
    "Subscriber",
]
