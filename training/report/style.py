"""The page's style: light and dark, readable on a telephone and in print."""

STYLE = """
:root { color-scheme: light dark; --ground: #fdfdfc; --ink: #1c1f23; --soft: #5b6470; --rule: #d9dde2;
  --panel: #f3f4f2; --heat: #1f6f8b; --bar: #3b7ea1; --bad: #b3400e; --good: #22694a;
  --s0: #0b5fa5; --s1: #c2500a; --s2: #2b7d4f; --s3: #9a3a86; --s4: #7a6a00; --s5: #555; }
@media (prefers-color-scheme: dark) { :root { --ground: #14171a; --ink: #e6e8ea; --soft: #a2abb5;
  --rule: #343b43; --panel: #1c2126; --heat: #63b7d6; --bar: #63a7cc; --bad: #ff9d6b; --good: #7fd0a5;
  --s0: #6fb6f2; --s1: #ffa262; --s2: #79d19d; --s3: #e793d3; --s4: #e3cf58; --s5: #bbb; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 76rem; padding: 1.2rem clamp(.8rem, 3vw, 2rem) 4rem;
  background: var(--ground); color: var(--ink); font: 16px/1.5 system-ui, sans-serif; }
h1 { font-size: 1.6rem; margin: .2rem 0; }
h2 { font-size: 1.2rem; margin: 2.4rem 0 .4rem; border-top: 1px solid var(--rule); padding-top: 1rem; }
p { max-width: 46rem; margin: .4rem 0 .8rem; } .soft, figcaption { color: var(--soft); font-size: .92rem; }
a { color: var(--s0); } code { font-size: .9em; overflow-wrap: anywhere; }
nav a { margin-right: 1rem; display: inline-block; }
.wide { overflow-x: auto; margin: .6rem 0 1rem; }
table { border-collapse: collapse; font-size: .9rem; font-variant-numeric: tabular-nums; }
caption { text-align: left; color: var(--soft); padding-bottom: .3rem; }
th, td { padding: .25rem .7rem .25rem 0; border-bottom: 1px solid var(--rule); text-align: right;
  vertical-align: top; }
td { white-space: nowrap; } td.l { white-space: normal; }
tbody th { position: sticky; left: 0; background: var(--ground); }
th { font-weight: 600; } thead th { vertical-align: bottom; color: var(--soft); }
.l { text-align: left; } td.l { min-width: 6rem; } .path { overflow-wrap: anywhere; min-width: 12rem; }
.bad { color: var(--bad); font-weight: 600; } .good { color: var(--good); font-weight: 600; }
.grid { display: grid; gap: .8rem; grid-template-columns: repeat(auto-fill, minmax(min(100%, 17.5rem),
  1fr)); }
.grid.big { grid-template-columns: repeat(auto-fill, minmax(min(100%, 25rem), 1fr)); }
figure { margin: 0; background: var(--panel); border-radius: .4rem; padding: .4rem; }
figcaption { padding: .1rem .4rem .2rem; overflow-wrap: anywhere; }
svg { display: block; width: 100%; height: auto; font-family: system-ui, sans-serif; }
svg.matrix { max-width: 46rem; min-width: 30rem; } .alone { max-width: 36rem; }
details { margin: .6rem 0; } summary { cursor: pointer; color: var(--s0); }
.legend { display: flex; flex-wrap: wrap; gap: .3rem 1.1rem; font-size: .92rem; }
.key { display: inline-flex; align-items: center; gap: .4rem; } .key svg { width: 2.1rem; }
text { fill: var(--ink); font-size: 11px; } .tick { fill: var(--soft); } .title { font-size: 13px;
  font-weight: 600; }
svg .grid { stroke: var(--rule); stroke-width: .7; } .axis { stroke: var(--soft); }
.line { fill: none; stroke-width: 2; stroke-linejoin: round; }
.band { opacity: .16; } .blind { fill: var(--soft); fill-opacity: .13; } .bar { fill: var(--bar); }
.zero { stroke: var(--bad); stroke-dasharray: 4 3; stroke-width: 1.5; }
.dot { stroke: var(--panel); stroke-width: 1; } .dot.small { r: 3px; }
.cell { fill: var(--ink); fill-opacity: .05; } .heat { fill: var(--heat); }
.count { font-size: 9.5px; pointer-events: none; } .count.strong { fill: var(--ground); }
.halo { fill: none; stroke: #000; stroke-opacity: .55; stroke-width: 4; }
.trace { stroke-width: 2; } .t0 { stroke: #fff; } .t1 { stroke: #7fe3ff; stroke-dasharray: 6 3; }
.t2 { stroke: #9dff9d; stroke-dasharray: 2 3; }
.threshold { stroke: #fff; stroke-dasharray: 1 4; stroke-width: 1.5; } .moment { stroke: #fff;
  stroke-width: 1; }
"""

_DASHES = (
    "",
    "stroke-dasharray: 7 3;",
    "stroke-dasharray: 2 3;",
    "stroke-dasharray: 9 3 2 3;",
    "stroke-dasharray: 14 2;",
    "",
)
SERIES = "".join(
    f"polyline.s{n}, line.s{n} {{ stroke: var(--s{n}); {dash} }}\n"
    f".band.s{n}, .dot.s{n} {{ fill: var(--s{n}); }}\n"
    for n, dash in enumerate(_DASHES)
)
"""Colours that the common kinds of colour blindness keep apart, and dashes for those that are left."""
