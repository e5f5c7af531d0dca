"""The page's style sheet: one column that widens, and two sets of colours."""

CSS = """
:root {
  color-scheme: light dark;
  --page: #fbfbfa; --card: #ffffff; --ink: #1b1d20; --quiet: #5b6067; --line: #e2e1dc;
  --accent: #0b6b70; --good: #176b43; --good-page: #e3f3ea; --train: #8fa9c4; --held-out: #b5432f;
}
@media (prefers-color-scheme: dark) {
  :root {
    --page: #14161a; --card: #1b1e23; --ink: #e7e7e4; --quiet: #a3a8b0; --line: #30343b;
    --accent: #63c5c4; --good: #7fd6a6; --good-page: #173126; --train: #5f7f9f; --held-out: #f08a72;
  }
}
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; scroll-behavior: smooth; }
body {
  margin: 0 auto; padding: 1.5rem 1rem 4rem; max-width: 74rem;
  background: var(--page); color: var(--ink); line-height: 1.55; overflow-wrap: anywhere;
  font: 1rem/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", sans-serif;
}
h1, h2, h3 { line-height: 1.2; text-wrap: balance; }
h1 { font-size: clamp(1.6rem, 5vw, 2.3rem); margin: .2rem 0 .8rem; letter-spacing: -.015em; }
h2 { font-size: 1.35rem; margin: 0 0 .6rem; }
h3 { font-size: 1rem; margin: 0 0 .6rem; }
p, ul, .reading { max-width: 68ch; }
a { color: var(--accent); }
:focus-visible { outline: 2px solid var(--accent); outline-offset: 2px; }
.kicker { margin: 0; color: var(--quiet); font-size: .9rem; }
.verdict { font-size: 1.15rem; margin: 0 0 .6rem; }
.badge {
  display: inline-block; padding: .05rem .6rem; margin-right: .5rem; border-radius: 1rem;
  border: 1px solid var(--line); color: var(--quiet); font-size: .85rem; vertical-align: .1em;
}
.badge.good { color: var(--good); background: var(--good-page); border-color: transparent; font-weight: 600; }
.reasons { margin: 0; padding-left: 1.1rem; color: var(--quiet); font-size: .92rem; }
nav { margin: 1.2rem 0 0; padding: .6rem 0; border-block: 1px solid var(--line); font-size: .95rem; }
nav a { display: inline-block; padding: .15rem 0; margin-right: 1.2rem; text-decoration: none; }
nav a:hover { text-decoration: underline; }
.part { margin-top: 2.6rem; scroll-margin-top: 1rem; }
.part > p { color: var(--quiet); }
.group {
  margin-top: 1.6rem; padding: 1rem; background: var(--card);
  border: 1px solid var(--line); border-radius: 10px;
}
.panels {
  display: grid; gap: .9rem; grid-template-columns: repeat(auto-fit, minmax(min(12rem, 100%), 1fr));
}
figure { margin: 0; min-width: 0; }
.panels figure { max-width: 22rem; }
.panels .double { grid-column: span 2; max-width: 45rem; }
.frame { position: relative; line-height: 0; }
.frame img { width: 100%; height: auto; border-radius: 4px; background: var(--line); }
.frame img.pixelated { image-rendering: pixelated; }
.frame .marks { position: absolute; inset: 0; width: 100%; height: 100%; }
.marks path { fill: none; stroke: #ff4b3e; stroke-width: .16; }
figcaption { margin-top: .35rem; font-size: .87rem; line-height: 1.35; color: var(--quiet); }
figcaption strong { display: block; color: var(--ink); }
.bar { margin: .8rem 0 0; font-size: .85rem; color: var(--quiet); }
.bar span {
  display: inline-flex; align-items: center; gap: .5rem; white-space: nowrap;
  font-variant-numeric: tabular-nums;
}
.bar svg { width: 9rem; height: .7rem; border-radius: 3px; }
.legend {
  display: flex; flex-wrap: wrap; gap: .25rem .9rem; margin: .8rem 0 0; padding: 0; max-width: none;
  list-style: none; font-size: .87rem;
}
.legend svg { width: .8rem; height: .8rem; margin-right: .35rem; vertical-align: -.06em; }
.reading { display: grid; gap: .35rem; margin: .8rem 0; font-size: .93rem; }
.reading dt { display: inline; font-weight: 600; }
.reading dt::after { content: ": "; }
.reading dd { display: inline; margin: 0; color: var(--quiet); }
.scroll {
  overflow-x: auto; margin-top: 1rem; background: var(--card);
  border: 1px solid var(--line); border-radius: 10px;
}
table { border-collapse: collapse; width: 100%; font-size: .95rem; }
caption { padding: .8rem .9rem .4rem; text-align: left; color: var(--quiet); font-size: .92rem; }
caption strong { display: block; color: var(--ink); }
th, td { padding: .5rem .9rem; text-align: left; vertical-align: top; overflow-wrap: normal; }
thead th { color: var(--quiet); font-weight: 500; font-size: .87rem; vertical-align: bottom; }
tbody tr { border-top: 1px solid var(--line); }
tbody th { font-weight: 500; min-width: 9.5rem; }
small { display: block; color: var(--quiet); font-weight: 400; font-size: .84rem; line-height: 1.35; }
.number { text-align: right; white-space: nowrap; font-variant-numeric: tabular-nums; }
td strong { color: var(--good); }
.charts {
  display: grid; gap: 1.2rem; margin-top: 1rem;
  grid-template-columns: repeat(auto-fit, minmax(min(18rem, 100%), 1fr));
}
.chart { display: block; width: 100%; height: auto; }
.chart text { font-size: 11px; fill: var(--quiet); font-variant-numeric: tabular-nums; }
.chart line { stroke: var(--line); stroke-width: 1; }
.chart polyline { fill: none; stroke-width: 1.6; stroke-linejoin: round; }
.chart .train { stroke: var(--train); }
.chart polyline.held-out { stroke: var(--held-out); stroke-width: 2; }
.chart circle.held-out { fill: var(--held-out); }
.key {
  display: inline-block; width: 1.4rem; height: .2rem; margin-right: .35rem; border-radius: 2px;
  vertical-align: .25em;
}
.key.train { background: var(--train); } .key.held-out { background: var(--held-out); }
pre {
  overflow-x: auto; padding: .9rem 1rem; background: var(--card);
  border: 1px solid var(--line); border-radius: 10px;
  font: .85rem/1.5 ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; overflow-wrap: normal;
}
.facts { margin: .8rem 0 0; border-top: 1px solid var(--line); }
.facts > div {
  display: grid; grid-template-columns: 11rem 1fr; gap: .1rem 1rem; padding: .45rem 0;
  border-bottom: 1px solid var(--line);
}
.facts dt { color: var(--quiet); } .facts dd { margin: 0; min-width: 0; }
details { margin-top: 1rem; } summary { cursor: pointer; color: var(--accent); }
footer { margin-top: 3rem; color: var(--quiet); font-size: .87rem; }
@media (max-width: 34rem) {
  .panels { grid-template-columns: 1fr 1fr; gap: .7rem; }
  .panels .wide { grid-column: 1 / -1; max-width: none; }
  .group { padding: .8rem; margin-inline: -.3rem; }
  th, td { padding: .45rem .6rem; }
  caption { padding-inline: .6rem; }
  .facts > div { grid-template-columns: 1fr; }
}
@media print { nav { display: none; } .group, figure { break-inside: avoid; } }
"""
