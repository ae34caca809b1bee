"""The page: summary first, then curves, confusions, times, noise, single cases, origin."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from streamer.errors import StreamerError
from training.report import pictures, spectrogram, tables, texts
from training.report.style import SERIES, STYLE

Table = Mapping[str, Any]

JUDGED = "streamer-model"
"""The page's mark of what it judged: the hash of the float32 graph."""
MOST_BYTES = 500_000


def page(result: Table) -> str:
    """One HTML file that needs nothing else."""
    name = f"{result['bundle']['name']} {result['bundle']['version']}"
    sections = [
        ("curves", "Misses against false alarms", _curves(result)),
        ("confusions", "Which word was taken for which", _confusions(result)),
        ("times", "How soon a word is told", _times(result)),
        ("noise", "In noise, by variant, and clip by clip", _noise(result)),
        ("sounds", "Sounds, one by one", _sounds(result)),
        ("cases", "What went wrong, to look at", _cases(result)),
        ("alarms", "False alarms", _alarms(result)),
        ("origin", "Where this comes from", _origin(result)),
    ]
    sections = [section for section in sections if section[2]]
    links = " ".join(f'<a href="#{anchor}">{title}</a>' for anchor, title, _ in sections)
    body = "".join(
        f'<section id="{anchor}"><h2>{title}</h2>{content}</section>' for anchor, title, content in sections
    )
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<meta name="{JUDGED}" content="{escape(result["bundle"].get("onnx_sha256", ""))}">'
        f"<title>Evaluation of {escape(name)}</title><style>{STYLE}{SERIES}</style></head><body>"
        f"<header><h1>Evaluation of {escape(name)}</h1>"
        f'<p class="soft">{escape(result["bundle"]["description"])}</p></header>'
        f"<main>{_summary(result)}<nav>{links}</nav>{_budget(result)}{body}</main></body></html>\n"
    )


def check_judged(content: bytes, onnx_sha256: str) -> None:
    """A page that goes with a bundle must tell of its weights, and be no burden."""
    if len(content) > MOST_BYTES:
        raise StreamerError(
            f"the page has {len(content) // 1000} kB; a bundle takes {MOST_BYTES // 1000} kB",
            "write it with fewer conditions: training report --snr clean 10",
        )
    found = re.search(rb'<meta name="%b" content="(\w*)">' % JUDGED.encode(), content[:1000])
    if not found or found[1].decode() != onnx_sha256:
        raise StreamerError(
            "the page tells of other weights" if found else "the page is none of `training report`",
            "write it anew: training report BUNDLE --out PAGE.html",
        )


def streamed(result: Table, variant: str | None = None) -> list[Table]:
    """Figures of one variant on streams, condition by condition."""
    wanted = variant or result["variants"][0]
    return [one for one in result["figures"] if one["variant"] == wanted and one["mode"] == "stream"]


def _summary(result: Table) -> str:
    notes = "".join(f'<p class="bad">{escape(note)}</p>' for note in result["notes"])
    return f"{tables.summary(streamed(result))}<p>{texts.SUMMARY}</p>{notes}"


def _budget(result: Table) -> str:
    return (
        f"<section><h2>Thresholds for a budget</h2><p>{texts.BUDGET}</p>{tables.thresholds(result)}</section>"
    )


def _curves(result: Table) -> str:
    by_label: defaultdict[str, list[Table]] = defaultdict(list)
    for curve in result["curves"]:
        if curve["clips"]:
            by_label[curve["label"]].append(curve)
    if not by_label:
        return ""
    shipped = {label["name"]: label["threshold"] for label in result["bundle"]["labels"]}
    drawn = [
        f"<figure>{pictures.det(label, curves, shipped[label])}</figure>"
        for label, curves in by_label.items()
    ]
    names = list(dict.fromkeys(curve["condition"] for curve in result["curves"]))
    return (
        f"<p>{texts.CURVES}</p>"
        f'{pictures.legend([escape(name) for name in names])}<div class="grid">{"".join(drawn)}</div>'
    )


def _confusions(result: Table) -> str:
    parts = []
    for number, one in enumerate(streamed(result)):
        if not one["words"] or not one["words"]["rows"]:
            continue
        name = escape(one["condition"])
        drawn = pictures.confusion(one["words"], f"confusions, {one['condition']}")
        start = "<details open>" if number == 0 else "<details>"
        parts.append(f'{start}<summary>{name}</summary><div class="wide">{drawn}</div></details>')
    if not parts:
        return ""
    return f"<p>{texts.CONFUSIONS}</p>{''.join(parts)}"


def _times(result: Table) -> str:
    figures = [one for one in streamed(result) if one["words"] and one["words"]["latency_ms"]]
    drawn = []
    for one in (figures[0], figures[-1]) if len(figures) > 1 else figures:
        values = [value for part in one["words"]["latency_ms"].values() for value in part]
        picture = pictures.latency(values, f"all words, {one['condition']}")
        drawn.append(f"<figure>{picture}</figure>")
    if not drawn:
        return ""
    return f'<p>{texts.TIMES}</p><div class="grid big">{"".join(drawn)}</div>'


def _noise(result: Table) -> str:
    conditions = list(dict.fromkeys(one["condition"] for one in result["figures"]))
    charts = {
        "clips of words decided rightly": tables.right_words,
        "false hits of words an hour": lambda one: tables.alarm_rate(one, "keyword"),
        "sounds: F1 by clip": lambda one: one["sounds_f1"]["macro"]["clip"],
        "sounds: F1 by frame": lambda one: one["sounds_f1"]["macro"]["frame"],
        "sounds: PSDS 1": lambda one: one["psds"].get("psds1"),
        "sounds: PSDS 2": lambda one: one["psds"].get("psds2"),
    }
    lines: dict[str, dict[str, Table]] = {}
    for one in result["figures"]:
        lines.setdefault(tables.mode(one), {})[one["condition"]] = one
    drawn = []
    for title, value in charts.items():
        series = {
            name: [value(own[c]) if c in own else None for c in conditions]
            for name, own in lines.items()
            if not (title.startswith("false") and name.endswith("clip by clip"))
        }
        if any(found is not None for line in series.values() for found in line):
            picture = pictures.over_conditions(title, conditions, series)
            drawn.append(f"<figure>{picture}</figure>")
    return (
        f"<p>{texts.NOISE}</p>"
        f'{pictures.legend([escape(name) for name in lines])}<div class="grid">{"".join(drawn)}</div>'
        f"<details><summary>all numbers</summary>{tables.variants(result)}</details>"
    )


def _sounds(result: Table) -> str:
    figures = streamed(result)
    if not figures[0]["sounds_f1"]["by_label"]:
        return ""
    return f"<p>{texts.SOUNDS}</p>{tables.sounds(figures)}"


def _cases(result: Table) -> str:
    drawn = []
    for case in result["drawn"]:
        traces = ", ".join(
            f"{name} ({line})"
            for name, line in zip(case["traces"], ("white", "blue dashes", "green dots"), strict=False)
        )
        caption = (
            f"At {tables.clock(case['second'])} of {case['stream']}: {case['playing']}. Lines: {traces}."
        )
        drawn.append(f"<figure>{spectrogram.case(case)}<figcaption>{escape(caption)}</figcaption></figure>")
    if not drawn:
        return ""
    return f'<p>{texts.CASES}</p><div class="grid big">{"".join(drawn)}</div>'


def _alarms(result: Table) -> str:
    if not result["false_alarms_in_all"]:
        return "<p>None.</p>"
    return f"<p>{texts.ALARMS}</p>{tables.false_alarms(result)}"


def _origin(result: Table) -> str:
    origin = result["bundle"]["provenance"]
    rows = [
        ["trained", escape(str(origin["trained_utc"]))],
        ["revision", escape(str(origin["git_revision"]))],
    ]
    commands = [*origin.get("earlier_commands", []), origin["command"]]
    rows.append(["commands", "<br>".join(f"<code>{escape(str(line))}</code>" for line in commands)])
    rows.append(["weights", escape(str(origin.get("checkpoint", "")))])
    rows.append(["settings", escape(str(origin.get("settings", ""))[1:-1])])
    rows += [[name, "<br>".join(escape(str(line)) for line in origin[name])] for name in ("data", "licences")]
    rows.append(["judged by", _judged_by(result)])
    return tables.table("The model", ["", ""], rows, left=2)


def _judged_by(result: Table) -> str:
    conditions: Sequence[str] = list(dict.fromkeys(one["condition"] for one in result["figures"]))
    return (
        f"{texts.JUDGED} Conditions: {escape(', '.join(conditions))}; "
        f"variants: {escape(', '.join(result['variants']))}."
    )
