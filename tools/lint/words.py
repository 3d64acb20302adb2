"""Words that have no place in the repository, each with its reason.

    words.py [ROOT]

A rule says where it holds and what to do instead. A line that must break one carries the comment "lint: allow" and says
why beside it.
"""

import re
import subprocess
import sys
from pathlib import Path

LIBRARY = r"^src/(?!cmd/).*\.[ch]$"  # code that must not talk to the outside by itself
EVERYWHERE = r"."
RULES = [  # (files, pattern, reason)
    (EVERYWHERE, r"(?<![\w./])/(home|root|Users|work)/\w", "an absolute path of one machine"),
    (r"\.(c|h|py|sh|txt|cmake)$|^dev$|^\.ci/", r"\b(TODO|FIXME|XXX|HACK)\b", "unfinished work: do it, or say it in the README"),
    (LIBRARY, r"(?<![\w.>])(printf|puts|putchar|perror|fprintf|fputs|vprintf)\s*\(", "only src/cmd prints"),
    (LIBRARY, r"(?<![\w.>])(exit|_exit|abort|quick_exit)\s*\(", "a library reports, it never ends the process"),
    (LIBRARY, r"(?<![\w.>])(getenv|secure_getenv|setlocale|signal)\s*\(", "only src/cmd reads the surroundings"),
    (r"^src/(?!base/alloc\.c).*\.[ch]$", r"(?<![\w.>])(malloc|calloc|realloc|aligned_alloc|strdup|strndup|asprintf)\s*\(",
     "memory comes from base/alloc.h, so that tests can make it fail"),
    (r"\.[ch]$", r"^\s*#\s*pragma\s+once", "include guards, as everywhere here"),
]
ALLOWED = "lint: allow"
SELF = {"tools/lint/words.py", "tools/lint/selftest.py"}


def strip_comments(text):
    """C text with comments and string contents blanked, line numbers kept."""
    def blank(match):
        token = match.group(0)
        if token.startswith("/"):
            return re.sub(r"[^\n]", " ", token)
        return token[0] + " " * (len(token) - 2) + token[-1]
    return re.sub(r'//[^\n]*|/\*.*?\*/|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'', blank, text, flags=re.S)


def judge(where, text):
    """[(line, reason, line's text)]"""
    problems = []
    is_c = where.endswith((".c", ".h"))
    lines = text.splitlines()
    code = strip_comments(text).splitlines() if is_c else lines
    for files, pattern, reason in RULES:
        if not re.search(files, where):
            continue
        code_only = files not in (EVERYWHERE, RULES[1][0])
        for number, line in enumerate(code if code_only else lines, 1):
            if re.search(pattern, line) and ALLOWED not in lines[number - 1]:
                problems.append((number, reason, lines[number - 1].strip()))
    return problems


def tracked_files(root):
    """Files git would commit; without git, everything outside build/."""
    try:
        run = subprocess.run(["git", "ls-files", "-co", "--exclude-standard"], cwd=root, capture_output=True,
                             text=True, check=True)
        return sorted(set(run.stdout.splitlines()))
    except (OSError, subprocess.CalledProcessError):
        pass
    return sorted(p.relative_to(root).as_posix() for p in root.rglob("*")
                  if p.is_file() and p.relative_to(root).parts[0] not in ("build", "out"))


def main():
    root = Path(sys.argv[1] if len(sys.argv) > 1 else ".")
    bad = read = 0
    for where in tracked_files(root):
        path = root / where
        if where in SELF or not path.is_file():
            continue
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue  # pictures, weights, fuzz inputs
        read += 1
        for line, reason, shown in judge(where, text):
            print(f"{where}:{line}: {reason}: {shown[:100]}")
            bad += 1
    print(f"{read} files, {bad} findings")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
