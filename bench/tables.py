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


def comparison(records):
    """Tintype, diffusers and their ratio for each dtype; above 1 is better for Tintype."""
    rows = [["", *(head for head, *_ in COMPARED)]]
    for dtype in ("f32", "bf16"):
        both = []
        for program, shown in (("tintype", "Tintype"), ("diffusers", "diffusers")):
            own = [r for r in records if (r["program"], r["asked"]) == (program, dtype)]
            if own:
                both.append(merged(own))
                rows.append([f"{shown} {dtype}", *(f % (both[-1][key] * factor) for _, key, factor, f in COMPARED)])
        if len(both) == 2:
            ratios = ["%.2f" % (both[1][key] / both[0][key]) if both[0][key] else "-" for _, key, *_ in COMPARED]
            rows.append([f"diffusers / Tintype, {dtype}", *ratios])
    return table(rows)


def operations(records, part):
    """Milliseconds and shares per kind of operation, for `part` "step" or "vae"; one pair of columns per dtype."""
    runs = [r for r in records if r["program"] == "tintype"]
    dtypes = list(dict.fromkeys(r["asked"] for r in runs))
    last = {d: [r for r in runs if r["asked"] == d][-1][part] for d in dtypes}

    def ms(dtype, name):
        return last[dtype]["other_ms"] if name == "other" else last[dtype].get(name, {}).get("ms", 0)

    names = list(dict.fromkeys(n for d in dtypes for n in last[d] if n != "other_ms"))
    names.sort(key=lambda n: -ms(dtypes[0], n))
    totals = {d: sum(ms(d, n) for n in [*names, "other"]) for d in dtypes}
    rows = [["operation", "calls", *(head for d in dtypes for head in (f"{d}, ms", "share"))]]
    for name in [*names, "other"]:
        calls = max(last[d].get(name, {}).get("calls", 0) for d in dtypes)
        cells = [c for d in dtypes for c in ("%.1f" % ms(d, name), "%.1f %%" % (100 * ms(d, name) / totals[d]))]
        rows.append([name, str(calls) if calls else "", *cells])
    rows.append(["all", "", *(c for d in dtypes for c in ("%.1f" % totals[d], ""))])
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
