"""Runs clang-tidy over every source of a configured build tree; remembers the files that were clean.

    tidy.py BUILD_TREE JOBS

clang-tidy takes seconds per file, so a file is skipped when neither it, nor any header of the project, nor .clang-tidy
changed since it was clean (by content, not by time).
"""

import hashlib
import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def digest(paths):
    h = hashlib.sha256()
    for path in sorted(paths):
        h.update(path.read_bytes())
        h.update(b"\0")
    return h.hexdigest()


def sources_of(tree):
    commands = json.loads((tree / "compile_commands.json").read_text())
    files = {Path(c["file"]).resolve() for c in commands}
    return sorted(f for f in files if f.suffix == ".c" and f.is_relative_to(ROOT) and not f.is_relative_to(tree))


def main():
    tree = Path(sys.argv[1]).resolve()
    jobs = int(sys.argv[2])
    headers = [p for d in ("src", "include", "tests") for p in (ROOT / d).rglob("*.h")]
    common = digest(headers + [ROOT / ".clang-tidy"])
    memory = tree / "tidy-clean.json"
    clean = set(json.loads(memory.read_text())) if memory.exists() else set()

    def judge(source):
        key = digest([source]) + common
        if key in clean:
            return key, 0, ""
        run = subprocess.run(["clang-tidy", "--quiet", "-p", str(tree), str(source)], cwd=ROOT,
                             stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, check=False)
        return key, run.returncode, run.stdout + (run.stderr if run.returncode else "")

    sources = sources_of(tree)
    with ThreadPoolExecutor(jobs) as pool:
        verdicts = list(zip(sources, pool.map(judge, sources)))
    bad = 0
    for source, (_, status, text) in verdicts:
        if status:
            bad += 1
            print(f"== {os.path.relpath(source, ROOT)}\n{text}")
    memory.write_text(json.dumps(sorted(key for _, (key, status, _) in verdicts if status == 0)))
    print(f"{len(sources)} files, {bad} with findings")
    return 1 if bad else 0


sys.exit(main())
