"""Numbers as HTML tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from training.evaluate.intervals import hours_for, poisson_rate, rate_bound, wilson
from training.evaluate.words import quantiles

Table = Mapping[str, Any]
DASH = "-"


def table(caption: str, head: Sequence[str], rows: Sequence[Sequence[str]], left: int = 1) -> str:
    """Rows of words and numbers; the first columns are set left, the rest right. Words may hold HTML."""
    top = "".join(f'<th scope="col"{_left(at, left)}>{name}</th>' for at, name in enumerate(head))
    body = "".join(
        "<tr>" + "".join(_cell(at, words, left) for at, words in enumerate(row)) + "</tr>" for row in rows
    )
    return (
        f'<div class="wide"><table><caption>{caption}</caption><thead><tr>{top}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
    )


def _left(at: int, left: int) -> str:
    return ' class="l"' if at < left else ""


def _cell(at: int, words: str, left: int) -> str:
    return f'<th scope="row" class="l">{words}</th>' if at == 0 else f"<td{_left(at, left)}>{words}</td>"


def percent(value: float | None) -> str:
    """A share; a dash where there is none."""
    return DASH if value is None else f"{value:.1%}"


def number(value: float | None) -> str:
    """A number with three figures; a dash where there is none."""
    if value is None:
        return DASH
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def alarms(figures: Table, kind: str) -> tuple[int, float, int]:
    """(false alarms, hours, labels) of all labels of a kind together; hours are those of one label."""
    entries = [entry for entry in figures["false_alarms"].values() if entry["kind"] == kind]
    hours = min((entry["hours"] for entry in entries), default=0.0)
    return sum(entry["count"] for entry in entries), hours, len(entries)


def alarm_rate(figures: Table, kind: str) -> float | None:
    """False alarms an hour, all labels of a kind together."""
    count, hours, labels = alarms(figures, kind)
    return count / hours if labels and hours > 0 else None


def rate_words(count: int, hours: float) -> str:
    """A rate with its interval."""
    if hours <= 0:
        return "not heard"
    if count == 0:
        return f"0 (under {rate_bound(0, hours):.2g})"
    low, high = poisson_rate(count, hours)
    return f"{number(count / hours)} ({number(low)} to {number(high)})"


def right_words(figures: Table) -> float | None:
    """Share of clips in the stream of words that were decided rightly."""
    words = figures["words"]
    return words["right"] / words["clips"] if words else None


def missed_words(figures: Table) -> float | None:
    """Share of words missed, the mean over labels."""
    labels = figures["words_f1"]["by_label"].values()
    return 1 - sum(entry["recall"] for entry in labels) / len(labels) if labels else None


def summary(figures: Sequence[Table]) -> str:
    """The first variant in every condition."""
    rows = []
    for one in figures:
        late = quantiles(one["words"]["latency_ms"]) if one["words"] else {"median": None, "p90": None}
        macro, psds = one["sounds_f1"]["macro"], one["psds"]
        rows.append(
            [
                escape(one["condition"]),
                percent(right_words(one)),
                percent(missed_words(one)),
                rate_words(*alarms(one, "keyword")[:2]) if one["words"] else DASH,
                f"{number(late['median'])}, {number(late['p90'])}",
                number(macro["clip"]),
                number(macro["frame"]),
                number(psds.get("psds1")),
                number(psds.get("psds2")),
                rate_words(*alarms(one, "sound")[:2]) if macro["clip"] is not None else DASH,
            ]
        )
    head = [
        "condition",
        "clips of words decided rightly",
        "words missed",
        "false hits an hour",
        "ms from a word's end to its hit: median, slowest tenth",
        "sounds: F1 by clip",
        "F1 by frame",
        "PSDS 1",
        "PSDS 2",
        "false starts an hour",
    ]
    caption = "On streams, state carried on, at the bundle's own thresholds; in brackets 95 % intervals"
    return table(caption, head, rows)


def thresholds(result: Table) -> str:
    """What each label's threshold is, what a budget would ask for, and what so few hours can prove."""
    shipped = {label["name"]: label["threshold"] for label in result["bundle"]["labels"]}
    budget = result["budget_per_hour"]
    rows = [
        [
            escape(point["label"]),
            number(shipped.get(point["label"])),
            number(point["threshold"]),
            *missed(point["missed"], point["clips"]),
            f"{point['alarms']} in {point['hours']:.2f} h",
            proven(point),
            DASH if point["supported"] else f"{hours_for(budget, point['alarms']):.0f} h",
        ]
        for point in result["operating"]
    ]
    head = ["label", "threshold in the bundle", "threshold for the budget", "missed there", "95 % interval"]
    head += ["false alarms", "proves at most, an hour", "to prove the budget"]
    return table(f"A budget of {budget:g} false alarms an hour for each label", head, rows)


def proven(point: Table) -> str:
    """The rate that the hours support, coloured by whether that is the budget."""
    style = "good" if point["supported"] else "bad"
    return f'<span class="{style}">{number(point["at_most_per_hour"])}</span>'


def missed(count: int, clips: int) -> tuple[str, str]:
    """A share in words, and its interval."""
    if not clips:
        return DASH, DASH
    low, high = wilson(count, clips)
    return f"{count} of {clips}: {count / clips:.0%}", f"{low:.0%} to {high:.0%}"


F1_KINDS = {
    "clip": "by clip",
    "frame": "by frame",
    "event_onset": "onset within 200 ms",
    "event_onset_offset": "onset and end",
}


def sounds(figures: Sequence[Table]) -> str:
    """Each sound's F1 in the first and the last condition."""
    shown = figures[:1] if len(figures) == 1 else [figures[0], figures[-1]]
    head = ["sound", "clips", "precision", "recall"]
    head += [f"F1 {words}, {escape(one['condition'])}" for one in shown for words in F1_KINDS.values()]
    rows = []
    for label, entry in shown[0]["sounds_f1"]["by_label"].items():
        clip, others = entry["clip"], [one["sounds_f1"]["by_label"].get(label) for one in shown]
        row = [escape(label), f"{clip['wanted']}", percent(clip["precision"]), percent(clip["recall"])]
        row += [number(own[kind]["f1"] if own else None) for own in others for kind in F1_KINDS]
        rows.append(row)
    return table("Precision and recall by clip, in the first condition", head, rows)


def variants(result: Table) -> str:
    """The same streams through each variant, and clip by clip."""
    sizes = result["bundle"]["sizes"]
    rows = [
        [
            escape(mode(one)),
            escape(one["condition"]),
            f"{sizes.get(one['variant'], 0) / 1e6:.2f} MB",
            percent(right_words(one)),
            number(alarm_rate(one, "keyword")),
            number(one["sounds_f1"]["macro"]["clip"]),
            number(one["sounds_f1"]["macro"]["frame"]),
            number(alarm_rate(one, "sound")),
            number(one.get("largest_difference")),
            number(one.get("mean_difference")),
        ]
        for one in result["figures"]
    ]
    head = [
        "variant",
        "condition",
        "size",
        "words right",
        "false hits an hour",
        "sounds: F1 by clip",
        "F1 by frame",
    ]
    head += ["false starts an hour", "largest difference of a score from the first", "mean difference"]
    return table("All variants on the same streams", head, rows)


def mode(one: Table) -> str:
    """A variant, on streams or clip by clip."""
    return one["variant"] + (", clip by clip" if one["mode"] == "clips" else "")


def false_alarms(result: Table) -> str:
    """Where and when something was told that was not there."""
    rows = [
        [
            escape(case["label"]),
            escape(case["stream"]),
            clock(case["second"]),
            number(case["score"]),
            escape(case["playing"]),
            f'<span class="path">{escape(case["path"])}</span>',
        ]
        for case in sorted(result["false_alarms"], key=lambda c: (c["label"], c["stream"], c["second"]))
    ]
    shown, every = len(rows), result["false_alarms_in_all"]
    head = ["label", "stream", "time", "score", "what was playing", "clip"]
    return table(f"{shown} of {every}: the most convinced of each label", head, rows, left=6)


def clock(second: float) -> str:
    """A time in a stream."""
    return f"{int(second // 3600)}:{int(second // 60) % 60:02d}:{second % 60:04.1f}"
