"""All settings: parsed once, frozen, passed down. File, then environment, then flags; the last word wins."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin

import msgspec

from streamer.decoding.rules import LabelRule, Milliseconds, Share
from streamer.errors import ConfigError
from streamer.names import NAME_PATTERN

INGEST_NAME = "ingest"
"""Under this name the daemon tells of remote microphones as such: with them no stream may have it."""
Seconds = Annotated[float, msgspec.Meta(gt=0, le=3600)]


class StreamConfig(msgspec.Struct, frozen=True, kw_only=True):
    """One thing to listen to."""

    name: Annotated[str, msgspec.Meta(pattern=NAME_PATTERN)] = "default"
    source: Literal["microphone", "file", "stdin"] = "microphone"
    device: str | int | None = None
    """Microphone: number, name or part of a name; none: the system's default."""
    rate_hz: Annotated[int, msgspec.Meta(ge=8000, le=384_000)] | None = None
    """Microphone: none is the device's own. Standard input: none is 16000."""
    channels: Annotated[int, msgspec.Meta(ge=1, le=64)] | None = None
    path: str | None = None
    """File: what to play."""
    pace: Literal["realtime", "fast"] = "realtime"
    loop: bool = False
    format: Literal["s16le", "s32le", "f32le"] = "s16le"
    """Standard input: what its samples are."""


class ModelConfig(msgspec.Struct, frozen=True, kw_only=True):
    """What listens."""

    bundle: str = "default"
    bundles: list[str] = []
    """Several, side by side on every stream, instead of that one."""
    variant: Literal["auto", "kernel", "onnx", "onnx-int8", "torch"] = "auto"

    @property
    def names(self) -> list[str]:
        """All that listen."""
        return self.bundles or [self.bundle]


class EngineConfig(msgspec.Struct, frozen=True, kw_only=True):
    """How it listens."""

    hop_ms: Annotated[int, msgspec.Meta(ge=10, le=2000)] = 80
    """The model runs once for so much sound: less is quicker to answer, more is cheaper."""
    ring_s: Annotated[float, msgspec.Meta(ge=0.5, le=600)] = 10.0
    """Sound kept when the daemon falls behind; older sound is lost, counted and told."""
    stall_s: Seconds = 1.5
    """A live stream without a sample for so long is reported as stalled."""
    history_s: Annotated[float, msgspec.Meta(ge=0, le=60)] = 5.0
    """Sound kept of the daemon's own streams: on it another model warms up at a reload."""

    @property
    def wake_ms(self) -> float:
        """How much sound a microphone wakes us for: a whole hop would add as much again to the delay, and
        less than half of one costs more than it gains."""
        return max(10, self.hop_ms / 2)


class PublishConfig(msgspec.Struct, frozen=True, kw_only=True):
    """Where events go."""

    endpoints: list[str] = []
    """ZeroMQ addresses; none: events.sock in the runtime directory, and tcp://127.0.0.1:7790."""
    heartbeat_s: Annotated[float, msgspec.Meta(ge=0.1, le=300)] = 2.0
    high_water: Annotated[int, msgspec.Meta(ge=1, le=10_000_000)] = 10_000
    """Messages kept for a slow subscriber before its newest are dropped."""


class JournalConfig(msgspec.Struct, frozen=True, kw_only=True):
    """Where events are kept, and how long."""

    enabled: bool = True
    path: str | None = None
    """The file; none: journal.db in the state directory."""
    sync: Literal["full", "normal"] = "full"
    """full: an event is on the disk before it is published. normal: a power cut may take the last ones."""
    max_age_days: Annotated[float, msgspec.Meta(gt=0, le=36_500)] = 30.0
    max_mb: Annotated[float, msgspec.Meta(ge=1, le=1_000_000)] = 100.0


class ControlConfig(msgspec.Struct, frozen=True, kw_only=True):
    """Where requests are answered."""

    endpoints: list[str] = []
    """ZeroMQ addresses; none: control.sock in the runtime directory."""


class IngestConfig(msgspec.Struct, frozen=True, kw_only=True):
    """Where `streamer send` brings its sound."""

    endpoints: list[str] = []
    """ZeroMQ addresses; none: no remote microphones."""
    max_streams: Annotated[int, msgspec.Meta(ge=1, le=10_000)] = 64
    stream_timeout_s: Annotated[float, msgspec.Meta(gt=0, le=604_800)] = 3600.0
    """A stream whose sender has been silent for so long is ended."""
    history_s: Annotated[float, msgspec.Meta(ge=0, le=60)] = 0.0
    """As in [engine]; of each remote stream 64 kB a second."""


class ClipsConfig(msgspec.Struct, frozen=True, kw_only=True):
    """Whether the sound around an event is kept, and how much of it."""

    enabled: bool = False
    """Off: no sound is kept, ever."""
    directory: str | None = None
    """None: clips in the state directory."""
    labels: list[str] = []
    """None: those of all labels."""
    before_s: Annotated[float, msgspec.Meta(ge=0, le=30)] = 2.0
    after_s: Annotated[float, msgspec.Meta(ge=0, le=30)] = 1.0
    max_age_days: Annotated[float, msgspec.Meta(gt=0, le=36_500)] = 30.0
    max_mb: Annotated[float, msgspec.Meta(ge=1, le=1_000_000)] = 500.0


class RuntimeConfig(msgspec.Struct, frozen=True, kw_only=True):
    """Where the daemon's own files are."""

    directory: str | None = None


class SecurityConfig(msgspec.Struct, frozen=True, kw_only=True):
    """Who may come in from other machines."""

    keys: str | None = None
    """The directory of keys; none: ~/.config/streamer/keys, for root /var/lib/streamer/keys."""
    allowed: str | None = None
    """The list of clients; none: allowed.toml in the directory of keys."""
    max_clients: Annotated[int, msgspec.Meta(ge=1, le=100_000)] = 256
    """Connections to a socket at once; those through a socket file are counted apart."""


class MetricsConfig(msgspec.Struct, frozen=True, kw_only=True):
    """What Prometheus may ask for."""

    listen: str | None = None
    """HOST:PORT on loopback; none: no metrics."""


class LogConfig(msgspec.Struct, frozen=True, kw_only=True):
    """What the log says."""

    level: Literal["debug", "info", "warning", "error"] = "info"


class LabelConfig(msgspec.Struct, frozen=True, kw_only=True):
    """What to change in a label's rule; what is not given stays as the bundle has it."""

    threshold: Share | None = None
    end_threshold: Share | None = None
    smoothing_ms: Milliseconds | None = None
    min_ms: Milliseconds | None = None
    release_ms: Milliseconds | None = None
    max_ms: Milliseconds | None = None
    refractory_ms: Milliseconds | None = None
    enabled: bool | None = None
    """Off: scores go on, events do not come."""


class Config(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that can be set."""

    streams: list[StreamConfig]
    model: ModelConfig
    engine: EngineConfig
    publish: PublishConfig
    journal: JournalConfig
    control: ControlConfig
    ingest: IngestConfig
    clips: ClipsConfig
    runtime: RuntimeConfig
    security: SecurityConfig
    metrics: MetricsConfig
    log: LogConfig
    labels: dict[str, LabelConfig]


SECTIONS: dict[str, type[msgspec.Struct]] = {
    "model": ModelConfig,
    "engine": EngineConfig,
    "publish": PublishConfig,
    "journal": JournalConfig,
    "control": ControlConfig,
    "ingest": IngestConfig,
    "clips": ClipsConfig,
    "runtime": RuntimeConfig,
    "security": SecurityConfig,
    "metrics": MetricsConfig,
    "log": LogConfig,
}

_PATHS = (
    ("runtime", "directory"),
    ("clips", "directory"),
    ("journal", "path"),
    ("security", "keys"),
    ("security", "allowed"),
)
"""Settings in which a tilde is the home directory."""

_LISTS = ("endpoints", "bundles", "labels")
"""Settings that are lists; in the environment with commas."""

Settings = Mapping[str, Any]
"""Nested as in the file: {"engine": {"hop_ms": 40}, "stream": [{...}], "labels": {"yes": {...}}}."""


def load_config(
    path: str | Path | None = None,
    *,
    environment: Mapping[str, str] | None = None,
    flags: Settings | None = None,
) -> Config:
    """Read every source of settings; raises ConfigError with all faults at once."""
    environment = os.environ if environment is None else environment
    faults: list[str] = []
    file = _read_file(path or environment.get("STREAMER_CONFIG") or default_config_path(), faults)
    reader = _Reader(faults)
    reader.take(file, "")
    reader.take(_from_environment(environment), " (environment)", strict=False)
    reader.take(flags or {}, " (command line)")
    config = reader.build()
    told = {_setting(fault) for fault in faults}
    faults += [fault for fault in _cross_faults(config) if _setting(fault) not in told]
    if faults:
        raise ConfigError(faults)
    return config


def default_config_path() -> Path | None:
    """The user's own file, else the system's, else none."""
    home = os.environ.get("XDG_CONFIG_HOME") or str(Path.home() / ".config")
    for candidate in (Path(home) / "streamer/streamer.toml", Path("/etc/streamer/streamer.toml")):
        if candidate.is_file():
            return candidate
    return None


def _read_file(path: str | Path | None, faults: list[str]) -> dict[str, Any]:
    if path is None:
        return {}
    import tomllib  # most have no file

    try:
        settings = tomllib.loads(Path(path).read_text("utf-8"))
    except OSError as error:
        faults.append(f"{path}: {error.strerror or error}")
        return {}
    except ValueError as error:  # from TOML, from UTF-8, or a path with a zero byte
        faults.append(f"{str(path).replace(chr(0), '?')}: no TOML: {error}")
        return {}
    for stream in _tables(settings.get("stream")):
        if isinstance(stream.get("path"), str) and stream["path"]:
            stream["path"] = str(Path(path).parent / os.path.expanduser(stream["path"]))
    for section, name in _PATHS:
        table = settings.get(section)
        if isinstance(table, dict) and isinstance(table.get(name), str):
            table[name] = os.path.expanduser(table[name])
    return settings


def _tables(value: Any) -> list[dict[str, Any]]:
    return [entry for entry in value if isinstance(entry, dict)] if isinstance(value, list) else []


def _from_environment(environment: Mapping[str, str]) -> dict[str, Any]:
    """STREAMER_ENGINE_HOP_MS=40 and its like; lists are separated by commas."""
    settings: dict[str, Any] = {}
    sections = {**SECTIONS, "stream": StreamConfig}
    for variable, text in environment.items():
        section, _, name = variable.removeprefix("STREAMER_").lower().partition("_")
        if not variable.startswith("STREAMER_") or section not in sections or not name:
            continue
        value: Any = [part.strip() for part in text.split(",") if part.strip()] if name in _LISTS else text
        if section == "stream":
            settings.setdefault("stream", [{}])[0][name] = value
        else:
            settings.setdefault(section, {})[name] = value
    return settings


class _Reader:
    """Gathers settings from several sources and every fault in them."""

    def __init__(self, faults: list[str]) -> None:
        self._faults = faults
        self._streams: list[dict[str, Any]] = [{}]
        self._sections: dict[str, dict[str, Any]] = {name: {} for name in SECTIONS}
        self._labels: dict[str, dict[str, Any]] = {}

    def take(self, settings: Settings, origin: str, *, strict: bool = True) -> None:
        for section, value in settings.items():
            if section == "stream":
                self._take_streams(value, origin, strict)
            elif section == "labels":
                self._take_labels(value, origin)
            elif section not in SECTIONS:
                self._faults.append(f"{section}{origin}: unknown section{_meant(section, _section_names())}")
            elif not isinstance(value, Mapping):
                self._faults.append(f"{section}{origin}: expected a table, [{section}]")
            else:
                if section == "model":
                    self._choose_model(value, origin)
                self._take_fields(self._sections[section], SECTIONS[section], value, section, origin, strict)

    def _choose_model(self, value: Mapping[str, Any], origin: str) -> None:
        """One bundle or several: whoever speaks last of either decides."""
        given = value.keys() & {"bundle", "bundles"}
        if len(given) > 1:
            self._faults.append(f"model{origin}: bundle and bundles contradict each other: give one of them")
        if "bundle" in given:
            self._sections["model"].pop("bundles", None)
        elif value.get("bundles"):
            self._sections["model"].pop("bundle", None)

    def _take_streams(self, value: Any, origin: str, strict: bool) -> None:
        if not isinstance(value, list) or len(_tables(value)) != len(value):
            self._faults.append(f"stream{origin}: expected one or more tables, [[stream]]")
            return
        if not value:  # none of the daemon's own: see _cross_faults
            self._streams = []
        self._streams += [{} for _ in range(len(value) - len(self._streams))]
        for index, table in enumerate(value):
            place = "stream" if len(value) == 1 else f"stream[{index}]"
            self._take_fields(self._streams[index], StreamConfig, table, place, origin, strict)

    def _take_labels(self, value: Any, origin: str) -> None:
        if not isinstance(value, Mapping):
            self._faults.append(f"labels{origin}: expected tables, [labels.NAME]")
            return
        for label, table in value.items():
            if isinstance(table, Mapping):
                kept = self._labels.setdefault(label, {})
                self._take_fields(kept, LabelConfig, table, f"labels.{label}", origin, True)
            else:
                self._faults.append(f"labels.{label}{origin}: expected a table, [labels.{label}]")

    def _take_fields(
        self,
        kept: dict[str, Any],
        struct: type[msgspec.Struct],
        table: Mapping[str, Any],
        place: str,
        origin: str,
        strict: bool,
    ) -> None:
        fields = {field.name: field.type for field in msgspec.structs.fields(struct)}
        for name, value in table.items():
            if name not in fields:
                self._faults.append(f"{place}.{name}{origin}: unknown setting{_meant(name, list(fields))}")
                continue
            try:
                kept[name] = msgspec.convert(value, fields[name], strict=strict)
            except msgspec.ValidationError:
                self._faults.append(
                    f"{place}.{name}{origin}: {value!r}, legal values: {legal_values(fields[name])}"
                )

    def build(self) -> Config:
        """The config; a setting with a fault has its default there."""
        return Config(
            streams=[StreamConfig(**fields) for fields in self._streams],
            labels={name: LabelConfig(**fields) for name, fields in self._labels.items()},
            **{name: SECTIONS[name](**fields) for name, fields in self._sections.items()},  # type: ignore[arg-type]
        )


def _section_names() -> list[str]:
    return ["stream", "labels", *SECTIONS]


def _meant(name: str, known: list[str]) -> str:
    import difflib  # for typing errors only

    close = difflib.get_close_matches(name, known, n=1)
    return f", did you mean {close[0]}?" if close else f", legal: {', '.join(known)}"


def legal_values(kind: Any) -> str:
    """What a field's type admits, in words."""
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is Literal:
        return ", ".join(map(str, arguments))
    if origin is Annotated:
        return legal_values(arguments[0]) + _bounds(arguments[1])
    if origin is list:
        return f"a list, each {legal_values(arguments[0])}"
    if arguments:
        return " or ".join(legal_values(part) for part in arguments if part is not type(None))
    return {int: "a whole number", float: "a number", str: "a text", bool: "true, false"}.get(kind, str(kind))


def _bounds(meta: msgspec.Meta) -> str:
    if meta.pattern:
        return " of letters, digits, _ and - (64 at most)"
    signs = (("above", meta.gt), ("from", meta.ge), ("below", meta.lt), ("to", meta.le))
    return "".join(f" {word} {bound:g}" for word, bound in signs if bound is not None)


def _setting(fault: str) -> str:
    """Which setting a fault is about, whichever stream or source it stands in."""
    return re.sub(r"\[\d+\]| \([a-z ]+\)", "", fault.partition(":")[0])


def _cross_faults(config: Config) -> list[str]:
    """What is wrong only in company."""
    faults = []
    if not config.streams and not config.ingest.endpoints:
        faults.append("stream: expected one or more tables, [[stream]]; none needs ingest.endpoints")
    names = [stream.name for stream in config.streams]
    if INGEST_NAME in names and config.ingest.endpoints:
        faults.append(f"stream.name: {INGEST_NAME!r} is the daemon's own name for remote microphones")
    faults += [
        f"stream.name: {name!r} stands there twice" for name in sorted(set(names)) if names.count(name) > 1
    ]
    if [stream.source for stream in config.streams].count("stdin") > 1:
        faults.append("stream.source: only one stream can read standard input")
    bundles = config.model.bundles
    faults += [
        f"model.bundles: {name!r} stands there twice"
        for name in sorted(set(bundles))
        if bundles.count(name) > 1
    ]
    for stream in config.streams:
        if stream.source == "file" and not stream.path:
            faults.append(f'stream.path: stream {stream.name!r} has source = "file" and needs a path')
        if stream.source != "file" and stream.path:
            faults.append(f'stream.path: stream {stream.name!r} has a path, which needs source = "file"')
    for name, label in config.labels.items():
        if label.threshold and label.end_threshold and label.end_threshold > label.threshold:
            faults.append(f"labels.{name}.end_threshold: above the threshold, {label.threshold}")
    return faults


def tuned_rules(rules: list[LabelRule], labels: Mapping[str, LabelConfig]) -> list[LabelRule]:
    """The bundle's rules with the config's changes; raises ConfigError for labels the bundle has not."""
    known = [rule.name for rule in rules]
    faults = [
        f"labels.{name}: the model has no such label{_meant(name, known)}"
        for name in labels
        if name not in known
    ]
    tuned = []
    for rule in rules:
        changes = msgspec.structs.asdict(labels.get(rule.name, LabelConfig()))
        given = {name: value for name, value in changes.items() if value is not None}
        if "threshold" in given and "end_threshold" not in given:
            given["end_threshold"] = rule.at_threshold(given["threshold"]).end_threshold
        try:
            tuned.append(msgspec.structs.replace(rule, **given))
        except ValueError as error:
            faults.append(f"labels.{rule.name}: {error}")
    if faults:
        raise ConfigError(faults)
    return tuned
