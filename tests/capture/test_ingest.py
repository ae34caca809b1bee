"""Real senders and the real ingest sockets: over loopback, through a bad network, with keys, and nonsense."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Self

import numpy as np
import pytest
import soundfile
import zmq

from streamer.audio import Chunk
from streamer.capture.codecs import quantise
from streamer.capture.files import SoundFileSource
from streamer.capture.ingest import Ingest
from streamer.capture.reception import Limits
from streamer.capture.remote_messages import LARGEST_FRAME_BYTES
from streamer.capture.sender import Sender
from streamer.delivery.endpoints import INGEST, check_connect_endpoint
from streamer.errors import SocketError
from streamer.security.allowed import AllowList, Client
from streamer.security.keys import KeyPair, make_pair
from streamer.security.known import Credentials
from streamer.security.setup import Security
from tests.capture.test_remote import audio, hello
from tests.support.tcp_proxy import TcpProxy

TIMEOUT_S = 30.0


class Ear:
    """A daemon's ingest on a thread of its own: everything that comes out of it is kept."""

    def __init__(
        self, endpoint: str = "tcp://127.0.0.1:*", *, security: Security | None = None, **limits: float
    ) -> None:
        self.heard: dict[str, list[Chunk]] = {}
        self.ended: dict[str, str] = {}
        self.lost: dict[str, int] = {}
        self.deaf = False
        """It hangs: nothing is taken from the sockets."""
        self.busy_s = 0.0
        self._changed = threading.Condition()
        self._stop = threading.Event()
        self._started = threading.Event()
        self._fault: BaseException | None = None
        self._options = (endpoint, security, Limits(**limits))  # type: ignore[arg-type]
        self._thread = threading.Thread(target=self._run, name="ear")

    def __enter__(self) -> Self:
        self._thread.start()
        self._started.wait(TIMEOUT_S)
        if self._fault is not None:
            raise self._fault
        return self

    def __exit__(self, *error: object) -> None:
        self._stop.set()
        self._thread.join(TIMEOUT_S)
        if self._fault is not None and error[0] is None:
            raise self._fault

    @property
    def port(self) -> int:
        return int(self.endpoint.rpartition(":")[2])

    def _run(self) -> None:
        endpoint, security, limits = self._options
        try:
            with Ingest([endpoint], limits, security=security) as self.ingest:
                (self.endpoint,) = self.ingest.endpoints
                self._started.set()
                while not self._stop.is_set():
                    time.sleep(0.002)
                    if not self.deaf:
                        self._turn()
        except BaseException as fault:
            self._fault = fault
            self._started.set()

    def _turn(self) -> None:
        began_s = time.thread_time()
        self.ingest.receive()
        self.ingest.reception.expire()
        news = self.ingest.reception.take_news()
        with self._changed:
            for source in [*news.ready.values(), *(source for source, _ in news.ended)]:
                chunks = self.heard.setdefault(source.name, [])
                while (chunk := source.read()) is not None:
                    chunks.append(chunk)
                self.lost[source.name] = source.lost_samples
            self.ended.update({source.name: why for source, why in news.ended})
            self._changed.notify_all()
        self.ingest.acknowledge(self.ingest.reception.take_acks())
        self.busy_s += time.thread_time() - began_s

    def samples(self, name: str) -> int:
        return sum(len(chunk.samples) for chunk in self.heard.get(name, []))

    def wait_samples(self, name: str, samples: int) -> None:
        with self._changed:
            found = self._changed.wait_for(lambda: self.samples(name) >= samples, TIMEOUT_S)
        assert found, f"{self.samples(name)} of {samples} samples came"

    def wait_end(self, name: str) -> None:
        with self._changed:
            assert self._changed.wait_for(lambda: name in self.ended, TIMEOUT_S)


class Running:
    """A sender on a thread of its own."""

    def __init__(
        self, path: Path, to: str, stream: str = "kitchen", *, fast: bool = True, **options: object
    ) -> None:
        self.told: list[str] = []
        self.fault: BaseException | None = None
        self.sender = Sender(
            SoundFileSource(path, realtime=not fast),
            check_connect_endpoint(to, INGEST),
            stream,
            tell=self.told.append,
            **options,  # type: ignore[arg-type]
        )
        self._thread = threading.Thread(target=self._run, name=f"sender-{stream}")
        self._thread.start()

    def _run(self) -> None:
        try:
            self.sender.run()
        except BaseException as fault:
            self.fault = fault

    def join(self) -> None:
        self._thread.join(TIMEOUT_S)
        assert not self._thread.is_alive()

    def wait_told(self, part: str) -> None:
        deadline_s = time.monotonic() + TIMEOUT_S
        while not any(part in line for line in self.told):
            assert time.monotonic() < deadline_s, (part, self.told)
            time.sleep(0.02)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.sender.stop()
        self.join()


@pytest.fixture
def sound() -> np.ndarray:
    """Three seconds of 16-bit noise: what arrives can be compared to the last bit."""
    return np.random.default_rng(11).integers(-(2**15), 2**15, 48_000).astype(np.int16)


@pytest.fixture
def path(tmp_path: Path, sound: np.ndarray) -> Path:
    soundfile.write(tmp_path / "noise.wav", sound, 16_000)
    return tmp_path / "noise.wav"


def assert_all_of_it(ear: Ear, sound: np.ndarray, name: str = "kitchen") -> None:
    chunks = ear.heard[name]
    assert [chunk.first_sample for chunk in chunks[1:]] == [chunk.end_sample for chunk in chunks[:-1]]
    np.testing.assert_array_equal(quantise(np.concatenate([chunk.samples for chunk in chunks])), sound)
    assert (chunks[0].first_sample, ear.lost[name]) == (0, 0)


@pytest.mark.parametrize("codec", ["pcm16", "flac"])
def test_what_is_sent_arrives_to_the_last_bit(codec: str, path: Path, sound: np.ndarray) -> None:
    with Ear() as ear:
        with Running(path, ear.endpoint, codec=codec) as running:
            running.join()
        ear.wait_end("kitchen")
    assert running.fault is None
    assert_all_of_it(ear, sound)
    assert ear.ended == {"kitchen": "the sender said goodbye"}
    assert running.told == [f"{ear.endpoint}: connected: the daemon takes the stream kitchen"]
    age_s = time.time() - ear.heard["kitchen"][-1].captured_utc_s
    assert 0 <= age_s < TIMEOUT_S


def test_a_socket_file(path: Path, sound: np.ndarray, tmp_path: Path) -> None:
    place = f"ipc://{tmp_path}/ingest.sock"
    with Ear(place) as ear:
        assert (tmp_path / "ingest.sock").stat().st_mode & 0o777 == 0o600
        with Running(path, place) as running:
            running.join()
        ear.wait_end("kitchen")
    assert_all_of_it(ear, sound)


def test_the_network_is_cut_again_and_again(path: Path, sound: np.ndarray) -> None:
    """In the middle of messages, with 20 ms of delay each way: nothing is lost, doubled or moved."""
    with Ear() as ear, TcpProxy(ear.port, delay_s=0.02) as proxy:
        with Running(path, proxy.endpoint, fast=False) as running:
            for _ in range(5):
                before = ear.samples("kitchen")
                ear.wait_samples("kitchen", before + 4000)
                proxy.cut()
            running.join()
        ear.wait_end("kitchen")
    assert_all_of_it(ear, sound)
    assert sum("back after" in line for line in running.told) >= 3, running.told


def test_a_cable_that_is_pulled_and_put_back(path: Path, sound: np.ndarray) -> None:
    """Nothing is refused and nothing moves: told after the silence, and made good afterwards."""
    with Ear() as ear, TcpProxy(ear.port) as proxy:
        with Running(path, proxy.endpoint, fast=False) as running:
            ear.wait_samples("kitchen", 8000)
            proxy.held = True
            running.wait_told("the daemon has said nothing for 5 s")
            proxy.held = False
            running.wait_told("nothing lost")
            running.join()
        ear.wait_end("kitchen")
    assert_all_of_it(ear, sound)


def test_what_does_not_fit_is_lost_and_told_on_both_sides(tmp_path: Path) -> None:
    """The network is away for longer than the buffer lasts."""
    sound = np.random.default_rng(2).integers(-(2**15), 2**15, 64_000).astype(np.int16)
    soundfile.write(tmp_path / "long.wav", sound, 16_000)
    with Ear() as ear, TcpProxy(ear.port) as proxy:
        with Running(tmp_path / "long.wav", proxy.endpoint, fast=False, buffer_s=1.0) as running:
            ear.wait_samples("kitchen", 8000)
            proxy.unplug()
            time.sleep(2.0)
            proxy.plug()
            running.join()
        ear.wait_end("kitchen")
    chunks = ear.heard["kitchen"]
    for chunk in chunks:
        np.testing.assert_array_equal(quantise(chunk.samples), sound[chunk.first_sample : chunk.end_sample])
    assert chunks[-1].end_sample == len(sound)
    lost = len(sound) - ear.samples("kitchen")
    assert 8000 < lost == ear.lost["kitchen"]
    back = next(line for line in running.told if "back after" in line)
    assert 0 <= int(back.split(", ")[1].split()[0]) - lost <= 16_000, (back, lost)


def test_a_narrow_line_is_enough_for_flac_of_a_quiet_room(tmp_path: Path) -> None:
    """25 kB/s, where 16-bit PCM needs 33: in time all the same."""
    quiet = (np.random.default_rng(1).standard_normal(48_000) * 100).astype(np.int16)
    soundfile.write(tmp_path / "quiet.wav", quiet, 16_000)
    with Ear() as ear, TcpProxy(ear.port, bytes_per_s=25_000) as proxy:
        began_s = time.monotonic()
        with Running(tmp_path / "quiet.wav", proxy.endpoint, fast=False, codec="flac") as running:
            running.join()
        took_s = time.monotonic() - began_s
        ear.wait_end("kitchen")
    assert_all_of_it(ear, quiet)
    assert proxy.passed_bytes < 25_000 * took_s


def test_a_daemon_that_hangs_for_a_while(path: Path, sound: np.ndarray) -> None:
    with Ear() as ear:
        with Running(path, ear.endpoint, fast=False) as running:
            ear.wait_samples("kitchen", 8000)
            ear.deaf = True
            running.wait_told("the daemon has said nothing")
            ear.deaf = False
            running.join()
        ear.wait_end("kitchen")
    assert_all_of_it(ear, sound)


def test_a_daemon_that_comes_later(path: Path, sound: np.ndarray) -> None:
    """The sender waits for it, and says once that nobody is there; the end of the file does not end that."""
    with TcpProxy(1) as proxy:
        port = int(proxy.endpoint.rpartition(":")[2])
    with Running(path, f"tcp://127.0.0.1:{port}", fast=False) as running:
        running.wait_told("nobody answers at this address")
        with Ear(f"tcp://127.0.0.1:{port}") as ear:
            ear.wait_end("kitchen")
    assert_all_of_it(ear, sound)
    assert len(running.told) == 2, running.told


def test_told_to_stop_it_sends_what_there_is_and_says_goodbye(path: Path, sound: np.ndarray) -> None:
    with Ear() as ear:
        with Running(path, ear.endpoint, fast=False) as running:
            ear.wait_samples("kitchen", 8000)
        ear.wait_end("kitchen")
    count = ear.samples("kitchen")
    assert 8000 <= count < len(sound)
    assert_all_of_it(ear, sound[:count])
    assert len(running.told) == 1, "nothing is missing"


def test_told_to_stop_with_nobody_there_it_goes_at_once(path: Path) -> None:
    with TcpProxy(1) as proxy:
        port = int(proxy.endpoint.rpartition(":")[2])
    began_s = time.monotonic()
    with Running(path, f"tcp://127.0.0.1:{port}", fast=False) as running:
        time.sleep(0.5)
    assert time.monotonic() - began_s < 5
    assert any("s of sound did not arrive" in line for line in running.told)


# -- keys ------------------------------------------------------------------------------------------


class House:
    """A daemon's keys, and one client's."""

    def __init__(self, *streams: str) -> None:
        self.daemon, self.client = make_pair("daemon"), make_pair("pi")
        rights = frozenset({"send"})
        one = Client(name="pi", key=self.client.public, rights=rights, streams=streams)  # type: ignore[arg-type]
        self.security = Security(Path(), Path(), self.daemon, AllowList([one]))

    def credentials(self, client: KeyPair | None = None) -> Credentials:
        pair = client or self.client
        return Credentials(self.daemon.public, pair.public, pair.secret)


def outside() -> str:
    """An address of this machine that is not loopback, for a daemon that is reached from outside."""
    return "tcp://0.0.0.0:*"


@pytest.fixture
def quiet_log() -> Iterator[None]:
    logger = logging.getLogger("streamer")
    before, logger.propagate = logger.propagate, True
    yield
    logger.propagate = before


def test_without_keys_nobody_outside_is_let_in() -> None:
    with pytest.raises(SocketError, match="is not on loopback"):
        Ingest([outside()], Limits())


def test_with_a_key_and_the_right_name(path: Path, sound: np.ndarray) -> None:
    house = House("kitchen")
    with Ear(outside(), security=house.security) as ear:
        with Running(path, f"tcp://127.0.0.1:{ear.port}", credentials=house.credentials()) as running:
            running.join()
        ear.wait_end("kitchen")
    assert_all_of_it(ear, sound)


def test_with_a_key_and_a_name_that_is_not_its_own(
    path: Path, quiet_log: None, caplog: pytest.LogCaptureFixture
) -> None:
    house = House("kitchen")
    with Ear(outside(), security=house.security) as ear:
        to = f"tcp://127.0.0.1:{ear.port}"
        with Running(path, to, "bedroom", credentials=house.credentials()) as running:
            running.wait_told("this key may not send the stream bedroom")
    assert "bedroom" not in ear.heard
    assert caplog.text.count("(forbidden)") == 1


@pytest.mark.parametrize("sort", ["unknown", "none"])
def test_without_a_key_that_is_known(sort: str, path: Path) -> None:
    house = House("kitchen")
    credentials = house.credentials(make_pair("stranger")) if sort == "unknown" else None
    with Ear(outside(), security=house.security) as ear:
        to = f"tcp://127.0.0.1:{ear.port}"
        with Running(path, to, credentials=credentials) as running:
            running.wait_told("key")
    assert ear.heard == {}
    assert not any("connected" in line for line in running.told)


# -- nonsense on the wire --------------------------------------------------------------------------


def test_garbage_from_all_sides_does_not_disturb_those_who_speak_properly(
    path: Path, sound: np.ndarray, rng: np.random.Generator
) -> None:
    """Bytes that are no ZeroMQ, messages that are none of ours, frames without end, more than is allowed."""
    import socket as sockets

    with Ear() as ear, zmq.Context() as context:
        with Running(path, ear.endpoint, fast=False) as running:
            ear.wait_samples("kitchen", 4000)
            with (
                context.socket(zmq.DEALER) as dealer,
                sockets.create_connection(("127.0.0.1", ear.port)) as raw,
            ):
                dealer.setsockopt(zmq.LINGER, 0)
                dealer.connect(ear.endpoint)
                raw.sendall(rng.bytes(100_000)[:60_000])
                dealer.send_multipart([b""] * 1000)
                for _ in range(3000):
                    parts = [rng.bytes(int(rng.integers(0, 300))) for _ in range(int(rng.integers(1, 5)))]
                    dealer.send_multipart(parts)
                dealer.send_multipart([b"{}", bytes(LARGEST_FRAME_BYTES + 1)])
                running.join()
        ear.wait_end("kitchen")
        assert ear.ingest.reception.unreadable > 1000
        assert ear.ingest.reception.names == []
    assert_all_of_it(ear, sound)


def test_a_sender_that_floods_does_not_delay_the_others(path: Path, sound: np.ndarray) -> None:
    from streamer.capture.remote_messages import encode

    stop = threading.Event()

    def flood() -> None:
        with zmq.Context() as context, context.socket(zmq.DEALER) as dealer:
            dealer.setsockopt(zmq.LINGER, 0)
            dealer.setsockopt(zmq.SNDTIMEO, 100)
            dealer.connect(ear.endpoint)
            dealer.send(encode(hello("flood", "ef" * 16)))
            first = 0
            while not stop.is_set():
                try:
                    dealer.send_multipart([encode(audio(first, 16_000, "ef" * 16)), bytes(32_000)])
                    first += 16_000
                except zmq.Again:
                    pass

    with Ear() as ear:
        thread = threading.Thread(target=flood)
        thread.start()
        try:
            with Running(path, ear.endpoint, fast=False) as running:
                began_s = time.monotonic()
                running.join()
                took_s = time.monotonic() - began_s
        finally:
            stop.set()
            thread.join(TIMEOUT_S)
        ear.wait_end("kitchen")
    assert_all_of_it(ear, sound)
    assert took_s < 3 + 8
    assert ear.samples("flood") < 16 * 16_000 * (took_s + 8 + 5)
