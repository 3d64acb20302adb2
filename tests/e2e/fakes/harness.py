"""What the tests of the fakes share: the fakes themselves, started once, a client that hides nothing, and a runner.

    @case
    def a_range_is_answered_with_206(fake): ...

Each case begins without faults and without recorded requests. Output: one line per case in cmocka's form, which
tools/dev/summary.py counts.
"""

import http.client
import os
import ssl
import subprocess
import sys
import traceback
from pathlib import Path
from urllib.parse import urlsplit

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from fake.models import Fake  # noqa: E402

SECONDS = 30  # the longest wait for a byte
AGENT = "tintype-test/1.0"
cases = []


def case(function):
    cases.append(function)
    return function


class Answer:
    def __init__(self, response, body, problem):
        self.status, self.headers, self.body, self.problem = response.status, response.headers, body, problem

    def __getitem__(self, name):
        return self.headers.get(name)

    def __repr__(self):
        return f"{self.status} {dict(self.headers)} {self.body[:300]!r} {self.problem!r}"


def connect(fake, url):
    parts = urlsplit(url)
    if parts.scheme == "https":
        context = ssl.create_default_context(cafile=fake.ca)
        context.verify_flags |= ssl.VERIFY_X509_STRICT  # as Python 3.13 judges by default
        return http.client.HTTPSConnection(parts.hostname, parts.port, timeout=SECONDS, context=context)
    return http.client.HTTPConnection(parts.hostname, parts.port, timeout=SECONDS)


def ask(fake, url, method="GET", most=None, connection=None, body=None, **headers):
    """One request, no redirect followed, nothing sent that is not said here. A body that breaks off is told as `problem`."""
    connection = connection or connect(fake, url)
    parts = urlsplit(url)
    connection.putrequest(method, parts.path + (f"?{parts.query}" if parts.query else ""), skip_accept_encoding=True)
    headers = {"User-Agent": AGENT, **{name.replace("_", "-"): value for name, value in headers.items()}}
    if body is not None:
        headers["Content-Length"] = str(len(body))
    for name, value in headers.items():
        if value is not None:
            connection.putheader(name, value)
    connection.endheaders(body)
    response = connection.getresponse()
    got, problem = b"", None
    try:
        got = response.read() if most is None else response.read(most)
    except http.client.IncompleteRead as broken:
        got, problem = broken.partial, broken
    except OSError as broken:
        problem = broken
    return Answer(response, got, problem)


def equal(found, expected, what=""):
    assert found == expected, f"{what} {found!r}, expected {expected!r}"


def curl(fake, *arguments):
    """curl's status, its standard output and error."""
    done = subprocess.run([
        "curl", "--silent", "--show-error", "--noproxy", "*", "--cacert", fake.ca, "--max-time",
        str(SECONDS), *arguments], capture_output=True, timeout=2 * SECONDS, check=False)
    return done.returncode, done.stdout, done.stderr.decode(errors="replace")


def run_one(function, fake):
    problem = None
    try:
        fake.clear()
        function(fake)
    except Exception:  # pylint: disable=broad-except
        problem = traceback.format_exc()
    print(f"[  {'FAILED ' if problem else '     OK'} ] {function.__name__}", flush=True)
    if problem:
        print("    " + problem.replace("\n", "\n    "), flush=True)
    return not problem


def main(tree=None):
    os.environ["PYTHONDONTWRITEBYTECODE"] = "1"
    chosen = [each for each in cases if not sys.argv[1:] or any(name in each.__name__ for name in sys.argv[1:])]
    if not chosen:
        return
    with Fake(tree) as fake:
        results = [run_one(each, fake) for each in chosen]
    sys.exit(0 if all(results) else 1)
