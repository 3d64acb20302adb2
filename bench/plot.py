#!/usr/bin/env python3
"""The picture of SPEED.md, from what ./dev bench --full has kept: seconds per step, and where a step's time goes.

    bench/plot.py [--results build/bench/results.jsonl] [--out docs/speed.svg] [--model full]

Of each contestant and size it takes the newest run (records of older programs, which name no run, count one by one) and the
median of its rounds. The SVG brings its own background in both colour schemes and uses the reader's own font.
"""

import argparse
import json
import os
import statistics
import sys
from xml.sax.saxutils import escape

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
CONTESTANTS = [  # shown, program, dtype, colour class
    ("Tintype int8", "tintype", "int8", "ours"),
    ("Tintype bf16", "tintype", "bf16", "ours"),
    ("diffusers bf16", "diffusers", "bf16", "theirs"),
    ("Tintype f32", "tintype", "f32", "ours"),
    ("diffusers f32", "diffusers", "f32", "theirs"),
]
OPERATIONS = ["linear", "conv", "attention", "norms", "other"]
WIDTH, LEFT, BAR, GAP, LINE, MARGIN = 760, 130, 22, 8, 20, 24
ROOM = 150  # right of the longest bar, for its numbers
MIN_LABEL = 34  # pixels of a part that has room for its share

STYLE = """
.paper { fill: #ffffff } .ink { fill: #1f2328 } .dim { fill: #59636e }
.ours { fill: #0b6e4f } .theirs { fill: #9aa4af }
.op0 { fill: #0b6e4f } .op1 { fill: #2a7fb8 } .op2 { fill: #b5541c } .op3 { fill: #7d5ba6 } .op4 { fill: #7a828b }
.on { fill: #ffffff }
text { font: 13px system-ui, sans-serif } .head { font-weight: 600 } .small { font-size: 12px }
@media (prefers-color-scheme: dark) {
  .paper { fill: #0d1117 } .ink { fill: #e6edf3 } .dim { fill: #9198a1 }
  .ours { fill: #3fb68b } .theirs { fill: #6e7681 }
  .op0 { fill: #2c8c69 } .op1 { fill: #3f8fc6 } .op2 { fill: #c4672f } .op3 { fill: #8f70b8 } .op4 { fill: #6e7681 }
}
"""


# ------------------------------------------------------------------------------------------------- what is known
def read_records(path, model):
    with open(path) as lines:
        records = [json.loads(line) for line in lines if line.strip()]
    return [r for r in records if r.get("bench") == model and r.get("s_per_step") and r.get("width") == r.get("height")]


def newest(records):
    """The rounds of the last run."""
    if not records:
        return []
    run = records[-1].get("run")
    return [r for r in records if r.get("run") == run] if run else records[-1:]


def rounds_of(records, program, dtype, side):
    return newest(
        [r for r in records if (r["program"], r["asked"], r["width"]) == (program, dtype, side)]
    )


def shares(rounds):
    """{operation: share of a step}, medians of the rounds, the small ones gathered."""
    found = dict.fromkeys(OPERATIONS, 0.0)
    names = {n for r in rounds for n in r["step"] if n != "other_ms"}
    for name in names:
        ms = statistics.median(r["step"].get(name, {}).get("ms", 0) for r in rounds)
        kind = name if name in found else "norms" if name.endswith("norm") else "other"
        found[kind] += ms
    found["other"] += max(0, statistics.median(r["step"]["other_ms"] for r in rounds))
    total = sum(found.values())
    return {name: ms / total for name, ms in found.items()}


# ------------------------------------------------------------------------------------------------- drawing
class Drawing:
    def __init__(self):
        self.parts, self.y = [], MARGIN

    def text(self, x, y, text, classes, anchor="start"):
        self.parts.append(f'<text x="{x:.1f}" y="{y:.1f}" class="{classes}" text-anchor="{anchor}">{escape(text)}</text>')

    def bar(self, x, width, classes, title):
        self.parts.append(
            f'<rect x="{x:.1f}" y="{self.y}" width="{max(width, 0.5):.1f}" height="{BAR}" class="{classes}">'
            f"<title>{escape(title)}</title></rect>"
        )

    def label(self, text):
        self.text(LEFT - GAP, self.y + BAR * 0.7, text, "ink", "end")

    def head(self, text):
        self.y += LINE
        self.text(MARGIN, self.y, text, "ink head")
        self.y += GAP + 2

    def row(self):
        self.y += BAR + GAP

    def svg(self, title):
        height = self.y + MARGIN
        head = (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" '
            f'role="img"><title>{escape(title)}</title><style>{STYLE}</style>'
            f'<rect class="paper" width="{WIDTH}" height="{height}" rx="6"/>'
        )
        return "\n".join([head, *self.parts, "</svg>", ""])


def draw_steps(d, records, side):
    rows = [(shown, classes, rounds_of(records, program, dtype, side)) for shown, program, dtype, classes in CONTESTANTS]
    rows = [row for row in rows if row[2]]
    longest = max(statistics.median(r["s_per_step"] for r in rounds) for _, _, rounds in rows)
    d.head(f"Seconds per step, {side}x{side}, guidance on (less is better)")
    for shown, classes, rounds in rows:
        steps = [r["s_per_step"] for r in rounds]
        middle = statistics.median(steps)
        width = (WIDTH - LEFT - ROOM) * middle / longest
        words = f"{middle:.3g} s"
        if len(steps) > 1:
            words += f" ({min(steps):.3g} to {max(steps):.3g})"
        d.label(shown)
        d.bar(LEFT, width, classes, f"{shown}: {words}")
        d.text(LEFT + width + GAP, d.y + BAR * 0.7, words, "ink small")
        d.row()


def draw_shares(d, records, side):
    rows = [(shown, rounds_of(records, "tintype", dtype, side)) for shown, program, dtype, _ in CONTESTANTS if program == "tintype"]
    rows = [(shown, rounds) for shown, rounds in rows if rounds and "step" in rounds[-1]]
    if not rows:
        return
    d.head(f"Where a step's time goes, {side}x{side}")
    whole = WIDTH - LEFT - MARGIN
    for shown, rounds in rows:
        d.label(shown)
        x = float(LEFT)
        for i, (name, share) in enumerate(shares(rounds).items()):
            width = whole * share
            d.bar(x, width, f"op{i}", f"{name}: {100 * share:.1f} %")
            if width > MIN_LABEL:
                d.text(x + width / 2, d.y + BAR * 0.7, f"{100 * share:.0f} %", "on small", "middle")
            x += width
        d.row()
    draw_legend(d)


def draw_legend(d):
    x = LEFT
    for i, name in enumerate(OPERATIONS):
        d.parts.append(f'<rect x="{x}" y="{d.y + 3}" width="11" height="11" class="op{i}"/>')
        d.text(x + 16, d.y + 13, name, "ink small")
        x += 16 + 9 * len(name) + 14
    d.y += LINE


def draw_machine(d, records):
    here = records[-1]["machine"]
    d.y += LINE
    words = "%s, %s cores, commit %s" % (here["cpu"], here["cores"], here["commit"])
    d.text(MARGIN, d.y, words, "dim small")


def draw(records):
    d = Drawing()
    sides = sorted({r["width"] for r in records})
    for side in sides:
        draw_steps(d, records, side)
    for side in sides:
        draw_shares(d, records, side)
    draw_machine(d, records)
    return d.svg("Seconds per step of SDXL on a CPU, Tintype and diffusers, and where they go")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", default=os.path.join(ROOT, "build", "bench", "results.jsonl"))
    parser.add_argument("--out", default=os.path.join(ROOT, "docs", "speed.svg"))
    parser.add_argument("--model", default="full", choices=("full", "small"), help="the model whose records are drawn")
    args = parser.parse_args()
    if not os.path.exists(args.results):
        sys.exit("plot: no %s: ./dev bench --full writes it" % args.results)
    records = read_records(args.results, args.model)
    if not records:
        sys.exit("plot: no record of the %s model in %s" % (args.model, args.results))
    with open(args.out, "w") as out:
        out.write(draw(records))


if __name__ == "__main__":
    main()
