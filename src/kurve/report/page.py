"""The page: its style, and pieces of HTML. What comes from outside is escaped here."""

from __future__ import annotations

import html
from collections.abc import Sequence

STYLE = """
:root{color-scheme:light dark;--ink:#1c2330;--soft:#5b6472;--line:#d9dee6;--page:#fff;
--panel:#f5f7fa;--accent:#3b8bd4;--warn:#c4571f;--bad:#c22f3d;--good:#2f8a55}
@media (prefers-color-scheme:dark){:root{--ink:#e4e8ee;--soft:#9aa4b2;--line:#343b47;
--page:#14181f;--panel:#1c222b;--accent:#62a8e8;--warn:#f0935a;--bad:#f07883;
--good:#63c08c}}
*{box-sizing:border-box}
body{margin:0;background:var(--page);color:var(--ink);
font:16px/1.55 system-ui,-apple-system,"Segoe UI",Roboto,sans-serif}
main{max-width:52rem;margin:0 auto;padding:2rem 1.1rem 4rem}
h1{font-size:1.9rem;line-height:1.2;margin:0;overflow-wrap:anywhere}
h2{font-size:1.25rem;margin:0 0 .8rem;padding-top:1.6rem;
border-top:1px solid var(--line)}
h3{font-size:1rem;margin:1.4rem 0 .5rem}
section{margin-top:2.2rem}
em{font-style:normal;color:var(--accent)}
.sub{color:var(--soft);margin:.2rem 0 1rem}
.lead{font-size:1.1rem;max-width:46rem}
.note,small{color:var(--soft)}
.note{font-size:.88rem;max-width:46rem;margin:.7rem 0 0}
small{display:block;font-size:.74em;white-space:nowrap}
thead th{white-space:nowrap}
.data th{min-width:5rem}
.data td:last-child{min-width:11rem}
.tiles{display:grid;grid-template-columns:repeat(auto-fit,minmax(7.3rem,1fr));gap:.6rem;
margin:1.4rem 0 0}
.tiles div{background:var(--panel);border-radius:.6rem;padding:.7rem .8rem}
dt{color:var(--soft);font-size:.82rem}
dd{margin:.1rem 0 0;font-size:1.15rem;font-weight:600;font-variant-numeric:tabular-nums}
.scroll{overflow-x:auto}
table{border-collapse:collapse;font-variant-numeric:tabular-nums}
caption{text-align:left;font-weight:600;padding:.4rem 0}
th,td{text-align:left;padding:.4rem .8rem .4rem 0;border-bottom:1px solid var(--line);
vertical-align:baseline;font-weight:400}
thead th,thead td{color:var(--soft);font-size:.85rem}
th.n,td.n{text-align:right}
tbody th{max-width:16rem;min-width:7rem;overflow-wrap:break-word}
tr.model th{color:var(--accent);font-weight:600}
.data{font-size:.9rem}
.data td,.data th{padding-right:1.1rem}
.confusion td,.confusion th{padding:.4rem .8rem}
.confusion tbody td{border:1px solid var(--page)}
td.right{background:color-mix(in srgb,var(--good) calc(var(--share)*55%),transparent)}
td.wrong{background:color-mix(in srgb,var(--bad) calc(var(--share)*75%),transparent)}
.key{display:flex;flex-wrap:wrap;gap:.3rem 1.2rem;font-size:.88rem;margin:0 0 .8rem}
.key i{display:inline-block;width:.8rem;height:.8rem;border-radius:.2rem;
margin-right:.4rem;vertical-align:-.08rem}
figure{margin:0}
svg{display:block;width:100%;height:auto;overflow:visible}
svg text{font-family:inherit!important}
.grid{display:grid;gap:1.4rem 2rem;align-items:start;
grid-template-columns:repeat(auto-fit,minmax(min(100%,20rem),1fr))}
.grid.small{gap:1.4rem 1rem;
grid-template-columns:repeat(auto-fill,minmax(min(100%,13.2rem),1fr))}
pre{background:var(--panel);border-radius:.5rem;padding:.8rem 1rem;overflow-x:auto;
font-size:.88rem;line-height:1.45;margin:.6rem 0}
.findings{list-style:none;padding:0;margin:0;display:grid;gap:.9rem}
.findings li{border-left:.25rem solid var(--soft);padding:.1rem 0 .1rem .9rem}
.findings .warning{border-color:var(--warn)}
.findings .serious{border-color:var(--bad)}
.findings p{margin:.3rem 0}
.badge{color:var(--soft);font-size:.8rem;border:1px solid var(--line);
border-radius:1rem;padding:.05rem .5rem;margin-left:.3rem}
footer{margin-top:3rem;color:var(--soft);font-size:.85rem}
@media print{:root{--ink:#000;--soft:#444;--line:#bbb;--page:#fff;--panel:#f3f3f3;
--accent:#1b5f9e}body{font-size:11pt}main{max-width:none;padding:0}
figure,tr,li,.tiles{break-inside:avoid}h2,h3{break-after:avoid}.scroll{overflow:visible}}
"""

PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width,initial-scale=1">
<meta name="generator" content="Kurve">
<title>{title}</title>
<style>{style}</style>
</head>
<body>
<main>
{body}
<footer>Written by Kurve. The file needs no other one and loads nothing.</footer>
</main>
</body>
</html>
"""


def section(title: str, *parts: str) -> str:
    return f"<section><h2>{html.escape(title)}</h2>{''.join(parts)}</section>"


def picture(svg: str) -> str:
    return f"<figure>{svg}</figure>"


def side_by_side(parts: Sequence[str]) -> str:
    return f"<div class=grid>{''.join(parts)}</div>" if len(parts) > 1 else parts[0]


def em(text: str) -> str:
    return f"<em>{html.escape(text)}</em>"


def row_head(text: str) -> str:
    return f"<th scope=row>{html.escape(text)}</th>"
