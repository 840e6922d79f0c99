"""What all pages share: style, frame, tables."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

STYLE = """
:root {
  color-scheme: light dark;
  --ink: #1b2230; --muted: #596274; --line: #dfe3ea; --paper: #fff; --soft: #f4f6f9;
  --p0: #0b8a94; --p1: #7d4fd6; --p2: #b4540a; --p3: #2f7d32; --p4: #b3265e; --p5: #5b6270; --lane: #e9edf2;
  --hot: 214 69 40;
}
@media (prefers-color-scheme: dark) {
  :root {
    --ink: #e8ecf3; --muted: #9aa5b7; --line: #2c3443; --paper: #0e1117; --soft: #181d27;
    --p0: #54d0d8; --p1: #bea0ff; --p2: #f0a35e; --p3: #7fd083; --p4: #f48ab4; --p5: #aeb6c4; --lane: #1c222e;
    --hot: 235 96 66;
  }
}
* { box-sizing: border-box }
body {
  margin: 0; background: var(--paper); color: var(--ink);
  font: 16px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif;
}
main { max-width: 980px; margin: 0 auto; padding: 28px 20px 56px }
h1 { font-size: 1.75rem; line-height: 1.25; margin: 0 0 14px }
h2 { font-size: 1.2rem; margin: 40px 0 12px }
.finding {
  font-size: 1.1rem; margin: 0 0 20px; padding: 14px 18px;
  background: var(--soft); border-left: 4px solid var(--p0); border-radius: 6px;
}
video { width: 100%; aspect-ratio: 16/9; display: block; border-radius: 10px; background: #0e1117 }
.note { color: var(--muted); font-size: .92rem; margin: 10px 0 }
.wide { overflow-x: auto }
table { border-collapse: collapse; width: 100%; font-size: .94rem }
th, td { padding: 8px 12px; border-bottom: 1px solid var(--line); text-align: left }
th { color: var(--muted); font-weight: 600; vertical-align: bottom }
.n { text-align: right; font-variant-numeric: tabular-nums }
.key { display: flex; flex-wrap: wrap; gap: 6px 22px; margin: 22px 0 8px; font-size: .92rem }
.key span::before {
  content: ""; display: inline-block; width: 18px; height: 4px; border-radius: 2px;
  margin-right: 8px; vertical-align: middle; background: var(--colour);
}
.key .k0 { --colour: var(--p0) }
.key .k1 { --colour: var(--p1) }
.key .k2 { --colour: var(--p2) }
.key .k3 { --colour: var(--p3) }
.key .k4 { --colour: var(--p4) }
.key .k5 { --colour: var(--p5) }
.key .dot::before { width: 10px; height: 10px; border-radius: 5px; background: var(--muted) }
.key .lane::before { height: 12px; background: var(--lane) }
.plots { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(420px, 100%), 1fr)); gap: 16px }
figure { margin: 0 }
figcaption { font-size: .88rem; color: var(--muted); margin: 6px 0 }
svg { width: 100%; height: auto; display: block }
svg text { font-size: 16px; fill: var(--muted) }
svg .lane { fill: var(--lane) }
svg .grid { stroke: var(--line) }
svg .axis { stroke: var(--muted); stroke-dasharray: 4 4 }
svg polyline { fill: none; stroke-width: 1.6; stroke-linejoin: round; opacity: .85 }
polyline.p0 { stroke: var(--p0) }
polyline.p1 { stroke: var(--p1) }
polyline.p2 { stroke: var(--p2) }
polyline.p3 { stroke: var(--p3) }
polyline.p4 { stroke: var(--p4) }
polyline.p5 { stroke: var(--p5) }
.p0:is(circle, polygon) { fill: var(--p0) }
.p1:is(circle, polygon) { fill: var(--p1) }
.p2:is(circle, polygon) { fill: var(--p2) }
.p3:is(circle, polygon) { fill: var(--p3) }
.p4:is(circle, polygon) { fill: var(--p4) }
.p5:is(circle, polygon) { fill: var(--p5) }
.band { opacity: .16 }
.row { display: flex; gap: 4px; padding-left: 12%; padding-right: 4% }
.row img { flex: 1; min-width: 0; max-width: 25%; border-radius: 4px }
.heat td.n { background: rgb(var(--hot) / calc(var(--heat, 0) * .75)) }
details { margin: 18px 0 }
summary { cursor: pointer; color: var(--muted) }
pre { background: var(--soft); padding: 14px 16px; border-radius: 8px; overflow-x: auto }
li { margin: 6px 0 }
@media (max-width: 640px) {
  main { padding: 18px 14px 40px }
  h1 { font-size: 1.4rem }
  table { font-size: .8rem; line-height: 1.35 }
  th, td { padding: 6px 5px }
}
"""


def html_page(title: str, body: str) -> str:
    """A whole page that stands alone; ``body`` is HTML."""
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(title)}</title>
<style>{STYLE}</style>
</head>
<body>
<main>
<h1>{escape(title)}</h1>
{body}
</main>
</body>
</html>
"""


def table(head: Sequence[str], rows: Sequence[Sequence[str]], n_words: int) -> str:
    """An HTML table of plain text; the first ``n_words`` columns are words, the others figures."""

    def cells(tag: str, row: Sequence[str]) -> str:
        return "".join(
            f"<{tag}{' class=n' if i >= n_words else ''}>{escape(text)}</{tag}>" for i, text in enumerate(row)
        )

    body = "".join(f"<tr>{cells('td', row)}</tr>" for row in rows)
    head_row = f"<thead><tr>{cells('th', head)}</tr></thead>"
    return f'<div class="wide"><table>{head_row}<tbody>{body}</tbody></table></div>'
