"""When something goes wrong: an ordered list of faults, each for some requests, some times; or a list drawn from a seed.

    {"kind": "truncated", "params": {"at": 1000}, "times": 1, "skip": 0,
     "match": {"host": "civitai_cdn", "method": "GET", "path": "regex", "query": "regex", "index": [0, 3], "ranged": true,
               "from": 1048576}}

A request takes the first fault of the list that matches it and is not used up. "times": null never is. "skip" lets that
many matching requests pass first. "index" counts the host's requests since the fault was added, from 0. "from" is the
least first byte of the asked range. What the kinds do, and their params: fault_kinds.py.
"""

import random
import re
import threading

from fake.fault_kinds import DEFAULT_TIMES, KINDS

MATCHES = {"host", "method", "path", "query", "index", "ranged", "from"}
KEYS = {"kind", "params", "times", "skip", "match"}


class Fault:
    def __init__(self, tree, counts):
        unknown = (set(tree) - KEYS) | (set(tree.get("match") or {}) - MATCHES)
        if unknown:
            raise ValueError(f"a fault knows no {', '.join(sorted(unknown))}")
        if tree.get("kind") not in KINDS:
            raise ValueError(f"no fault {tree.get('kind')!r}; there are {', '.join(sorted(KINDS))}")
        self.kind, self.params, self.match = tree["kind"], tree.get("params") or {}, tree.get("match") or {}
        self.left = tree.get("times", DEFAULT_TIMES.get(self.kind, 1))
        self.skip = tree.get("skip", 0)
        self.counts = dict(counts)  # requests of each host when it was added
        self.n_used = 0

    def fits(self, request, index):
        match = self.match
        index -= self.counts.get(request.listener.name, 0)
        asked = re.match(r"bytes=(\d+)-", request.header("range") or "")
        return (match.get("host", request.listener.name) == request.listener.name
                and match.get("method", request.method) == request.method
                and bool(re.search(match.get("path", ""), request.decoded_path()))
                and bool(re.search(match.get("query", ""), request.query))
                and ("index" not in match or index in match["index"])
                and ("ranged" not in match or match["ranged"] == (request.header("range") is not None))
                and ("from" not in match or (asked is not None and int(asked.group(1)) >= match["from"])))

    def use(self):
        """True when this request is to be spoilt."""
        if self.skip > 0:
            self.skip -= 1
            return False
        self.n_used += 1
        if self.left is not None:
            self.left -= 1
        return True

    def describe(self):
        return {"kind": self.kind, "params": self.params, "match": self.match, "left": self.left, "used": self.n_used}


class Faults:
    def __init__(self):
        self.lock = threading.Lock()
        self.list = []  # under the lock

    def add(self, trees, counts):
        new = [Fault(tree, counts) for tree in trees]
        with self.lock:
            self.list += new
        return [fault.describe() for fault in new]

    def clear(self):
        with self.lock:
            self.list = []

    def take(self, request, index):
        with self.lock:
            for fault in self.list:
                if fault.left != 0 and fault.fits(request, index) and fault.use():
                    return fault
        return None

    def describe(self):
        with self.lock:
            return [fault.describe() for fault in self.list]


# ---- drawn

SITES, STORES = ("civitai", "huggingface"), ("civitai_cdn", "huggingface_cdn", "s3")
PAUSE_S, SLOW = 0.2, 256 << 10  # a drawn fault costs a client little time
COMMON = {
    "500": lambda draw: {}, "502": lambda draw: {}, "503": lambda draw: {},
    "429": lambda draw: draw.choice([{}, {"retry_after": "0"}, {"retry_after": "1"}]),
    "no_answer": lambda draw: {},
    "stall": lambda draw: {"before_head": True, "seconds": PAUSE_S},
}
RECOVERABLE = {  # what a good client survives without a word to its user
    SITES: {**COMMON, "cloudflare_503": lambda draw: {}, "reset": lambda draw: {"at": 0}},
    STORES: {
        **COMMON,
        "truncated": lambda draw: {"part": draw.random()},
        "reset": lambda draw: {"part": draw.random()},
        "chunked": lambda draw: {},
        "slow": lambda draw: {"rate": SLOW},
        "range_ignored_200": lambda draw: {},
        "wrong_content_range": lambda draw: {"how": draw.choice(["shifted", "header", "total", "missing", "short"])},
        "expired_signature": lambda draw: {},
    },
}


def drawn(seed, n, within=None, hosts=None, kinds=None):
    """n faults on different requests, each among the first `within` of its host. The same for the same arguments."""
    draw = random.Random(seed)
    hosts, within = sorted(hosts or SITES + STORES), within or 4 * n
    places = draw.sample([(host, index) for host in hosts for index in range(within)], n)
    faults = []
    for host, index in places:
        makers = next(makers for group, makers in RECOVERABLE.items() if host in group)
        able = sorted(kind for kind in makers if kinds is None or kind in kinds)
        if not able:
            raise ValueError(f"none of the kinds {kinds} is drawn for {host}")
        kind = draw.choice(able)
        faults.append({"kind": kind, "params": makers[kind](draw), "match": {"host": host, "index": [index]}})
    return faults
