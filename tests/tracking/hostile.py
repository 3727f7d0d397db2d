"""Names that would be markup in Mermaid, Markdown or HTML."""

from __future__ import annotations

from typing import Final

HOSTILE: Final = [
    '"]:::failed',
    '"]\n  n0 --> n9',
    "<script>window.hit = 1</script>",
    "<img src=x onerror=window.hit=1>",
    "&lt;img src=x onerror=window.hit=1&gt;",
    "</div></foreignObject></svg><b>x",
    "`x` **b** _i_",
    "a\nb\r\n%% c",
    'click n0 "javascript:window.hit=1"',
    'n0@{ img: "http://127.0.0.1/x.png" }',
    '%%{init: {"theme": "dark"}}%%',
    "```\n# out of it",
    "end",
    "subgraph x",
    "#quot;#60;b#62;",
    "\ufb02\xb0\xb060\xb6\xdfimg src=x onerror=window.hit=1\ufb02\xb0\xb062\xb6\xdf",
    "1. list",
    "- item",
    "$$x^2$$",
    "fa:fa-car",
    "style n0 fill:#f00;",
    "classDef cached fill:#f00;",
    "http://elsewhere.invalid/",
    "[x](javascript:window.hit=1)",
    "\x1b[31mred \u202e back",
    "日本語 名前 🎉",
    "\\n \\",
    "",
]
