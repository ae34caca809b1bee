"""Where a bridge may listen: at addresses that nobody outside this machine can reach."""

from __future__ import annotations

import re

from streamer.delivery.endpoints import PORT_MAX, is_loopback
from streamer.errors import SocketError

_ADDRESS = re.compile(r"(?P<host>\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+|\*):(?P<port>[0-9]{1,5})", re.ASCII)


def check_listen(text: str, setting: str) -> tuple[str, int]:
    """Host and port of HOST:PORT on loopback; raises SocketError. Port 0 is any that is free."""
    found = _ADDRESS.fullmatch(text.strip())
    if not found or int(found["port"]) > PORT_MAX:
        raise SocketError(f"{setting}: {text!r} is no address", "expected HOST:PORT, such as 127.0.0.1:9469")
    host = found["host"]
    if not is_loopback(host):
        raise SocketError(
            f"{setting}: other machines can reach {text}, and HTTP here has neither keys nor passwords",
            "listen on 127.0.0.1, and let a proxy with TLS and a password or an ssh tunnel lead there",
        )
    return host.strip("[]"), int(found["port"])
