"""Which of a sound server's sources this process records from, and that the server has moved it to another.

PulseAudio, and PipeWire in its place, move a recording without a word to the program: a person does so in
the mixer, or the server itself when a source goes. Neither PortAudio nor ALSA tell. So a thread asks the
server once, and then sleeps until the server says that our recording has changed. It needs no package: where
ALSA records through a sound server, libpulse is there, mostly loaded already. Where it is not, or where the
server is not the one that other programs find, nothing happens.
"""

from __future__ import annotations

import ctypes
import os
import threading
from collections.abc import Callable
from typing import Any

from streamer.capture.recorder_wire import ServerSource

LIBRARY = "libpulse.so.0"
USERS = (LIBRARY, "libpipewire-0.3.so.0")
"""Whoever records through a sound server has one of these loaded."""
FIRST_S = 0.5
"""A server that does not answer in this time may still do so later."""

_NOAUTOSPAWN, _SUBSCRIBE_SOURCE_OUTPUT = 1, 8
_READY, _FAILED, _TERMINATED = 4, 5, 6
_INVALID = 0xFFFFFFFF
_pointer, _text, _u32, _int = ctypes.c_void_p, ctypes.c_char_p, ctypes.c_uint32, ctypes.c_int


class _SampleSpec(ctypes.Structure):
    _fields_ = (("format", _int), ("rate", _u32), ("channels", ctypes.c_uint8))


class _ChannelMap(ctypes.Structure):
    _fields_ = (("channels", ctypes.c_uint8), ("map", _int * 32))


class _Volume(ctypes.Structure):
    _fields_ = (("channels", ctypes.c_uint8), ("values", _u32 * 32))


class _OutputInfo(ctypes.Structure):
    """The beginning of pa_source_output_info, a recording; such structures only ever grow at their end."""

    _fields_ = (
        ("index", _u32), ("name", _text), ("owner_module", _u32), ("client", _u32), ("source", _u32),
        ("sample_spec", _SampleSpec), ("channel_map", _ChannelMap),
        ("buffer_us", ctypes.c_uint64), ("source_us", ctypes.c_uint64),
        ("resample_method", _text), ("driver", _text), ("proplist", _pointer),
    )  # fmt: skip


class _SourceInfo(ctypes.Structure):
    """The beginning of pa_source_info."""

    _fields_ = (
        ("name", _text), ("index", _u32), ("description", _text),
        ("sample_spec", _SampleSpec), ("channel_map", _ChannelMap), ("owner_module", _u32),
        ("volume", _Volume), ("mute", _int), ("monitor_of_sink", _u32),
    )  # fmt: skip


class _ServerInfo(ctypes.Structure):
    """The beginning of pa_server_info."""

    _fields_ = (
        ("user_name", _text), ("host_name", _text), ("version", _text), ("name", _text),
        ("sample_spec", _SampleSpec), ("default_sink", _text), ("default_source", _text),
    )  # fmt: skip


_StateCallback = ctypes.CFUNCTYPE(None, _pointer, _pointer)
_EventCallback = ctypes.CFUNCTYPE(None, _pointer, _int, _u32, _pointer)
_OutputCallback = ctypes.CFUNCTYPE(None, _pointer, ctypes.POINTER(_OutputInfo), _int, _pointer)
_SourceCallback = ctypes.CFUNCTYPE(None, _pointer, ctypes.POINTER(_SourceInfo), _int, _pointer)
_ServerCallback = ctypes.CFUNCTYPE(None, _pointer, ctypes.POINTER(_ServerInfo), _pointer)
_FUNCTIONS: dict[str, tuple[Any, tuple[Any, ...]]] = {
    "pa_mainloop_new": (_pointer, ()),
    "pa_mainloop_get_api": (_pointer, (_pointer,)),
    "pa_mainloop_run": (_int, (_pointer, _pointer)),
    "pa_mainloop_quit": (None, (_pointer, _int)),
    "pa_mainloop_free": (None, (_pointer,)),
    "pa_context_new": (_pointer, (_pointer, _text)),
    "pa_context_set_state_callback": (None, (_pointer, _StateCallback, _pointer)),
    "pa_context_connect": (_int, (_pointer, _text, _int, _pointer)),
    "pa_context_get_state": (_int, (_pointer,)),
    "pa_context_disconnect": (None, (_pointer,)),
    "pa_context_unref": (None, (_pointer,)),
    "pa_context_set_subscribe_callback": (None, (_pointer, _EventCallback, _pointer)),
    "pa_context_subscribe": (_pointer, (_pointer, _int, _pointer, _pointer)),
    "pa_context_get_source_output_info_list": (_pointer, (_pointer, _OutputCallback, _pointer)),
    "pa_context_get_source_output_info": (_pointer, (_pointer, _u32, _OutputCallback, _pointer)),
    "pa_context_get_source_info_by_index": (_pointer, (_pointer, _u32, _SourceCallback, _pointer)),
    "pa_context_get_server_info": (_pointer, (_pointer, _ServerCallback, _pointer)),
    "pa_context_move_source_output_by_name": (_pointer, (_pointer, _u32, _text, _pointer, _pointer)),
    "pa_operation_unref": (None, (_pointer,)),
    "pa_proplist_gets": (_text, (_pointer, _text)),
}


def watch(tell: Callable[[ServerSource], None], *, off_monitor: bool = False) -> ServerSource | None:
    """Where this process records from now, and from then on each other source to `tell`, on another thread.

    None where no sound server is used, or where it does not answer at once. With `off_monitor` a recording
    that begins with what the server plays is moved to the default source: servers remember where somebody
    has moved a program's recording, and would begin there again for ever.
    """
    library = _library()
    if library is None:
        return None
    watcher = _Watcher(library, tell, off_monitor)
    threading.Thread(target=watcher.run, name="sound-server", daemon=True).start()
    watcher.looked.wait(FIRST_S)
    return watcher.handed_over()


def _library() -> Any:
    """libpulse, where something in this process uses a sound server."""
    for name in USERS:
        try:
            ctypes.CDLL(name, mode=os.RTLD_NOLOAD)
            library = ctypes.CDLL(LIBRARY)
        except OSError:
            continue
        for function, (result, arguments) in _FUNCTIONS.items():
            getattr(library, function).restype = result
            getattr(library, function).argtypes = arguments
        return library
    return None


class _Watcher:
    """A connection to the sound server, and its books; all but `handed_over` happens on its thread."""

    def __init__(self, library: Any, tell: Callable[[ServerSource], None], off_monitor: bool) -> None:
        self.looked = threading.Event()
        """The first answer is there, or there will be none."""
        self._pulse = library
        self._tell = tell
        self._off_monitor = off_monitor
        """To be tried yet."""
        self._monitor = ServerSource("", "", is_monitor=True)  # that it began with
        self._lock = threading.Lock()
        self._first: ServerSource | None = None
        self._is_first_over = False
        self._output = self._source = _INVALID  # our recording, and where it comes from
        self._callbacks = (
            _StateCallback(self._on_state),
            _EventCallback(self._on_event),
            _OutputCallback(self._on_output),
            _SourceCallback(self._on_source),
            _ServerCallback(self._on_server),
        )

    def handed_over(self) -> ServerSource | None:
        """The source that was found first; what is found from now on is told."""
        with self._lock:
            self._is_first_over = True
            return self._first

    def run(self) -> None:
        """Until the server goes, or has no recording of ours."""
        pulse = self._pulse
        self._loop = pulse.pa_mainloop_new()
        context = pulse.pa_context_new(pulse.pa_mainloop_get_api(self._loop), b"streamer")
        pulse.pa_context_set_state_callback(context, self._callbacks[0], None)
        if pulse.pa_context_connect(context, None, _NOAUTOSPAWN, None) >= 0:
            pulse.pa_mainloop_run(self._loop, None)
        pulse.pa_context_disconnect(context)
        pulse.pa_context_unref(context)
        pulse.pa_mainloop_free(self._loop)
        self.looked.set()

    def _on_state(self, context: int, _data: int) -> None:
        state = self._pulse.pa_context_get_state(context)
        if state == _READY:
            self._pulse.pa_context_set_subscribe_callback(context, self._callbacks[1], None)
            self._ask("pa_context_subscribe", context, _SUBSCRIBE_SOURCE_OUTPUT, None, None)
            self._ask("pa_context_get_source_output_info_list", context, self._callbacks[2], None)
        elif state in (_FAILED, _TERMINATED):
            self._quit()

    def _on_event(self, context: int, _kind: int, output: int, _data: int) -> None:
        if output == self._output:
            self._ask("pa_context_get_source_output_info", context, output, self._callbacks[2], None)

    def _on_output(self, context: int, info: Any, is_end: int, _data: int) -> None:
        if is_end:  # of a list, or a recording that is no more: the device is no sound server's, or has gone
            if self._output == _INVALID:
                self._quit()
        elif self._is_ours(info.contents) and info.contents.source not in (self._source, _INVALID):
            self._output, self._source = info.contents.index, info.contents.source
            self._ask("pa_context_get_source_info_by_index", context, self._source, self._callbacks[3], None)

    def _is_ours(self, output: _OutputInfo) -> bool:
        own = {b"application.process.id": str(os.getpid()), b"application.process.host": os.uname().nodename}
        told = {name: self._pulse.pa_proplist_gets(output.proplist, name) for name in own}
        return all(told[name] in (None, value.encode()) for name, value in own.items()) and any(told.values())

    def _on_source(self, context: int, info: Any, is_end: int, _data: int) -> None:
        if is_end:
            return
        found = info.contents
        name, description = (text.decode(errors="replace") for text in (found.name, found.description))
        source = ServerSource(name, description, found.monitor_of_sink != _INVALID)
        if source.is_monitor and self._off_monitor:
            self._off_monitor, self._monitor = False, source
            self._ask("pa_context_get_server_info", context, self._callbacks[4], None)
        else:
            self._found(source)

    def _on_server(self, context: int, info: Any, _data: int) -> None:
        default = info.contents.default_source if info else None
        if default and default.decode(errors="replace") != self._monitor.name:
            function = "pa_context_move_source_output_by_name"  # it tells as of any move
            self._ask(function, context, self._output, default, None, None)
        else:
            self._found(self._monitor)

    def _found(self, source: ServerSource) -> None:
        with self._lock:
            if not self._is_first_over:
                self._first = source
                self.looked.set()
                return
        self._tell(source)

    def _ask(self, function: str, *arguments: Any) -> None:
        if operation := getattr(self._pulse, function)(*arguments):
            self._pulse.pa_operation_unref(operation)

    def _quit(self) -> None:
        self._pulse.pa_mainloop_quit(self._loop, 0)
