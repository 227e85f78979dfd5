"""The looks of the report: one style sheet, light and dark."""

from __future__ import annotations

STYLE = """
:root {
  --page: #f6f7f9; --card: #ffffff; --line: #e3e6eb; --text: #171a21; --soft: #667085; --faint: #98a2b3;
  --first: #2f6fed; --second: #d9480f; --third: #0f9d74; --band: #2f6fed22; --grid: #eceff3;
  --shadow: 0 1px 2px #1018280d;
}
@media (prefers-color-scheme: dark) {
  :root {
    --page: #0f1116; --card: #171a21; --line: #262b36; --text: #e8eaf0; --soft: #98a2b3; --faint: #667085;
    --first: #7aa5ff; --second: #ff9359; --third: #4fd1a5; --band: #7aa5ff26; --grid: #222732; --shadow: none;
  }
}
* { box-sizing: border-box; }
html { color-scheme: light dark; }
body {
  margin: 0; background: var(--page); color: var(--text); line-height: 1.5; -webkit-font-smoothing: antialiased;
  font: 15px/1.5 Inter, system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif;
}
main { max-width: 1160px; margin: 0 auto; padding: 44px 24px 72px; }
header { margin-bottom: 28px; }
h1 { font-size: 30px; line-height: 1.2; letter-spacing: -0.02em; margin: 0 0 6px; font-weight: 650; }
h2 { font-size: 19px; letter-spacing: -0.01em; margin: 44px 0 4px; font-weight: 620; }
h3 { font-size: 14px; margin: 0 0 8px; font-weight: 600; }
p { margin: 0; color: var(--soft); }
h2 + p { margin-bottom: 14px; }
a { color: var(--first); text-decoration: none; }
a:hover { text-decoration: underline; }
code { font: 13px/1.4 ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; overflow-wrap: anywhere; }
.card { background: var(--card); border: 1px solid var(--line); border-radius: 12px; box-shadow: var(--shadow); }
.figures { display: grid; grid-template-columns: repeat(auto-fit, minmax(150px, 1fr)); gap: 12px; }
.figure { padding: 14px 16px; }
.figure b { display: block; font-size: 25px; line-height: 1.25; letter-spacing: -0.02em; font-weight: 640; }
.figure b small { font-size: 14px; font-weight: 500; color: var(--soft); letter-spacing: 0; }
.figure span { color: var(--soft); font-size: 13px; }
.pair { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(480px, 100%), 1fr)); gap: 14px; }
.pair > .card { padding: 16px 18px 12px; min-width: 0; }
svg { display: block; width: 100%; height: auto; }
svg text { fill: var(--soft); font: 12px Inter, system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; }
svg .value { fill: var(--text); font-weight: 600; }
svg .grid { stroke: var(--grid); stroke-width: 1; }
svg .axis { stroke: var(--line); stroke-width: 1; }
svg .line { fill: none; stroke-width: 2; stroke-linejoin: round; stroke-linecap: round; }
svg .first { stroke: var(--first); } svg .second { stroke: var(--second); } svg .third { stroke: var(--third); }
svg .dot { stroke: var(--card); stroke-width: 1.5; }
svg .dot.first { fill: var(--first); } svg .dot.second { fill: var(--second); } svg .dot.third { fill: var(--third); }
svg .ruler { fill: none; stroke: var(--soft); stroke-width: 1.5; }
svg .band { stroke: none; opacity: 0.15; }
svg .band.first { fill: var(--first); }
svg .band.second { fill: var(--second); } svg .band.third { fill: var(--third); }
.legend { display: flex; flex-wrap: wrap; gap: 4px 16px; color: var(--soft); font-size: 13px; }
.legend i { display: inline-block; width: 14px; height: 3px; border-radius: 2px; margin-right: 6px;
  vertical-align: middle; }
.legend i.round { width: 9px; height: 9px; border-radius: 50%; }
.heading { display: flex; justify-content: space-between; align-items: baseline; gap: 12px; flex-wrap: wrap; }
.strip { display: grid; grid-template-columns: repeat(6, minmax(0, 1fr)); gap: 10px; }
.views.portrait { display: grid; grid-template-columns: repeat(2, minmax(0, 1fr)); gap: 0 12px; }
@media (max-width: 760px) {
  .strip { grid-template-columns: repeat(3, minmax(0, 1fr)); }
  .views.portrait { display: block; } .views.portrait .columns ~ .columns { display: none; }
}
figure { margin: 0; min-width: 0; }
figcaption { color: var(--soft); font-size: 13px; margin-top: 5px; }
img { display: block; width: 100%; height: auto; border-radius: 7px; background: var(--grid); }
.view { padding: 12px; margin-bottom: 12px; }
.view .three { display: grid; grid-template-columns: repeat(3, minmax(0, 1fr)); gap: 10px; }
.view .heading { margin-bottom: 8px; font-size: 13px; color: var(--soft); }
.view .heading b { color: var(--text); font-weight: 600; font-size: 14px; }
.columns { display: grid; grid-template-columns: repeat(3, minmax(0, 1fr)); gap: 10px; padding: 0 13px 6px;
  color: var(--soft); font-size: 13px; }
.columns span { white-space: nowrap; }
.scale { display: inline-block; width: 56px; height: 9px; border-radius: 3px; vertical-align: middle; margin: 0 4px; }
table { border-collapse: collapse; width: 100%; font-size: 14px; }
td { padding: 6px 0; border-top: 1px solid var(--line); vertical-align: top; }
tr:first-child td { border-top: 0; }
td:first-child { color: var(--soft); padding-right: 18px; white-space: nowrap; }
td:last-child { overflow-wrap: anywhere; font-variant-numeric: tabular-nums; }
details { margin-top: 14px; padding: 12px 18px; }
summary { cursor: pointer; font-weight: 600; font-size: 14px; }
details table { margin-top: 8px; }
.note { padding: 14px 18px; color: var(--soft); }
svg .frustum { stroke-width: 1.4; stroke-linejoin: round; }
svg .frustum.first { fill: var(--band); } svg .frustum.second { fill: #d9480f2b; }
svg .bar { fill: var(--first); }
.triple { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(300px, 100%), 1fr)); gap: 14px; }
.triple > .card { padding: 14px 16px 10px; min-width: 0; }
.films { margin-top: 14px; align-items: start; }
.films .note { margin: 0; }
video { display: block; width: 100%; border-radius: 7px; background: #000; }
iframe { display: block; width: 100%; height: 540px; border-radius: 12px; background: #000; }
footer { margin-top: 40px; color: var(--faint); font-size: 13px; }
"""
