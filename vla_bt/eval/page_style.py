"""What the report's page is dressed in: its style for light and dark, its script that copies commands, its frame."""

from __future__ import annotations

from vla_bt.eval.plots import SOURCES

SCRIPT = """
document.addEventListener('click', event => {
  const button = event.target.closest('button');
  if (!button) return;
  const text = button.dataset.copy || button.previousElementSibling.textContent;
  navigator.clipboard.writeText(text).then(() => {
    const was = button.textContent; button.textContent = 'copied';
    setTimeout(() => { button.textContent = was; }, 900);
  });
});
"""

_RULES = """
:root { color-scheme: light dark; --paper: #fdfdfc; --ink: #1c2024; --quiet: #666f78; --line: #d9dde1; --panel:
  #f2f4f5; --good: #15803d; --bad: #c02626; --part: #a16207; --floor: #eceae6; --box: #b98a55; --cup: #c02626;
  --robot: #374151; --share: #3b82c4; --s0: #8b949e; --s1: #dc2626; --s2: #2563eb; --s3: #16a34a; --s4: #9333ea;
  --s5: #ca8a04; --v0: #2563eb; --v1: #d97706; --v2: #8b949e; --p0: #2563eb; --p1: #16a34a; --p2: #dc2626; --p3:
  #9333ea; --p4: #d97706; --p5: #0891b2; }
@media (prefers-color-scheme: dark) { :root { --paper: #14171a; --ink: #e3e6e8; --quiet: #98a2ab; --line: #343a40;
  --panel: #1d2125; --good: #4ade80; --bad: #f87171; --part: #fbbf24; --floor: #23282c; --box: #a5794a; --cup:
  #f87171; --robot: #cbd5e1; --share: #60a5fa; --s2: #60a5fa; --s3: #4ade80; --s4: #c084fc; --s5: #fbbf24; --v0:
  #60a5fa; --v1: #fbbf24; --v2: #8b949e; --p0: #60a5fa; --p1: #4ade80; --p2: #f87171; --p3: #c084fc; --p4: #fbbf24;
  --p5: #22d3ee; } }
body { font: 15px/1.5 system-ui, sans-serif; background: var(--paper); color: var(--ink); margin: 0 auto; max-width:
  1240px; padding: 1.5rem 1.25rem 4rem; }
h1 { font-size: 1.7rem; margin: 0 0 .3rem; }
h2 { font-size: 1.3rem; margin: 2.4rem 0 .6rem; border-bottom: 1px solid var(--line); }
h3 { font-size: 1.05rem; margin: 1.4rem 0 .5rem; }
p { max-width: 75ch; margin: .4rem 0; }
nav a { margin-right: 1rem; }
a { color: var(--share); }
.quiet { color: var(--quiet); font-size: .85rem; font-weight: normal; }
.good { color: var(--good); }
.bad { color: var(--bad); }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; margin: .3rem 0; }
th, td { text-align: left; vertical-align: top; padding: .3rem .6rem; border-bottom: 1px solid var(--line); }
thead th { color: var(--quiet); font-weight: 600; font-size: .85rem; }
.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
.wide { white-space: nowrap; }
.check { white-space: normal; width: 24rem; }
.columns { display: flex; flex-wrap: wrap; gap: 1rem 1.6rem; align-items: flex-start; }
.grow { flex: 1 1 420px; }
.card { background: var(--panel); border: 1px solid var(--line); border-radius: 8px; padding: .6rem .9rem; margin:
  .6rem 0; }
summary { cursor: pointer; }
.card > .columns { margin-top: .6rem; }
.facts th { color: var(--quiet); font-weight: normal; white-space: nowrap; }
.facts td { overflow-wrap: anywhere; }
.sheet { max-width: 100%; border-radius: 6px; margin-top: .5rem; display: block; }
pre { overflow-x: auto; font: 12.5px/1.45 ui-monospace, monospace; background: var(--paper); border: 1px solid
  var(--line); border-radius: 6px; padding: .5rem .7rem; margin: .4rem 0; }
.command { display: flex; gap: .5rem; align-items: center; margin: .4rem 0; }
.command code { overflow-x: auto; white-space: nowrap; font: 12.5px ui-monospace, monospace; background:
  var(--paper); border: 1px solid var(--line); border-radius: 6px; padding: .3rem .5rem; flex: 1 1 0; min-width:
  12rem; }
button { font: inherit; font-size: .85rem; color: inherit; background: var(--panel); border: 1px solid var(--line);
  border-radius: 6px; padding: .1rem .5rem; cursor: pointer; }
.matrix td { text-align: center; }
.matrix td button { font-weight: 600; }
.full button { color: var(--good); }
.part button { color: var(--part); border-color: var(--part); }
.zero button { color: var(--bad); border-color: var(--bad); }
.matrix .quiet { font-size: .72rem; white-space: nowrap; }
.gallery { display: flex; flex-wrap: wrap; gap: .8rem; margin: .6rem 0; }
figure { margin: 0; background: var(--panel); border: 1px solid var(--line); border-top: 3px solid var(--line);
  border-radius: 6px; padding: .5rem; }
figure.good { border-top-color: var(--good); }
figure.bad { border-top-color: var(--bad); color: inherit; }
figure svg { display: block; }
figcaption { font-size: .75rem; color: var(--quiet); margin-top: .3rem; max-width: 280px; overflow-wrap: anywhere; }
figure.good figcaption, figure.bad figcaption { max-width: 200px; }
svg { vertical-align: middle; }
.card .columns svg { display: block; margin-bottom: .4rem; }
.room { fill: var(--floor); stroke: var(--quiet); }
.box { fill: var(--box); stroke: none; }
.cup { fill: var(--cup); }
.near { fill: none; stroke: var(--cup); stroke-dasharray: 3 3; }
.was { opacity: .35; }
.robot { fill: none; stroke: var(--robot); stroke-width: 1.2; }
.robot.start { opacity: .45; }
.way { fill: none; stroke-width: 2; stroke-linejoin: round; stroke-linecap: round; }
.axis { stroke: var(--quiet); stroke-width: .7; }
line.tick { stroke: var(--line); }
text.tick { fill: var(--quiet); font-size: 9px; }
.speed { fill: none; stroke-width: 1.3; }
.track { fill: var(--line); }
.share { fill: var(--share); }
.interval { stroke: var(--ink); stroke-width: 1.3; }
.legend { font-size: .78rem; margin: .3rem 0; }
.key { white-space: nowrap; margin-right: .5rem; }
.key::before { content: ''; display: inline-block; width: .7em; height: .7em; border-radius: 2px; margin-right:
  .3em; background: currentColor; }
"""

_COLOURS = "".join(
    f".way.{name}, .robot.{name}, .speed.{name} {{ stroke: var(--{name}); }} .band.{name} {{ fill: var(--{name}); }}\n"
    f".key.{name}::before {{ background: var(--{name}); }}\n"
    for name in [f"s{number}" for number in SOURCES] + ["v0", "v1", "v2"] + [f"p{index}" for index in range(6)]
)
STYLE = _RULES + _COLOURS

FRAME = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>vla-bt evaluation</title><style>{style}</style></head>
<body>
{body}
<script>{script}</script>
</body></html>
"""
