"""The tables of SPEED.md from the records of bench.py."""

import statistics


def table(rows):
    """Markdown; the first row is the head, columns after the first are right-aligned."""
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join([lines[0], "|---|" + "---:|" * (len(rows[0]) - 1), *lines[1:]])


def merged(records):
    """One record of several rounds: medians of numbers, the last of everything else."""
    result = dict(records[-1])
    for key, value in result.items():
        if isinstance(value, (int, float)):
            result[key] = statistics.median(r[key] for r in records)
    return result


COMPARED = [  # head, key, factor, format
    ("s/step", "s_per_step", 1, "%.3g"),
    ("VAE decode, s", "vae_s", 1, "%.3g"),
    ("text, s", "text_ms", 1e-3, "%.3g"),
    ("load, s", "load_ms", 1e-3, "%.1f"),
    ("start to loaded, s", "ready_ms", 1e-3, "%.1f"),
    ("peak memory, GB", "peak_anonymous_bytes", 1e-9, "%.2f"),
    ("peak resident, GB", "peak_bytes", 1e-9, "%.2f"),
]


def chosen(records, program, dtype):
    return [r for r in records if (r["program"], r["asked"]) == (program, dtype)]


def spread(records):
    """Of s/step: how far apart the rounds are, as a share of their median."""
    steps = [r["s_per_step"] for r in records]
    return "%.1f %%" % (100 * (max(steps) - min(steps)) / statistics.median(steps)) if len(steps) > 1 else "-"


def compared_row(head, records):
    one = merged(records)
    cells = [f % (one[key] * factor) if key in one else "-" for _, key, factor, f in COMPARED]
    return [head, cells[0], spread(records), *cells[1:]]


def ratio_row(head, ours, theirs):
    a, b = merged(ours), merged(theirs)
    ratios = ["%.2f" % (b[key] / a[key]) if a.get(key) and b.get(key) else "-" for _, key, *_ in COMPARED]
    return [head, ratios[0], "", *ratios[1:]]


def comparison(records):
    """Tintype and diffusers, and how many times better Tintype is; int8, which the peer has not, is held against bf16."""
    heads = [head for head, *_ in COMPARED]
    rows = [["", heads[0], "spread", *heads[1:]]]
    for dtype, rival in (("f32", "f32"), ("bf16", "bf16"), ("int8", "bf16")):
        ours, theirs = chosen(records, "tintype", dtype), chosen(records, "diffusers", rival)
        if ours:
            rows.append(compared_row(f"Tintype {dtype}", ours))
        if theirs and rival == dtype:
            rows.append(compared_row(f"diffusers {rival}", theirs))
        if ours and theirs:
            name = dtype if rival == dtype else f"{rival} / {dtype}"
            rows.append(ratio_row(f"diffusers / Tintype, {name}", ours, theirs))
    return table(rows)


# ------------------------------------------------------------------------------------------------- by operation
PRODUCTS = ("linear", "conv", "attention")  # what arithmetic limits; the others are limited by memory


def median_part(records, part):
    """{operation: {calls, ms, gflop, gbyte}} and the rest, medians over the rounds."""
    parts = [r[part] for r in records]
    names = list(dict.fromkeys(n for p in parts for n in p if n != "other_ms"))
    found = {}
    for name in names:
        rows = [p[name] for p in parts if name in p]
        found[name] = {key: statistics.median(r.get(key, 0) for r in rows) for key in ("calls", "ms", "gflop", "gbyte")}
    return found, statistics.median(p["other_ms"] for p in parts)


def peak_of(record, part, name):
    """GFLOP/s that the products of this operation could reach at the most; 0 when nobody measured it."""
    peak = record.get("peak", {})
    dtype = record["vae_dtype"] if part == "vae" else record["dtype"]
    if dtype == "int8" and name != "attention" and peak.get("int8"):
        return peak["int8"]
    return peak.get("bf16") or peak.get("f32", 0) if dtype != "f32" else peak.get("f32", 0)


def number(value, form="%.3g"):
    return form % value if value else ""


def operations(records, part):
    """Of one dtype's rounds, part "step" or "vae": time, arithmetic, and how near to the peak. The share of the whole is what
    its products would take at their peaks, of the time that all took."""
    ops, other = median_part(records, part)
    total = sum(o["ms"] for o in ops.values()) + other
    rows = [["operation", "calls", "ms", "share", "GFLOP", "GFLOP/s", "of peak", "GB/s"]]
    ideal = 0
    for name, o in sorted(ops.items(), key=lambda item: -item[1]["ms"]):
        seconds, peak = o["ms"] / 1000, peak_of(records[-1], part, name)
        rate = o["gflop"] / seconds if seconds else 0
        ideal += 1000 * o["gflop"] / peak if peak else 0
        rows.append(
            [name, "%d" % o["calls"], "%.1f" % o["ms"], "%.1f %%" % (100 * o["ms"] / total), number(o["gflop"], "%.1f"),
             number(rate, "%.0f"), number(100 * rate / peak if peak else 0, "%.0f %%"),
             number(o["gbyte"] / seconds if seconds and name not in PRODUCTS else 0, "%.1f")]
        )  # fmt: skip
    gflop = sum(o["gflop"] for o in ops.values())
    rows.append(["other", "", "%.1f" % other, "%.1f %%" % (100 * other / total), "", "", "", ""])
    rows.append(
        ["whole", "", "%.1f" % total, "", number(gflop, "%.1f"), number(1000 * gflop / total, "%.0f"),
         number(100 * ideal / total, "%.0f %%"), ""]
    )  # fmt: skip
    return table(rows)


def peaks(record):
    peak = record.get("peak", {})
    known = [(d, peak[d], peak[d + "_by"]) for d in ("f32", "bf16", "int8") if peak.get(d)]
    return "Peak: " + ", ".join("%s %.0f GFLOP/s (%s)" % k for k in known) if known else ""


def scaling(records, base_side=512):
    """Passes of the UNet; times and arithmetic relative to the same batch at base_side."""
    rows = [["picture", "batch", "ms", "GFLOP", "GFLOP/s", "time", "arithmetic", "time per FLOP", "attention"]]
    for r in records:
        base = [b for b in records if b["side"] == base_side and b["batch"] == r["batch"]]
        cells = ["", "", ""]
        if base:
            time, work = r["ms"] / base[0]["ms"], r["gflop"] / base[0]["gflop"]
            cells = ["%.2f" % time, "%.2f" % work, "%.2f" % (time / work)]
        rows.append(
            ["%dx%d" % (r["side"], r["side"]), "%d" % r["batch"], "%.1f" % r["ms"], "%.0f" % r["gflop"],
             "%.0f" % (1000 * r["gflop"] / r["ms"]), *cells, "%.0f %%" % (100 * r["ops"]["attention"] / r["ms"])]
        )  # fmt: skip
    return table(rows)


def startup(whole_ms, records):
    """Process start to first denoise step: as a user sees it, and of what it consists."""
    starts = [r["startup"] for r in records]
    known = [
        ("process start to main", [s["to_main_ms"] for s in starts]),
        ("open the model", [r["load_ms"] for r in records]),
        ("plan memory and primitives", [r["plan_ms"] for r in records]),
        ("encode the text", [r["text_ms"] for r in records]),
    ]
    rest = [s["to_first_step_ms"] - sum(v[i] for _, v in known) for i, s in enumerate(starts)]
    parts = [
        *known,
        ("the rest (first noise)", rest),
        ("bench_breakdown, in all", [s["to_first_step_ms"] for s in starts]),
        ("`tintype run`, in all", whole_ms),
    ]
    rows = [["process start to first denoise step, ms", "median", "least", "most"]]
    rows += [[name, *("%.1f" % f(values) for f in (statistics.median, min, max))] for name, values in parts]
    return table(rows)
