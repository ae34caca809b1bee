"""The sections of docs/PERFORMANCE.md, in its order. What was not measured is left out, or a dash."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from benchmarks.contestants import PEERS
from benchmarks.figures import KINDS, Rows, bar, counted, lowest, median, prose, ratio, rows_of, spread, table
from benchmarks.pictures import bars, number

Picture = Callable[[str, str, str], list[str]]
"""Keeps a picture under a name; the Markdown that shows it."""
Results = dict[str, Any]
YARDSTICK = "pymicro-wakeword"
DOES = {
    "pymicro-wakeword": "one wake word",
    "openwakeword": "one wake word",
    "pyopen-wakeword": "one wake word",
    "silero-vad": "speech or not (its ONNX, without its wrapper and torch)",
    "pocketsphinx": "one word, spotted",
}
MICROPHONES = ("microphone 16 kHz", "microphone 48 kHz")
AT_MICROPHONES = ("streamer", "streamer with frame scores", *PEERS)


def in_short(results: Results, picture: Picture) -> list[str]:
    """The figures that matter, in one table."""
    machine = results["machine"]
    lines_ = prose(
        f"""The whole daemon, all {machine["labels"]} labels of the default model on, events kept and
        published, beside {len(PEERS)} other programs that listen. All of it was measured in one run
        of `make bench`, in which everything took turns: medians, and in brackets the lowest and the
        highest of the repetitions. Cost is processor time of all processes together, not time by
        the clock."""
    )
    lines_ += prose(
        f"""{machine["time_utc"]} UTC, {machine["processor"]}, {machine["cores"]} cores; sound:
        {results["sound"]}.
        {"**A quick look: short windows, one repetition.**" if results.get("quick") else ""}"""
    )
    paced, files, start = (rows_of(results, part) for part in ("paced", "files", "start"))
    late, streams = rows_of(results, "latency"), rows_of(results, "streams")
    at_16 = f"{YARDSTICK}, {MICROPHONES[0]}"
    body = [
        [
            "a live stream from a microphone, share of a core",
            spread(paced, f"streamer, {MICROPHONES[0]}", "core_percent", " %"),
            spread(paced, at_16, "core_percent", " %"),
        ],
        [
            "a live stream, fed or from a file, share of a core",
            spread(paced, "streamer, file", "core_percent", " %"),
            spread(paced, f"{YARDSTICK}, fed", "core_percent", " %"),
        ],
        [
            "files on one core, times real time",
            spread(files, "streamer", "times_real_time"),
            spread(files, YARDSTICK, "times_real_time"),
        ],
        [
            "memory with a microphone",
            spread(paced, f"streamer, {MICROPHONES[0]}", "alone_mb", " MB"),
            spread(paced, at_16, "alone_mb", " MB"),
        ],
        [
            "start to first event of a file",
            spread(start, "streamer replay, first event", "wall_ms", " ms"),
            spread(start, f"{YARDSTICK}, first score", "wall_ms", " ms"),
        ],
        ["`streamer --help`", spread(start, "streamer --help", "wall_ms", " ms"), ""],
        [
            "sound to scores at a subscriber, beyond the hop, p50; p99",
            f"{spread(late, 'pipe', 'scores_p50_ms')}; {spread(late, 'pipe', 'scores_p99_ms')} ms",
            "",
        ],
        ["streams in real time", _most_streams(streams), ""],
    ]
    return [*lines_, *table(["what", "streamer", YARDSTICK], body)]


def _most_streams(rows: Rows) -> str:
    found = []
    for what in KINDS:
        kept_up = [count for count, row in counted(rows, what) if keeps_up(rows, row)]
        if kept_up:
            source, _, hop = what.partition(" at ")
            named = "remote senders" if source == "senders" else source
            found.append(f"{max(kept_up):,} from {named}{f' with a hop of {hop}' if hop else ''}")
    return "; ".join(found) or "-"


def keeps_up(rows: Rows, row: str) -> bool:
    """Nothing lost, nobody behind."""
    lost = sum(median(rows, row, figure) or 0.0 for figure in ("lost_s", "unacknowledged_s", "complaints"))
    late_ms = max(median(rows, row, figure) or 0.0 for figure in ("lag_p99_ms", "scores_p99_ms"))
    return lost == 0 and late_ms < 200


def live(results: Results, picture: Picture) -> list[str]:
    """One stream in real time."""
    rows = rows_of(results, "paced")
    if not rows:
        return []
    out = ["## One live stream", "", "Sound in real time: what a service costs that listens all day.", ""]
    named = [("streamer, file", "streamer, a file"), *((f"{peer}, fed", f"{peer}, fed") for peer in PEERS)]
    for microphone in MICROPHONES:
        named += [(f"{who}, {microphone}", f"{who}, {microphone}") for who in AT_MICROPHONES]
    named = [(row, name) for row, name in named if row in rows]
    drawn = [one for row, name in named for one in bar(rows, row, "core_percent", name)]
    out += picture("live", bars("One live stream: share of a core", "%", drawn), "share of a core, drawn")
    body = []
    for row, name in named:
        where = row.partition(", ")[2]
        against = f"{YARDSTICK}, {'fed' if where in ('file', 'fed') else where}"
        alone = median(rows, f"nobody, {where}", "server_core_percent")
        server = median(rows, row, "server_core_percent")
        more = f"{server - alone:+.2f} %" if server is not None and alone is not None else ""
        body.append(
            [
                name,
                spread(rows, row, "core_percent", " %"),
                ratio(median(rows, row, "core_percent"), median(rows, against, "core_percent")),
                more,
                spread(rows, row, "alone_mb", " MB"),
                spread(rows, row, "rss_mb", " MB"),
            ]
        )
    head = ["", "share of a core", f"times {YARDSTICK}", "sound server", "memory", "sum of RSS"]
    out += table(head, body)
    out += prose(
        """The peers get 80 ms of 16 kHz sound every 80 ms in a process of their own, or read blocks of
        80 ms from the virtual microphone; streamer runs as it does by default, with its journal and
        one subscriber to all events (*with frame scores*: to those as well, which nobody needs for
        events), and all of its processes count. *Sound server* is what
        PulseAudio takes beyond what it takes when nobody listens. *Memory* is what the processes
        would have if nothing else ran: what they share counts once."""
    )
    does = [f"{peer} {what}" for peer, what in DOES.items() if f"{peer}, fed" in rows]
    return out + prose(f"What they listen for: streamer all of its labels; {'; '.join(does)}.")


def whole_files(results: Results, picture: Picture) -> list[str]:
    """As fast as possible."""
    rows = rows_of(results, "files")
    if not rows:
        return []
    out = ["## Files, as fast as possible, on one core", ""]
    drawn = [one for row in rows for one in bar(rows, row, "times_real_time")]
    out += picture("files", bars("Files on one core: times real time", "x", drawn), "times real time, drawn")
    body = [
        [
            row,
            spread(rows, row, "times_real_time"),
            ratio(median(rows, row, "times_real_time"), median(rows, YARDSTICK, "times_real_time")),
            spread(rows, row, "times_real_time_with_start"),
            f"{median(rows, row, 'sound_s') or 0:.0f} s",
            spread(rows, row, "start_cpu_s", " s"),
        ]
        for row in rows
    ]
    head = [
        "",
        "times real time",
        f"times {YARDSTICK}",
        "with its start",
        "of a file of",
        "a file of 2 s takes",
    ]
    return (
        out
        + table(head, body)
        + prose(
            """In processor time, bound to one core. Without its start: the sound by which one file is
        longer than another, over the processor time that it takes more. The peers get pieces of
        1.28 s; streamer is `streamer replay`."""
        )
    )


def beginning(results: Results, picture: Picture) -> list[str]:
    """Start."""
    rows = rows_of(results, "start")
    if not rows:
        return []
    body = [
        [
            row,
            spread(rows, row, "wall_ms", " ms"),
            f"{number(lowest(rows, row, 'wall_ms') or 0)} ms",
            spread(rows, row, "cpu_ms", " ms"),
        ]
        for row in rows
    ]
    sound_ms = median(rows, "streamer run, first scores", "of_it_sound_ms")
    note = (
        f" Of `streamer run`, {sound_ms:.0f} ms are the sound of the first block, which has to pass."
        if sound_ms
        else ""
    )
    return [
        "## Start",
        "",
        *table(["from the start of the process to", "by the clock", "at best", "processor time"], body),
        *prose(
            f"""A peer: its first score of a file that it gets as fast as it takes it. `streamer
            replay`: the first line that it prints, of a file with a word after a second. `streamer
            run`: the first scores at a subscriber.{note}"""
        ),
    ]


def delay(results: Results, picture: Picture) -> list[str]:
    """Sound to message."""
    rows = rows_of(results, "latency")
    if not rows:
        return []
    body = []
    for row in rows:
        for what in ("scores", "events"):
            if f"{what}_p50_ms" in rows[row]:
                figures = [
                    spread(rows, row, f"{what}_{figure}_ms", " ms") for figure in ("p50", "p99", "max")
                ]
                counts = rows[row][f"{what}_count"]
                body.append([f"{row}, {what}", *figures, f"{sum(counts):,.0f}"])
    return [
        "## From sound to message, beyond the hop",
        "",
        *table(["", "p50", "p99", "longest", "messages"], body),
        *prose(
            """The daemon speaks once a block of sound (a hop, in whole rows of scores). What is told
            here comes on top of waiting for the block: from the moment at which the source hands
            over the piece of 10 ms with the last sample that a block needs (7.5 ms after the
            block's end: windows overlap) to the moment at which a subscriber, in another process,
            has the message. Scores go straight out; an event is on the disk, in the journal, before
            it goes. The virtual microphone's figures include the way through the sound server and
            the recorder's period."""
        ),
    ]
