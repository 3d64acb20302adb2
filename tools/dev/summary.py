"""Counts single test cases in ctest's JUnit file and judges skips.

    summary.py RESULTS.xml EXPECTED_SKIPS.txt

Test programs (cmocka) and end-to-end scripts print one line per case: "[       OK ] name", "[  FAILED  ] name" or
"[  SKIPPED ] name". A program that fails without such a line (a crash, a leak, a time-out) counts as one failed case.
A skip that is not in EXPECTED_SKIPS.txt ("program: case", one a line, # for the reason) counts as failed: a test that
silently stops running is worse than one that fails.
"""

import re
import sys
import xml.etree.ElementTree as ElementTree

CASE = re.compile(r"^\[ +(OK|FAILED|SKIPPED) +\] (\S+)\s*$")


def expected_skips(path):
    with open(path, encoding="utf-8") as f:
        lines = [line.split("#")[0].strip() for line in f]
    return {line for line in lines if line}


def cases_of(program):
    """{case name: OK | FAILED | SKIPPED} of one test program."""
    output = program.findtext("system-out") or ""
    cases = {}
    for line in output.splitlines():
        found = CASE.match(line)
        if found:
            verdict, name = found.groups()
            cases[name] = verdict if cases.get(name) != "FAILED" else "FAILED"
    failed = program.get("status") == "fail"
    if failed and "FAILED" not in cases.values():
        cases["(the program itself)"] = "FAILED"
    if program.get("status") in ("disabled", "notrun"):
        cases["(the program itself)"] = "SKIPPED"
    return cases or {"(the program itself)": "OK"}


def main():
    results, skips_file = sys.argv[1:]
    expected = expected_skips(skips_file)
    count = {"OK": 0, "FAILED": 0, "SKIPPED": 0}
    for program in ElementTree.parse(results).getroot().iter("testcase"):
        for case, verdict in cases_of(program).items():
            name = f"{program.get('name')}: {case}"
            if verdict == "SKIPPED" and name not in expected:
                print(f"skipped, but not in {skips_file}: {name}")
                verdict = "FAILED"
            elif verdict != "OK":
                print(f"{verdict.lower()}: {name}")
            count[verdict] += 1
    print(f"{count['OK']} passed, {count['FAILED']} failed, {count['SKIPPED']} skipped")
    return 1 if count["FAILED"] else 0


sys.exit(main())
