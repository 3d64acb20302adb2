"""Every request that came, as it came, with what was answered; and whether a secret or a stranger's header came along."""

import threading
import time

MOST = 200_000  # records kept; the oldest go first
PATIENCE_S = 120  # the longest wait for a request

# What a client may tell a store that it was redirected to.
HARMLESS = {"host", "user-agent", "accept", "accept-encoding", "connection", "range", "if-range", "if-match", "if-none-match",
            "if-modified-since", "if-unmodified-since", "cache-control", "pragma"}
REDIRECTED = {"civitai_cdn", "huggingface_cdn", "elsewhere"}


class Recorder:
    def __init__(self):
        self.changed = threading.Condition()
        self.records, self.counts, self.in_flight, self.n = [], {}, {}, 0  # all under the condition

    def begin(self, request):
        name = request.listener.name
        record = {"host": name, "scheme": request.scheme, "method": request.method, "target": request.target,
                  "path": request.path, "http_host": request.host(), "headers": request.headers,
                  "range": request.header("range"), "at": request.at,
                  "body_bytes": len(request.body), "status": None, "fault": None, "sent": 0, "done": False}
        with self.changed:
            record.update(n=self.n, index=self.counts.get(name, 0), together=self.in_flight.get(name, 0) + 1)
            self.n += 1
            self.counts[name] = record["index"] + 1
            self.in_flight[name] = record["together"]
            self.records.append(record)
            del self.records[:-MOST]
            self.changed.notify_all()
        return record

    def over(self, record):
        with self.changed:
            record["done"], record["seconds"] = True, time.monotonic() - record["at"]
            self.in_flight[record["host"]] -= 1
            self.changed.notify_all()

    def clear(self):
        """Forgets the records; the counts that faults refer to go on."""
        with self.changed:
            self.records = []

    def counts_now(self):
        with self.changed:
            return dict(self.counts)

    def find(self, host=None, since=0, only_done=False, at_least=0, seconds=0.0):
        """The records that match, as soon as there are `at_least` of them or the time is over."""
        fits = lambda r: r["n"] >= since and host in (None, r["host"]) and (r["done"] or not only_done)  # noqa: E731
        with self.changed:
            self.changed.wait_for(lambda: sum(map(fits, self.records)) >= at_least, min(seconds, PATIENCE_S))
            return [dict(record) for record in self.records if fits(record)]

    def leaks(self, tokens):
        """Sentences; tokens {source: [secret]}. A source's own site may see its tokens, nobody else."""
        return [leak for record in self.find() for leak in leaks_of(record, tokens)]


def leaks_of(record, tokens):
    where = f"{record['method']} {record['host']} {record['path']} (request {record['n']})"
    leaks = []
    if record["host"] in REDIRECTED:
        leaks += [f"{where}: header {name}" for name, _ in record["headers"] if name.lower() not in HARMLESS]
        if "token=" in record["target"]:
            leaks.append(f"{where}: token= in the URL")
    text = record["target"] + "\n" + "\n".join(value for _, value in record["headers"])
    for source, secrets in tokens.items():
        if record["host"] != source and any(secret in text for secret in secrets):
            leaks.append(f"{where}: a secret of {source}")
    return leaks
