"""The delivery thread: journal first, then publish; and answers to requests. Disk and network wait here only.

The main thread leaves records in a mailbox and never waits. What a client wants of the daemon itself goes to
the main thread, in a mailbox the other way, and its answer comes back like a record.
"""

from __future__ import annotations

import contextlib
import logging
import math
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import msgspec
import zmq

from streamer.delivery.binding import end_context
from streamer.delivery.control import Address, ControlServer
from streamer.delivery.desk import InfoDesk
from streamer.delivery.journal import Journal
from streamer.delivery.lately import Lately
from streamer.delivery.mailbox import Mailbox
from streamer.delivery.messages import Event, Frames, Health, Record, encode, frame_topic, utc_ms
from streamer.delivery.publisher import CLIENTS_MAX, Publisher, is_among
from streamer.delivery.requests import (
    AnyRequest,
    Ping,
    Replay,
    Reply,
    RequestError,
    Status,
    Streams,
    error_reply,
)
from streamer.delivery.store import Entry
from streamer.security.allowed import AllowList
from streamer.security.guard import Guard
from streamer.security.setup import Security

log = logging.getLogger("streamer")

TURN_MAX = 500
"""Records delivered before requests have their turn."""
FRAMES_WAITING_MAX = 1_000
"""Messages with frame scores that wait for the thread; they are of use while they are fresh."""
STREAMS_REMEMBERED_MAX = 10_000
"""Streams come and go under ever new names."""
WAITING_MAX = 100_000
"""Records that wait for the thread; beyond them health messages are left out. Events never are."""
COMMANDS_MAX = 100
"""Requests that wait for the main thread."""
KEPT_MAX_S, KEPT_LOOK_S = 2.0, 0.005
"""How long the main thread waits for the disk at its very end, and how often it looks."""
CLOSE_MAX_S = 8.0
"""When close() gives up on a disk that does not answer."""


@dataclass(frozen=True, slots=True)
class Command:
    """A request for the main thread."""

    request: AnyRequest
    address: Address


@dataclass(frozen=True, slots=True)
class _Answer:
    reply: Reply
    address: Address


class Totals(NamedTuple):
    """What has become of the messages of this run."""

    connections: int = 0
    subscriptions: int = 0
    sent: int = 0
    overflows: int = 0
    frames_dropped: int = 0


class Tap(Protocol):
    """Somebody who takes note of what is published; on the delivery thread, and quickly."""

    def told(self, record: Event | Health) -> None:
        """A message has been published."""

    def counted(self, totals: Totals) -> None:
        """How many there were; now and then."""


class Outlet:
    """What the main thread knows of delivery; `start` it, look at `fileno` for commands, `close` it."""

    def __init__(
        self,
        run: str,
        journal: Journal | None,
        *,
        publish: Sequence[str],
        control: Sequence[str] = (),
        send_high_water: int = 10_000,
        security: Security | None = None,
        clients_max: int = CLIENTS_MAX,
        tap: Tap | None = None,
    ) -> None:
        self.journal_name = ""
        """To be written into every event; "" without a journal."""
        self.head_seq = 0
        """The highest number given out before this run."""
        self.lately = Lately()
        """What was told in the runs before this one."""
        self.kept_seq = 0
        """Events up to this number are in the journal or wait to be written to it."""
        self.publishing_on: list[str] = []
        self.control_on: list[str] = []
        self.frames_dropped = 0
        self._run_id = run
        self._journal = journal
        self._publish = publish
        self._control_endpoints = control
        self._send_high_water = send_high_water
        self._security = security
        self._clients_max = clients_max
        self._tap = tap
        self._inbox: Mailbox[Record | _Answer | AllowList] = Mailbox()
        self._commands: Mailbox[Command] = Mailbox()
        self._wanted: frozenset[bytes] = frozenset()
        self._wanted_before = self._wanted
        self._wants_frames: dict[str, bool] = {}  # as long as that is the same: it is asked for each block
        self._frames_put = self._frames_done = 0
        self._is_behind = False
        self._closing = False
        self._ready = threading.Event()
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="delivery", daemon=True)

    # -- for the main thread ---------------------------------------------------------------------------

    def start(self) -> None:
        """Open journal and sockets; raises what stands in the way."""
        self._thread.start()
        self._ready.wait()
        if self._error:
            self._thread.join()
            self._close_mailboxes()
            raise self._error

    def put(self, record: Record) -> None:
        """Leave a record to be delivered after the next `flush`; never waits."""
        if isinstance(record, Frames):
            if self._frames_put - self._frames_done >= FRAMES_WAITING_MAX:
                self._fall_behind()
                return
            self._frames_put += 1
        elif isinstance(record, Health) and not record.final and len(self._inbox) >= WAITING_MAX:
            return
        self._inbox.put(record)

    def flush(self) -> None:
        """Wake the thread if there is anything for it; raises the error that ended it, if one did."""
        if self._error:
            raise self._error
        if len(self._inbox):
            self._inbox.ring()
        else:
            self._is_behind = False

    def wants_frames(self, stream: str) -> bool:
        """Whether anybody has subscribed to this stream's frame scores."""
        wanted = self._wanted
        if wanted is not self._wanted_before or len(self._wants_frames) > STREAMS_REMEMBERED_MAX:
            self._wanted_before, self._wants_frames = wanted, {}
        found = self._wants_frames.get(stream)
        if found is None:
            found = self._wants_frames[stream] = bool(wanted) and is_among(wanted, frame_topic(stream))
        return found

    def fileno(self) -> int:
        """Readable when there are commands, events have been kept, or the thread has ended."""
        return self._commands.fileno()

    def take_commands(self) -> list[Command]:
        """What clients want of the main thread; each is to be answered."""
        return self._commands.take(COMMANDS_MAX)

    def answer(self, command: Command, reply: Reply) -> None:
        """The answer to a command."""
        self._inbox.put(_Answer(reply, command.address))

    def replace_allowed(self, allowed: AllowList) -> None:
        """Another list of who may come in."""
        self._inbox.put(allowed)

    def wait_kept(self, seq: int) -> None:
        """Until the events up to this number are in the journal; a disk that hangs is not waited for."""
        deadline_s = time.monotonic() + KEPT_MAX_S
        while self.kept_seq < seq and time.monotonic() < deadline_s and self._thread.is_alive():
            time.sleep(KEPT_LOOK_S)

    def close(self) -> None:
        """Deliver what is there and end; a disk or network that does not answer is left behind in the end."""
        self._closing = True
        self._inbox.ring()
        self._thread.join(CLOSE_MAX_S)
        if self._thread.is_alive():
            log.error("delivery did not end in %g s; %d records are left", CLOSE_MAX_S, len(self._inbox))
        else:
            self._close_mailboxes()

    def _close_mailboxes(self) -> None:
        self._inbox.close()
        self._commands.close()

    def _fall_behind(self) -> None:
        self.frames_dropped += 1
        if not self._is_behind:
            self._is_behind = True
            log.warning("delivery is behind: frame scores are dropped; is the disk or the machine too busy?")

    # -- the thread ------------------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            with contextlib.ExitStack() as stack:
                self._open(stack)
                self._ready.set()
                while not self._closing or len(self._inbox):
                    self._turn()
                self._refuse_commands()
        except BaseException as error:  # the main thread ends with it
            self._error = error
        finally:
            self._ready.set()
            self._commands.ring()

    def _open(self, stack: contextlib.ExitStack) -> None:
        if self._journal:
            self._journal.open()
            stack.callback(self._journal.close)
            self.journal_name, self.head_seq = self._journal.name, self._journal.head_seq
            self.lately = Lately(self._journal)
        self.kept_seq = self.head_seq
        context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        stack.callback(end_context, context)
        security, clients_max = self._security, self._clients_max
        self._guard = Guard(context, security.allowed if security else None)
        stack.callback(self._guard.close)
        self._publisher = Publisher(
            self._publish,
            send_high_water=self._send_high_water,
            context=context,
            guard=self._guard,
            security=security,
            clients_max=clients_max,
        )
        stack.callback(self._publisher.close)
        self._control = ControlServer(
            context, self._control_endpoints, self._guard, security=security, clients_max=clients_max
        )
        stack.callback(self._control.close)
        self.publishing_on, self.control_on = self._publisher.endpoints, self._control.endpoints
        self._desk = InfoDesk(self._run_id, self._journal, self._publisher)
        self._desk.seq = self.head_seq
        self._resting = self._poller()
        self._serving = self._poller(*self._control.sockets)

    def _poller(self, *more: zmq.Socket[bytes]) -> zmq.Poller:
        poller = zmq.Poller()
        poller.register(self._inbox.fileno(), zmq.POLLIN)
        for socket in (*self._publisher.sockets, *self._guard.sockets, *more):
            poller.register(socket, zmq.POLLIN)
        return poller

    def _turn(self) -> None:
        """Sleep until there is something to do, and do it: events first."""
        rests_s = self._control.rests_s
        (self._resting if rests_s else self._serving).poll(self._wait_ms(rests_s))
        self._deliver()
        self._guard.handle()
        self._publisher.drain()
        if self._wanted != self._publisher.wanted:
            self._wanted = self._publisher.wanted
            self._commands.ring()  # the main thread may leave out what nobody wants
        self._control.serve(self._obey)
        if self._journal:
            self._journal.tend()

    def _wait_ms(self, rests_s: float) -> int | None:
        due_s = [rests_s] if rests_s else []
        now_s = time.monotonic()
        if self._journal:
            due_s.append(self._journal.due_s - now_s)
        if self._guard.due_s < math.inf:
            due_s.append(self._guard.due_s - now_s)
        return max(0, math.ceil(min(due_s) * 1_000)) if due_s else None

    def _deliver(self) -> None:
        items = self._inbox.take(TURN_MAX)
        messages = [(item, encode(item)) for item in items if isinstance(item, Event)]
        if self._journal and messages:
            self._journal.append([_entry(event, parts) for event, parts in messages])
        if messages:
            self.kept_seq = messages[-1][0].seq
            self._commands.ring()  # senders may wait to hear that
        encoded = iter(messages)
        for item in items:
            if isinstance(item, Event):
                self._desk.seq = item.seq
                self._publisher.send_parts(next(encoded)[1])
                if self._tap:
                    self._tap.told(item)
            elif isinstance(item, _Answer):
                self._control.reply(item.address, item.reply)
            elif isinstance(item, AllowList):
                self._guard.replace_allowed(item)
            else:
                self._send_live(item)

    def _send_live(self, record: Frames | Health) -> None:
        if isinstance(record, Frames):
            self._frames_done += 1
        else:
            record = self._with_journal(record)
            self._desk.note(record)
            if self._tap:
                self._tap.told(record)
                self._tap.counted(self._totals())
        self._publisher.send(record)

    def _totals(self) -> Totals:
        publisher = self._publisher
        return Totals(
            publisher.connections,
            len(publisher.wanted),
            publisher.sent,
            publisher.overflows,
            self.frames_dropped,
        )

    def _with_journal(self, health: Health) -> Health:
        if self._journal is None:
            return health
        journal = self._journal.health()
        return msgspec.structs.replace(
            health,
            journal=journal.journal,
            oldest_seq=journal.oldest_seq,
            journal_state=journal.state,
            journal_detail=journal.detail,
            journal_pending=journal.pending,
        )

    def _obey(self, request: AnyRequest, address: Address) -> Reply | None:
        """Answer at once what can be answered here; the main thread answers the rest."""
        if isinstance(request, Ping):
            return self._desk.ping()
        if isinstance(request, Status):
            return self._desk.status(self._control.endpoints, self.frames_dropped)
        if isinstance(request, Streams):
            return self._desk.streams()
        if isinstance(request, Replay):
            reply, frames = self._desk.replay(request)
            self._control.reply(address, reply, frames)
        elif len(self._commands) >= COMMANDS_MAX:
            raise RequestError("busy", "too many requests wait", "ask again later")
        else:
            self._commands.put(Command(request, address))
            self._commands.ring()
        return None

    def _refuse_commands(self) -> None:
        stopping = error_reply(RequestError("not-available", "the daemon is stopping"))
        for command in self._commands.take(COMMANDS_MAX):
            self._control.reply(command.address, stopping)


def _entry(event: Event, parts: Sequence[bytes]) -> Entry:
    return Entry(event.seq, parts[0].decode(), utc_ms(event.time_utc), parts[1])
