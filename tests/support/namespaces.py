"""Machines with cables between them: network namespaces joined by veth pairs, as root on Linux.

    with Network("lab", ["attic", "laptop"]) as network:
        subprocess.run([*network.within("attic"), "command"])
        network.cables["attic"].pull()

Each cable joins the first machine with another one, and has a network of its own.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Self

QUEUE_MS = 400
"""What waits at a slow cable for longer is dropped."""
BURST_BYTES = 4_000
TOOL_S = 20.0
RULES = """
table inet torture {{
    chain incoming {{
        type filter hook input priority 0;
        iifname "{device}" {chance} counter drop
    }}
}}
"""
"""For nft: on the way in, since the system notices what is dropped on the way out, and sends it again."""


def lacks_network() -> str:
    """What stands in the way of namespaces here; "" if nothing does."""
    if os.geteuid() != 0:
        return "network namespaces need root"
    for tool in ("ip", "tc", "nsenter"):
        if _find(tool) is None:
            return f"{tool} is not installed (Debian: iproute2, util-linux)"
    try:
        with Network("a", ["b"]) as network:
            network.cables["b"].slow(100)
    except ToolError as error:
        return f"this system has no network namespaces: {error}"
    return ""


def lacks_drop() -> str:
    """What stands in the way of dropping packets at random; "" if nothing does."""
    if _find("nft") is None:
        return "nft is not installed (Debian: nftables)"
    try:
        with Network("a", ["b"]) as network:
            network.cables["b"].drop(50)
    except ToolError as error:
        return f"nft cannot drop packets here: {error}"
    return ""


class ToolError(Exception):
    """ip, tc or nft did not do it."""


class Network:
    """One machine in the middle, and others with a cable to it."""

    def __init__(self, middle: str, others: Sequence[str]) -> None:
        self.middle = middle
        self.cables: dict[str, Cable] = {}
        """By the machine at the far end."""
        self._others = list(others)

    def __enter__(self) -> Self:
        try:
            for machine in (self.middle, *self._others):
                _do("ip", "netns", "add", place(machine))
                _do("ip", "-n", place(machine), "link", "set", "lo", "up")
            for number, machine in enumerate(self._others):
                self.cables[machine] = Cable(self.middle, machine, number)
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """The machines are gone once no process is in them any more, and the cables with them."""
        for machine in (self.middle, *self._others):
            with contextlib.suppress(ToolError):
                _do("ip", "netns", "delete", place(machine))

    def within(self, machine: str) -> list[str]:
        """What to write before a command that is to run there."""
        return ["nsenter", f"--net=/run/netns/{place(machine)}"]


class Cable:
    """Joins two machines; does to both directions what it is told."""

    def __init__(self, near: str, far: str, number: int) -> None:
        self.near_address, self.far_address = f"10.99.{number}.1", f"10.99.{number}.2"
        self._ends = [(near, f"to-{far}"[:15], self.near_address), (far, "eth0", self.far_address)]
        (_, near_device, _), (_, far_device, _) = self._ends
        _do(
            *("ip", "link", "add", near_device, "netns", place(near)),
            *("type", "veth", "peer", "name", far_device, "netns", place(far)),
        )
        for machine, device, address in self._ends:
            _do("ip", "-n", place(machine), "address", "add", f"{address}/24", "dev", device)
            _do("ip", "-n", place(machine), "link", "set", device, "up")

    def pull(self) -> None:
        """Nothing passes, and nobody is told: the far end is unplugged."""
        self._link("down")

    def plug(self) -> None:
        """It is in again."""
        self._link("up")

    def _link(self, state: str) -> None:
        machine, device, _ = self._ends[0]
        _do("ip", "-n", place(machine), "link", "set", device, state)

    def slow(self, kbit: float) -> None:
        """No more than so many thousand bits a second in each direction."""
        for machine, device, _ in self._ends:
            bucket = ("rate", f"{kbit:g}kbit", "burst", str(BURST_BYTES), "latency", f"{QUEUE_MS}ms")
            _do("tc", "-n", place(machine), "qdisc", "replace", "dev", device, "root", "tbf", *bucket)

    def drop(self, percent: int) -> None:
        """So many of the packets get lost, at random, in each direction."""
        chance = f"numgen random mod 100 < {percent}" if percent < 100 else ""
        for machine, device, _ in self._ends:
            _do(*_nft(machine), "-f", "-", text=RULES.format(device=device, chance=chance))

    def dropped(self) -> int:
        """Packets that were lost so."""
        return sum(int(found) for machine, *_ in self._ends for found in _counted(machine))

    def mend(self) -> None:
        """As good as new, if it is plugged in."""
        for machine, device, _ in self._ends:
            for undo in (
                ("tc", "-n", place(machine), "qdisc", "delete", "dev", device, "root"),
                (*_nft(machine), "delete", "table", "inet", "torture"),
            ):
                with contextlib.suppress(ToolError):  # there was nothing to be mended
                    _do(*undo)


def place(machine: str) -> str:
    """The namespace's name: one of its own for each process that tests."""
    return f"streamer-{os.getpid()}-{machine}"


def _nft(machine: str) -> list[str]:
    return ["nsenter", f"--net=/run/netns/{place(machine)}", _find("nft") or "nft"]


def _counted(machine: str) -> Iterator[str]:
    with contextlib.suppress(ToolError):
        words = _do(*_nft(machine), "list", "table", "inet", "torture").split()
        yield from (number for word, number in pairwise(words) if word == "packets")


def _find(tool: str) -> str | None:
    return shutil.which(tool, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")


def _do(tool: str, *arguments: str, text: str = "") -> str:
    try:
        done = subprocess.run(
            [_find(tool) or tool, *arguments],
            input=text,
            capture_output=True,
            text=True,
            timeout=TOOL_S,
            check=False,
        )
    except OSError as error:
        raise ToolError(f"{tool}: {error}") from None
    if done.returncode:
        raise ToolError(f"{tool} {' '.join(arguments)}: {done.stderr.strip()}")
    return done.stdout
