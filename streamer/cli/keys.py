"""`streamer keys`: who one is, who may come in, and which daemons are trusted."""

from __future__ import annotations

import argparse
import re
import socket
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from streamer.errors import EXIT_OK, SecurityError

if TYPE_CHECKING:
    from streamer.security.allowed import Client
    from streamer.security.keys import KeyPair

HELP = "Make keys, let clients in, and trust daemons: what it takes to use the network."
EXAMPLE = """  streamer keys new                                on each machine, once
  streamer keys show                               what to type on the others
  streamer keys allow laptop KEY --listen          the daemon's machine: let a client in
  streamer keys revoke laptop
  streamer keys list
  streamer keys trust lab.local KEY                the client's machine: know the daemon"""

RIGHTS = {
    "listen": "hear events, scores and health, ask for replay and status",
    "control": "mute, set thresholds, reload, shut down",
    "send": "send sound from its microphones",
}
RELOAD = "A daemon that runs already takes it over on SIGHUP (`systemctl reload streamer`)."


class Places(NamedTuple):
    """Where the daemon and the commands of this user look."""

    directory: Path
    allowed: Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The verbs, each with its options."""
    verbs = parser.add_subparsers(metavar="VERB", dest="verb", required=True)
    new = _add(verbs, "new", "make this user's key pair, which is never shown and never leaves the machine")
    new.add_argument("name", nargs="?", metavar="NAME", help="who it is (default: the machine's name)")
    new.add_argument("--force", action="store_true", help="replace a pair that is there")
    show = _add(verbs, "show", "print the public key, and what to type on other machines")
    show.add_argument("--plain", action="store_true", help="the key and nothing else")
    allow = _add(verbs, "allow", "let a client in, or let it do more (default: --listen)")
    allow.add_argument("name", metavar="NAME", help="what to call it")
    allow.add_argument("key", nargs="?", metavar="KEY", help="its public key; not needed for one in the list")
    _add_rights(allow, "it may")
    allow.add_argument(
        "--stream",
        action="append",
        default=[],
        metavar="NAME",
        help="with --send: a name its streams may have; can be repeated (default: the client's own name)",
    )
    revoke = _add(verbs, "revoke", "let a client in no more, or let it do less")
    revoke.add_argument("name", metavar="NAME")
    _add_rights(revoke, "it may no longer")
    _add(verbs, "list", "this user's key, the clients that may come in, the daemons that are trusted")
    trust = _add(verbs, "trust", "remember the public key of a daemon")
    trust.add_argument("place", metavar="HOST[:PORT]", help="as in the address to connect to")
    trust.add_argument("key", metavar="KEY", help="what `streamer keys show` prints there")
    trust.add_argument("--force", action="store_true", help="even if another key is known")


def _add(
    verbs: argparse._SubParsersAction[argparse.ArgumentParser], verb: str, text: str
) -> argparse.ArgumentParser:
    added = verbs.add_parser(verb, help=text, description=f"{text[0].upper()}{text[1:]}.")
    added.add_argument(
        "--keys", metavar="DIR", help="the directory of keys (default: as the settings say, see `keys list`)"
    )
    added.add_argument("--config", metavar="FILE", help="the settings that say where keys are")
    # without a default of its own: `streamer keys --debug new` is not to be undone by the verb
    added.add_argument("--debug", action="store_true", default=argparse.SUPPRESS, help=argparse.SUPPRESS)
    return added


def _add_rights(parser: argparse.ArgumentParser, what: str) -> None:
    for right, text in RIGHTS.items():
        parser.add_argument(
            f"--{right}", dest="rights", action="append_const", const=right, help=f"{what} {text}"
        )


def run(options: argparse.Namespace) -> int:
    """Do what the verb says."""
    verbs = {"new": _new, "show": _show, "allow": _allow, "revoke": _revoke, "list": _list, "trust": _trust}
    verbs[options.verb](options, _places(options))
    return EXIT_OK


def _places(options: argparse.Namespace) -> Places:
    from streamer.config import load_config
    from streamer.security.allowed import ALLOWED_FILE
    from streamer.security.keys import default_keys_directory

    if options.keys:
        directory = Path(options.keys).absolute()
        return Places(directory, directory / ALLOWED_FILE)
    settings = load_config(options.config).security
    directory = Path(settings.keys).absolute() if settings.keys else default_keys_directory()
    return Places(
        directory, Path(settings.allowed).absolute() if settings.allowed else directory / ALLOWED_FILE
    )


def _new(options: argparse.Namespace, places: Places) -> None:
    from streamer.security.keys import OWN_KEY, make_pair, write_pair

    pair = make_pair(options.name or _own_name())
    write_pair(places.directory / OWN_KEY, pair, replace=options.force)
    print(f"made the key pair of {pair.name}: {places.directory / OWN_KEY}")
    _print_public(pair)


def _show(options: argparse.Namespace, places: Places) -> None:
    pair = _own(places)
    if options.plain:
        print(pair.public)
    else:
        print(f"the key pair of {pair.name}: {places.directory}")
        _print_public(pair)


def _allow(options: argparse.Namespace, places: Places) -> None:
    from streamer.security.edit import allow

    given = options.rights or (["send"] if options.stream else [])
    client = allow(places.allowed, options.name, options.key, given or ["listen"], options.stream)
    print(_describe(client))
    print(RELOAD)


def _revoke(options: argparse.Namespace, places: Places) -> None:
    from streamer.security.edit import revoke

    client = revoke(places.allowed, options.name, options.rights or ())
    print(_describe(client) if client else f"{options.name} may come in no more")
    print(RELOAD)


def _list(_options: argparse.Namespace, places: Places) -> None:
    from streamer.security.allowed import read_allowed
    from streamer.security.files import owners_around
    from streamer.security.keys import OWN_KEY, read_pair
    from streamer.security.known import KNOWN_FILE, read_known

    owners = owners_around(places.directory)
    pair = read_pair(places.directory / OWN_KEY, owners)
    print(f"own key ({places.directory / OWN_KEY}):")
    print(f"  {pair.name:<24} {pair.public}" if pair else "  none; `streamer keys new` makes it")
    print(f"clients that may come in ({places.allowed}):")
    allowed = read_allowed(places.allowed, owners_around(places.allowed.parent))
    for client in allowed.clients.values():
        print(f"  {client.name:<24} {client.key}  {_rights(client)}")
    if not len(allowed):
        print("  none; `streamer keys allow NAME KEY` adds one")
    print(f"daemons that are trusted ({places.directory / KNOWN_FILE}):")
    known = read_known(places.directory / KNOWN_FILE, owners)
    for place, key in known.items():
        print(f"  {place:<24} {key}")
    if not known:
        print("  none; `streamer keys trust HOST KEY` adds one")


def _trust(options: argparse.Namespace, places: Places) -> None:
    from streamer.security.keys import OWN_KEY, read_pair
    from streamer.security.known import trust

    trust(places.directory, options.place, options.key, replace=options.force)
    print(f"{options.place} is trusted with this key")
    if read_pair(places.directory / OWN_KEY) is None:
        print("It will ask who you are: `streamer keys new` makes your key.")


def _own(places: Places) -> KeyPair:
    from streamer.security.files import owners_around
    from streamer.security.keys import OWN_KEY, read_pair

    pair = read_pair(places.directory / OWN_KEY, owners_around(places.directory))
    if pair is None:
        raise SecurityError(f"there is no key pair in {places.directory}", "`streamer keys new` makes it")
    return pair


def _print_public(pair: KeyPair) -> None:
    # Z85 has no quote, and everything else that a shell could take amiss is safe between single ones
    print(f"public key: {pair.public}")
    print(f"\nWhere a daemon is to let {pair.name} in:")
    print(f"  streamer keys allow {pair.name} '{pair.public}' --listen")
    print("Where somebody is to connect to a daemon here:")
    print(f"  streamer keys trust {socket.gethostname()} '{pair.public}'")


def _describe(client: Client) -> str:
    return f"{client.name} may now: {_rights(client)}"


def _rights(client: Client) -> str:
    from streamer.security.allowed import RIGHTS as ORDER

    rights = ", ".join(right for right in ORDER if right in client.rights)
    return rights + (f" (as {', '.join(client.streams)})" if client.streams else "")


def _own_name() -> str:
    name = re.sub(r"[^A-Za-z0-9_-]", "-", socket.gethostname().partition(".")[0]).lstrip("-_")[:64]
    return name or "me"
