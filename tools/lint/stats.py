"""Sizes of files and functions: the trend is worth watching, and the giants are named.

    stats.py [ROOT]

Relies on clang-format's layout: a function's body starts on a line that begins in column 0 (or ends a signature that does)
and ends with "{"; it ends at the next "}" in column 0. Length counts the lines from signature to "}".
"""

import re
import sys
from pathlib import Path

LONG_FUNCTION_LINES = 60
LONG_FILE_LINES = 800
LONG_HEADER_LINES = 250
FOLDERS = ("src", "include", "tests")
NOT_FUNCTIONS = re.compile(r"^(struct|union|enum|typedef|extern|static const|static struct|const)\b(?!.*\)\s*\{$)")
NAME = re.compile(r"([A-Za-z_]\w*)\s*\(")


def functions_of(text):
    """[(name, first line, length)] of one formatted C file."""
    found = []
    start = None  # first line of the signature now open
    body = False
    for number, line in enumerate(text.splitlines(), 1):
        if body:
            if line == "}":
                found.append((name, start, number - start + 1))
                start, body = None, False
            continue
        if re.match(r"[A-Za-z_]", line) and "(" in line and not line.rstrip().endswith((";", "\\", ":")):
            start, name = number, NAME.search(line).group(1)
            if name == "__attribute__" or NOT_FUNCTIONS.match(line) or line.startswith("#"):
                start = None
        elif start and (line.endswith(";") or not line.startswith(" ")):
            start = None
        if start and line.endswith(") {"):
            body = True
    return found


def percentile(sorted_values, share):
    return sorted_values[min(len(sorted_values) - 1, int(share * len(sorted_values)))]


def main():
    root = Path(sys.argv[1] if len(sys.argv) > 1 else ".")
    print("folder           files   lines  functions  median   p90   max")
    long_functions, long_files = [], []
    for folder in FOLDERS:
        lengths, lines, n_files = [], 0, 0
        for path in sorted((root / folder).rglob("*.[ch]")):
            text = path.read_text(encoding="utf-8")
            where = path.relative_to(root).as_posix()
            n_lines = text.count("\n")
            n_files, lines = n_files + 1, lines + n_lines
            if n_lines > (LONG_HEADER_LINES if path.suffix == ".h" else LONG_FILE_LINES):
                long_files.append((n_lines, where))
            for name, line, length in functions_of(text):
                lengths.append(length)
                if length > LONG_FUNCTION_LINES:
                    long_functions.append((length, f"{where}:{line}", name))
        lengths.sort()
        if lengths:
            print(f"{folder:15} {n_files:6} {lines:7} {len(lengths):10} {percentile(lengths, 0.5):7} "
                  f"{percentile(lengths, 0.9):5} {lengths[-1]:5}")
        else:
            print(f"{folder:15} {n_files:6} {lines:7} {0:10}")
    print(f"functions over {LONG_FUNCTION_LINES} lines: {len(long_functions)}")
    for length, where, name in sorted(long_functions, reverse=True):
        print(f"  {length:4}  {name}  {where}")
    print(f"files over {LONG_FILE_LINES} lines (headers {LONG_HEADER_LINES}): {len(long_files)}")
    for length, where in sorted(long_files, reverse=True):
        print(f"  {length:4}  {where}")


if __name__ == "__main__":
    main()
