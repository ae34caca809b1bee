"""The sections of docs/PERFORMANCE.md about more of everything, and about how it was measured."""

from __future__ import annotations

from benchmarks.figures import KINDS, Rows, counted, median, prose, rows_of, spread, table
from benchmarks.pictures import lines, number
from benchmarks.sections import YARDSTICK, Picture, Results, keeps_up


def against_hop(results: Results, picture: Picture) -> list[str]:
    """80, 40, 20, 10 ms."""
    rows = rows_of(results, "growth")
    ours = [(ms, row) for ms, row in counted(rows, "hop") if row in rows]
    if not ours:
        return []
    blocks = results["parts"]["growth"].get("block_ms", {})
    fed = {ms: f"{YARDSTICK} fed, {ms} ms" for ms, _ in ours}
    series = {
        "streamer": [(ms, median(rows, row, "core_percent") or 0.0) for ms, row in ours],
        YARDSTICK: [(ms, median(rows, row, "core_percent") or 0.0) for ms, row in fed.items() if row in rows],
    }
    series = {name: line for name, line in series.items() if line}
    title = "One live stream against the hop"
    out = ["## As the hop shrinks", ""]
    out += picture(
        "hop", lines(title, "hop, ms", "% of a core", series, log_up=False), "cost against the hop"
    )
    body = [
        [
            f"{ms} ms",
            f"{blocks.get(str(ms), '-')} ms",
            spread(rows, row, "core_percent", " %"),
            spread(rows, fed[ms], "core_percent", " %"),
        ]
        for ms, row in reversed(ours)
    ]
    return [
        *out,
        *table(
            ["hop", "a block of the default model", "streamer, microphone", f"{YARDSTICK}, fed as often"],
            body,
        ),
        *prose(
            """A block is a whole number of the model's rows of scores: hops that are shorter than a
            row change how often sound is fetched, not how often the model is called."""
        ),
    ]


def against_labels_and_subscribers(results: Results, picture: Picture) -> list[str]:
    """More of either."""
    rows = rows_of(results, "growth")
    out = []
    for what, title, note in (
        ("labels", "As labels grow", "The default model with its last layer repeated; a file in real time."),
        ("subscribers", "As subscribers grow", "Each wants everything, frame scores as well; none at 0."),
    ):
        found = counted(rows, what)
        if not found:
            continue
        line = [(max(count, 0.5), median(rows, row, "core_percent") or 0.0) for count, row in found if count]
        out += [f"## {title}", ""]
        if len(line) > 1:
            svg = lines(
                f"One live stream against {what}", what, "% of a core", {"streamer": line}, log_up=False
            )
            out += picture(what, svg, f"cost against {what}")
        figures = ("core_percent", " %"), ("alone_mb", " MB")
        body = [[row.partition(", ")[2], *(spread(rows, row, *one) for one in figures)] for _, row in found]
        out += [*table([what, "share of a core", "memory"], body), note, ""]
    return out


def many(results: Results, picture: Picture) -> list[str]:
    """Streams at once."""
    rows = rows_of(results, "streams")
    if not rows:
        return []
    out = ["## Many streams at once, in real time", ""]
    series = {}
    for what, name in (("senders", "remote senders"), ("files", "files")):
        line = [(count, median(rows, row, "core_percent") or 0.0) for count, row in counted(rows, what)]
        if line:
            series[name] = line
    svg = lines("Many streams: share of a core", "streams", "% of a core", series)
    out += picture("streams", svg, "share of a core against streams")
    body = []
    for what in KINDS:
        for count, row in counted(rows, what):
            cost = median(rows, row, "core_percent")
            body.append(
                [
                    f"{count:,} {what}",
                    spread(rows, row, "core_percent", " %"),
                    f"{number(cost / count)} %" if cost else "-",
                    f"{spread(rows, row, 'lag_p50_ms')}; {spread(rows, row, 'lag_p99_ms')} ms",
                    f"{spread(rows, row, 'scores_p99_ms')} ms" if what.startswith("senders") else "",
                    spread(rows, row, "alone_mb", " MB"),
                    "yes" if keeps_up(rows, row) else "no",
                ]
            )
    head = ["", "share of a core", "a stream", "lag p50; p99", "to scores, p99", "memory", "keeps up"]
    out += [*table(head, body), *_of_each_stream(rows)]
    return [
        *out,
        *prose(
            """One daemon on all of the machine's cores, with what plays the senders (one process, a
            connection for each) on the same cores. *Lag* is what the daemon tells of each stream:
            how old its newest sound was when it was listened to. *To scores*: from a sender's
            handing over the block with the last sample that scores need to those scores at a
            subscriber, for some twenty of the streams. *Keeps up*: no sound lost, all that was sent
            acknowledged, both p99 under 200 ms. Streams of files keep no sound for a model that takes over
            (`engine.history_s = 0`), as those of senders do not; with it, each of them takes 320 kB more."""
        ),
    ]


def _of_each_stream(rows: Rows) -> list[str]:
    told = []
    for what in ("senders", "files"):
        found = [
            (count, median(rows, row, "alone_mb") or 0.0)
            for count, row in counted(rows, what)
            if keeps_up(rows, row)
        ]
        if len(found) > 1:
            (few, less_mb), (most, more_mb) = found[0], found[-1]
            kb = 1024 * (more_mb - less_mb) / (most - few)
            told.append(f"{kb:.0f} kB for each further stream of {what} (from {few:,} to {most:,})")
    return [f"Memory: {'; '.join(told)}.", ""] if told else []


def method(results: Results, picture: Picture) -> list[str]:
    """Commands."""
    skipped = [f"- {what}: {why}" for what, why in results.get("skipped", {}).items()]
    return [
        "## Measure it again",
        "",
        "```sh",
        "make bench                                    # everything; the demo scene over and over as sound",
        "make bench BENCH_SOUND=~/recordings           # a file, a folder, a pack with manifest.csv",
        'make bench BENCH_ARGS="--quick"               # a few minutes',
        'make bench BENCH_ARGS="paced start"           # some parts; others keep their figures',
        "python -m benchmarks.report                   # this page and its pictures from .bench/results.json",
        "streamer bench                                # only streamer's own, in half a minute",
        "```",
        "",
        *prose(
            """The peers are installed from PyPI into an environment of their own. The virtual
            microphone needs PulseAudio (packages pulseaudio pulseaudio-utils libasound2-plugins
            libportaudio2). openwakeword is its newest release with the models of the last one that
            carried them, run by onnxruntime."""
        ),
        *(["Not measured:", "", *skipped, ""] if skipped else []),
    ]


def place(results: Results, picture: Picture) -> list[str]:
    """The machine."""
    machine = results["machine"]
    versions = {**machine["packages"], **machine["peers"]}
    return [
        "## The machine",
        "",
        *prose(
            f"""{machine["processor"]}, {machine["cores"]} cores, {machine["memory_gb"]} GB;
            {machine["kernel"]}; Python {machine["python"]}; streamer {machine["streamer"]},
            {machine["features"]};
            {", ".join(f"{name} {version}" for name, version in versions.items())}. Load before the run:
            {machine["load_before"][0]}. The numbers behind this page:
            [results.json](performance/results.json)."""
        ),
        *_other_times(results),
    ]


def _other_times(results: Results) -> list[str]:
    """Parts that were measured in another run."""
    machine = results["machine"]
    runs: dict[tuple[str, str], list[str]] = {}
    for name, part in results.get("parts", {}).items():
        runs.setdefault((part.get("time_utc", ""), part.get("streamer", "")), []).append(name)
    runs.pop((machine["time_utc"], machine["streamer"]), None)
    told = [
        f"{' and '.join(names)}: {time} UTC, streamer {which}"
        for (time, which), names in runs.items()
        if time
    ]
    return prose(f"Measured in another run: {'; '.join(told)}.") if told else []
