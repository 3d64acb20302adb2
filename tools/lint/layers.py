"""Checks the arrows between the rooms of src/ (src/LAYERS) and a few habits of #include.

    layers.py [ROOT]

1. A room includes its own headers, those of the rooms its line in src/LAYERS names, and tintype/error.h.
2. A public header (tintype/engine.h) is for the room that makes it and for rooms whose line names it.
3. tensor/ref and tensor/cpu are seen by tensor alone. ref, the truth, never sees cpu; cpu may use ref for what it lacks.
4. x.c with an x.h beside it includes that first: it proves that the header stands alone.
5. A library has one home: only the room named in LIBRARIES includes its headers.
"""

import re
import sys
from pathlib import Path

PUBLIC = {"tintype/engine.h": "pipeline", "tintype/worker.h": "worker"}  # header: the room that makes it
BACK_ENDS = ("tensor/ref/", "tensor/cpu/")
LIBRARIES = {  # header prefix: the places that may include it
    "dnnl": ("tensor/cpu",),
    "oneapi/": ("tensor/cpu",),
    "omp.h": ("tensor",),
    "png.h": ("image",),
    "jpeglib.h": ("image",),
    "jerror.h": ("image",),
    "webp/": ("image",),
    "utf8proc.h": ("text",),
    "json-c/": ("base", "app", "api", "worker", "job", "store"),
    "curl/": ("net",),
    "microhttpd.h": ("net",),
    "openssl/": ("net", "api", "store"),
}
INCLUDE = re.compile(r'^\s*#\s*include\s*(["<])([^">]+)[">]')


def read_layers(text):
    """{room: set of rooms it may include}"""
    layers = {}
    for line in text.splitlines():
        line = line.split("#")[0].strip()
        if line:
            room, _, needs = line.partition(":")
            layers[room.strip()] = set(needs.split())
    return layers


def includes_of(text):
    """[(line number, is_quoted, path)]"""
    found = []
    for number, line in enumerate(text.splitlines(), 1):
        match = INCLUDE.match(line)
        if match:
            found.append((number, match.group(1) == '"', match.group(2)))
    return found


def judge_project_include(where, path, layers):
    """A sentence, or None when the arrow is allowed. `where` is the including file, relative to src/."""
    room = where.split("/")[0]
    target = path.split("/")[0]
    if "/" not in path:
        return f'"{path}": write the path from src/, as in "{room}/{path}"'
    if path == "tintype/error.h":
        return None
    if target == "tintype":
        allowed = room == PUBLIC.get(path) or Path(path).name in layers[room]
        return None if allowed else f"{room} may not include {path}"
    for back_end in BACK_ENDS:
        if path.startswith(back_end) and room != "tensor":
            return f"{path} is private to tensor: use tensor/ops.h"
    if path.startswith("tensor/cpu/") and where.startswith("tensor/ref/"):
        return f"the reference must stand alone: {path}"
    if target != room and target not in layers[room]:
        return f"{room} may not include {path} (src/LAYERS: {room} -> {' '.join(sorted(layers[room])) or 'nothing'})"
    return None


def judge_library_include(where, path):
    for prefix, homes in LIBRARIES.items():
        if path.startswith(prefix) and not where.startswith(tuple(h + "/" for h in homes)):
            return f"<{path}> belongs to {' and '.join(homes)}"
    return None


def judge_file(where, text, layers, has_own_header):
    """[(line, sentence)] for one file of src/."""
    if where.split("/")[0] not in layers:
        return [(1, f"room {where.split('/')[0]} has no line in src/LAYERS")]
    found = includes_of(text)
    problems = []
    for number, is_quoted, path in found:
        why = judge_project_include(where, path, layers) if is_quoted else judge_library_include(where, path)
        if why:
            problems.append((number, why))
    own = where[:-2] + ".h"
    if where.endswith(".c") and has_own_header and (not found or found[0][2] != own):
        problems.append((found[0][0] if found else 1, f'include "{own}" first'))
    return problems


def main():
    root = Path(sys.argv[1] if len(sys.argv) > 1 else ".")
    src = root / "src"
    layers = read_layers((src / "LAYERS").read_text(encoding="utf-8"))
    files = sorted(p for p in src.rglob("*.[ch]"))
    bad = 0
    for path in files:
        where = path.relative_to(src).as_posix()
        own = path.suffix == ".c" and path.with_suffix(".h").exists()
        for line, why in judge_file(where, path.read_text(encoding="utf-8"), layers, own):
            print(f"src/{where}:{line}: {why}")
            bad += 1
    print(f"{len(files)} files, {bad} broken arrows")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
