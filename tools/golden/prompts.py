#!/usr/bin/env python3
"""Prompts as A1111's web UI and compel read them, for tests/golden/test_prompts.c.

    python3 tools/golden/prompts.py

Writes tests/golden/data/prompts.json, a list of cases:

    {"kind": "segments", "syntax", "text", "segments": [[text, weight] or null for BREAK, ...]}
    {"kind": "schedule", "text", "steps", "texts": [the text of each step]}
    {"kind": "weighting", "mode", "states", "empty", "weights", "expected"}    [tokens][width]
    {"kind": "chunks", "text", "backtrack", "ids": [[ids between the markers], ...], "weights": [[...], ...]}

A second implementation of the rules that are written in src/text/prompt.h and prompt_segments.h, with other means: regular
expressions and recursion with backtracking where the C code has one pass with a stack; a byte-pair encoder for ASCII text. Where
A1111 fails (a stray "|", a backslash at the end) or weighs the word BREAK inside brackets, the rules of those headers hold. Needs
only Python's standard library.
"""
import functools
import gzip
import json
import random
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DATA = ROOT / "tests/golden/data"

# ---- weights, A1111 ----------------------------------------------------------------------------

PIECE = re.compile(
    r"(?P<escape>\\(?P<escaped>[()\[\]\\]?))"
    r"|(?P<open>[(\[])"
    r"|(?P<weight>:\s*(?P<number>[+-]?[.0-9]+)\s*\))"
    r"|(?P<close>[)\]])"
    r"|(?P<run>[^\\()\[\]:]+)"
    r"|(?P<colon>:)", re.ASCII)
BREAK = re.compile(r"\s*\bBREAK\b\s*")


class Segment:
    def __init__(self, text, weight=1.0):
        self.text, self.weight = text, weight


def split_breaks(text):
    """Segments of a run of text; None stands for a BREAK."""
    out = []
    for i, part in enumerate(BREAK.split(text)):
        out += ([None] if i else []) + [Segment(part)]
    return out


def a1111(text):
    segments, opened = [], {"(": [], "[": []}

    def scale(first, factor):
        for segment in segments[first:]:
            if segment:
                segment.weight *= factor

    for match in PIECE.finditer(text):
        if match["escape"]:
            segments.append(Segment(match["escaped"]))
        elif match["open"]:
            opened[match["open"]].append(len(segments))
        elif match["weight"] and opened["("]:
            scale(opened["("].pop(), float(match["number"]))
        elif match["close"] == ")" and opened["("]:
            scale(opened["("].pop(), 1.1)
        elif match["close"] == "]" and opened["["]:
            scale(opened["["].pop(), 1 / 1.1)
        else:
            segments += split_breaks(match.group())
    for first in opened["("]:
        scale(first, 1.1)
    for first in opened["["]:
        scale(first, 1 / 1.1)
    return join(segments)


def join(segments):
    out = []
    for segment in segments or [Segment("")]:
        if segment is None:
            out.append(None)
        elif out and out[-1] and out[-1][1] == segment.weight:
            out[-1][0] += segment.text
        else:
            out.append([segment.text, segment.weight])
    return out


# ---- weights, compel ---------------------------------------------------------------------------

SIGNS = re.compile(r"(\++|-+)(?=$|[\s,.;:!?)])")
NUMBER = re.compile(r"[0-9.]*[0-9]|\.+[0-9]+")


def sign_factor(signs):
    return (1.1 if signs[0] == "+" else 0.9) ** len(signs)


class Compel:
    """Recursive descent over text without quotation marks or escapes."""

    def __init__(self, text):
        self.text, self.at = text, 0

    def take(self, pattern):
        match = pattern.match(self.text, self.at)
        if match:
            self.at = match.end()
        return match

    def bracket(self):
        self.at += 1
        inner = self.level()
        self.at += 1
        factor = 1.0
        if number := self.take(NUMBER):
            factor = float(number.group())
        if factor == 1.0 and (signs := self.take(SIGNS)):
            factor = sign_factor(signs.group())
        for segment in inner:
            segment.weight *= factor
        return inner

    def word(self):
        match = re.compile(r"[^\s()]+").match(self.text, self.at)
        whole = re.fullmatch(r"(.+?)(\++|-+)([,.;:!?]*)", match.group())
        self.at = match.end()
        opens = self.text[self.at:self.at + 1] == "("
        if not whole or (opens and not whole[3]):
            return [Segment(match.group())]
        return [Segment(whole[1], sign_factor(whole[2])), *([Segment(whole[3])] if whole[3] else [])]

    def level(self):
        out = []
        while self.at < len(self.text) and self.text[self.at] != ")":
            if self.text[self.at] == "(":
                out += self.bracket()
            elif space := self.take(re.compile(r"\s+")):
                out.append(Segment(space.group()))
            else:
                out += self.word()
        return out


def compel(text):
    return join(Compel(text).level())


# ---- schedules, A1111 --------------------------------------------------------------------------


class Schedule:
    """All ways to read text[at:] by a rule, longest first; the first that fits the whole wins. A reading is (end, function of the
    step that gives the text)."""

    def __init__(self, text, steps):
        self.text, self.steps = text, steps
        self.item = functools.lru_cache(None)(self.item)
        self.prompt = functools.lru_cache(None)(self.prompt)

    def is_at(self, at, what):
        return self.text.startswith(what, at)

    def item(self, at):
        """One bracket with all in it, or one character; None if there is none at this place."""
        if at >= len(self.text):
            return None
        c = self.text[at]
        if c == "\\" and at + 1 < len(self.text):
            return at + 2, lambda step, s=self.text[at:at + 2]: s
        if c == "(":
            return self.round(at)
        if c == "[":
            return self.scheduled(at) or self.alternate(at) or self.square(at)
        if c in ")]:|":
            return None
        return at + 1, lambda step: c

    def prompt(self, at):
        """As many items as there are."""
        parts = []
        while found := self.item(at):
            at = found[0]
            parts.append(found[1])
        return at, lambda step: "".join(part(step) for part in parts)

    def round(self, at):
        end, first = self.prompt(at + 1)
        if self.is_at(end, ")"):
            return end + 1, lambda step: f"({first(step)})"
        if not self.is_at(end, ":"):
            return None
        end, second = self.prompt(end + 1)
        return (end + 1, lambda step: f"({first(step)}:{second(step)})") if self.is_at(end, ")") else None

    def square(self, at):
        end, inner = self.prompt(at + 1)
        return (end + 1, lambda step: f"[{inner(step)}]") if self.is_at(end, "]") else None

    def when(self, at):
        """The number and bracket that end a schedule."""
        match = re.compile(r"\s*([+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?)\s*\]").match(self.text, at)
        if not match:
            return None
        value = float(match[1]) * (self.steps if "." in match[1] else 1)
        return match.end(), min(self.steps, int(value))

    def scheduled(self, at):
        end, first = self.prompt(at + 1)
        if not self.is_at(end, ":"):
            return None
        end2, second = self.prompt(end + 1)
        if self.is_at(end2, ":") and (stop := self.when(end2 + 1)):
            return stop[0], lambda step: (first if step <= stop[1] else second)(step)
        if stop := self.when(end + 1):
            return stop[0], lambda step: "" if step <= stop[1] else first(step)
        return None

    def alternate(self, at):
        parts = []
        while not parts or self.is_at(at, "|"):
            at, part = self.prompt(at + 1)
            parts.append(part)
        if len(parts) == 1 or not self.is_at(at, "]"):
            return None
        return at + 1, lambda step: parts[(step - 1) % len(parts)](step)

    def texts(self):
        parts, at = [], 0
        while at < len(self.text):
            end, part = self.item(at) or (at + 1, lambda step, c=self.text[at]: c)
            parts.append(part)
            at = end
        return ["".join(part(max(step, 1)) for part in parts) for step in range(self.steps)]


# ---- tokens ------------------------------------------------------------------------------------


class Encoder:
    """CLIP's byte-pair encoding for ASCII text."""

    PIECES = re.compile(r"'s|'t|'re|'ve|'m|'ll|'d|[a-z]+|[0-9]|[^\sa-z0-9]+")

    def __init__(self):
        text = gzip.decompress((ROOT / "src/text/data/clip_merges.txt.gz").read_bytes()).decode("utf-8")
        merges = [tuple(line.split(" ")) for line in text.splitlines()]
        letters = [chr(b) for b in [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]]
        letters += [chr(256 + i) for i in range(256 - len(letters))]
        names = letters + [c + "</w>" for c in letters] + [a + b for a, b in merges]
        self.ids = {name: i for i, name in enumerate(names)}
        self.ranks = {pair: i for i, pair in enumerate(merges)}

    def word(self, word):
        symbols = [*word[:-1], word[-1] + "</w>"]
        while len(symbols) > 1:
            pairs = list(zip(symbols, symbols[1:]))
            best = min(range(len(pairs)), key=lambda i: (self.ranks.get(pairs[i], 1 << 30), i))
            if pairs[best] not in self.ranks:
                break
            symbols[best:best + 2] = ["".join(pairs[best])]
        return [self.ids[s] for s in symbols]

    def encode(self, text):
        return [i for piece in self.PIECES.findall(text.lower()) for i in self.word(piece)]


def chunks(encoder, text, backtrack):
    """[(ids, weights)] by A1111's rule: when a chunk is full, what stands behind a comma among its last tokens moves on."""
    comma = encoder.encode(",")[0]
    done, now, last_comma = [], [], None

    def finish():
        nonlocal now, last_comma
        done.append(now)
        now, last_comma = [], None

    for segment in a1111(text):
        if segment is None:
            finish()
            continue
        for token in encoder.encode(segment[0]):
            full = len(now) == 75
            if token == comma:
                last_comma = len(now)
            elif full and last_comma is not None and backtrack and 75 - last_comma <= backtrack:
                moved = now[last_comma + 1:]
                del now[last_comma + 1:]
                finish()
                now = moved
            if len(now) == 75:
                finish()
            now.append((token, segment[1]))
    if now or not done:
        finish()
    return done


# ---- what weights do to states ------------------------------------------------------------------


def weighted(mode, states, empty, weights):
    rows = []
    for z, e, w in zip(states, empty, weights):
        if mode in ("a1111", "no norm"):
            rows.append([x * w for x in z])
        elif mode == "comfy" or w > 1:
            rows.append([y + w * (x - y) for x, y in zip(z, e)])
        else:
            rows.append(list(z))
    if mode != "a1111":
        return rows
    factor = sum(map(sum, states)) / sum(map(sum, rows))
    return [[x * factor for x in row] for row in rows]


# ---- cases -------------------------------------------------------------------------------------

A1111_TEXTS = [
    "", " ", "a cat", "(a)", "[a]", "((a))", "[[a]]", "([a])", "[(a)]", "(a:1.4)", "(a: 1.4 )", "(a:.5)", "(a:2.)", "(a:+1.2)", "(a:-1)",
    "(a:0)", "((a:1.3) b)", "((a:1.3) b:1.2)", "(a:1.3:1.2)", "a (b", "a [b", "a ((b", "a) b", "a] b", "a (b] c", "a [b) c", "(a [b) c] d",
    "[a (b] c) d", r"\(a\)", r"\[a\]", r"\\(a)", r"a\b", "a\\", r"(a\):1.2)", r"\\\(x", "a:1.2", "a:1.2)", "(a:x)", "(a:)", "(:1.2)", "(a::1.2)",
    "()", "[]", "(())", "a()b", "((((a))))", "a (b) c (d) e", "(unnecessary)(parentheses)", "a (((house:1.3)) [on] a (hill:0.5), sun, (((sky))).",
    "a BREAK b", "a  BREAK  b", "BREAK", "BREAK a", "a BREAK", "a BREAK BREAK b", "aBREAK b", "a BREAKb", "a,BREAK,b", "a break b", "(a BREAK b:1.3)",
    "a\nBREAK\nb", "a (b) BREAK (c) d", "BREAK_ a", "\u00e9BREAK a", "a \u3000BREAK\u3000 b", "cat AND dog", "a | b", "<b> a", "caf\u00e9 (\u65e5\u672c:1.2)", "(\U0001f600:1.1) x",
    "masterpiece, (best quality:1.2), [blurry], 1girl, (hatsune miku:0.9) (stage lights, [crowd]:1.15)", "(a:1.5", "[a:1.5", "(a:1 .5)", "(a\n:1.2)", "a ( b ) c",
    "(a,(b,(c,(d,(e))))),f", "[[[[[a]b]c]d]e]f", "(((a)b)c)d", "(a)[b](c)[d]", "((a)", "(a))", "[[a]", "[a]]", ":)", ":(", ":-) (smile:1.2)",
]
SCHEDULE_TEXTS = [
    "test", "a [b:3]", "a [b: 3]", "a [[[b]]:2]", "[(a:2):3]", "a [b : c : 1] d", "a[b:[c:d:2]:1]e", "a [unbalanced", "a [b:.5] c",
    "((a][:b:c [d:3]", "[a|(b:1.1)]", "[fe|]male", "[fe|||]male", "[a::3]", "[a::0.5]", "[:b:0.5]", "[a:b:0.5]", "[a:b:12]", "[a:b:0]",
    "[a:b:1.0]", "[a:b:-1]", "[a:b:x]", "[a:b]", "[a]", "[a|b|c] d", "[a|[b|c]]", "[[a|b]:c:5]", "[a:b:c:3]", r"[a\:b:c:3]", r"[a\|b|c]", r"\[a:b:3]",
    "(a [b:c:4]:1.2)", "[(a:1.2):(b:1.3):0.25]", "[a (b:c:3]", "[a [b:c:3]", "[a:b:3 ]", "[ a : b :3]", "[a:1:2]", "[1:2]", "[a:b:1e0]", "[a:b:.2e1]", "[a:b:+4]", "[:a:3][b::3]",
    "[a|b:3]", "[a:b|c:3]", "(a:b:c) [d:2]", "a | b [c:d:3]", "(a | b) [c:d:3]", "a\\", "[a:b:3\\]", "[a:b:2][c:d:4][e:f:6]", "[|a]", "[a|]", "[|]", "[:3]", "[::3]", "[]", "x [\u65e5\u672c:caf\u00e9:0.3] y",
    "fantasy landscape with a [mountain:lake:0.25] and [an oak:a christmas tree:0.75][ in foreground::0.6][ in background:0.25] [shoddy:masterful:0.5]",
]
COMPEL_TEXTS = [
    "", "a cat", "a cat+", "a cat++ x", "a cat-", "cat--, dog", "(a cat)1.3", "(a cat)+", "(a cat)--", "(a (b)1.2 c)1.1", "(a+ b)0.5", "well-lit", "well-lit- room", "c++ code",
    "a + b", "a - b", "(a cat)", "(a)1.2 (b)0.8", "(a)1.2, b", "(a)1.", "x (a)+.", "((a)+)+", "+", "++a", "a+b", "a+-", "(a)0", "(a).5", "cat+(dog)", "cat+. dog!", "(a)1+", "word+) x".replace(")", ""),
    "a tall thin man (picking apricots)1.3", "(a man (picking apricots)-)1.1 at dusk+++", "e-mail", "x--y", "caf\u00e9+ noir", "(\u65e5\u672c)1.5",
]
WORDS = ["a", "photo", "of", "cat", "BREAK", "red", "hat,", "castle", "caf\u00e9", "1girl", "blue eyes", "\u65e5\u672c", "x:y", "\\(", "\\)", "\\"]


def random_prompt(rng, depth=0):
    out = []
    for _ in range(rng.randint(1, 4)):
        kind = rng.random()
        inner = random_prompt(rng, depth + 1) if depth < 3 and kind < 0.45 else rng.choice(WORDS)
        if kind < 0.15:
            inner = f"({inner})"
        elif kind < 0.25:
            inner = f"({inner}:{rng.choice(['1.2', '0.8', '.5', '1', '1.25 ', ' 1.1'])})"
        elif kind < 0.35:
            inner = f"[{inner}]"
        out.append(inner)
    text = rng.choice([" ", ", ", ""]).join(out)
    if rng.random() < 0.15:  # spoil it
        at = rng.randint(0, len(text))
        text = text[:at] + rng.choice("()[]:") + text[at:]
    return text


def random_schedule(rng, depth=0):
    out = []
    for _ in range(rng.randint(1, 3)):
        kind = rng.random() if depth < 3 else 1
        part = lambda: random_schedule(rng, depth + 1)
        when = rng.choice(["3", "0.5", " 7 ", ".25", "1", "0.9"])
        out.append(f"[{part()}:{part()}:{when}]" if kind < 0.2 else f"[{part()}:{when}]" if kind < 0.3 else f"[{part()}::{when}]" if kind < 0.35 else
                   f"[{part()}|{part()}]" if kind < 0.5 else f"({part()}:1.2)" if kind < 0.6 else f"[{part()}]" if kind < 0.65 else
                   rng.choice(["a", "b ", " c", "\\[", "d:", "e"]))
    text = "".join(out)
    if rng.random() < 0.1:
        at = rng.randint(0, len(text))
        text = text[:at] + rng.choice("()[]:|") + text[at:]
    return text


def random_compel(rng, depth=0):
    out = []
    for _ in range(rng.randint(1, 4)):
        kind = rng.random()
        inner = random_compel(rng, depth + 1) if depth < 3 and kind < 0.4 else rng.choice(["a", "red cat", "e-mail", "x,", "caf\u00e9"])
        suffix = rng.choice(["+", "++", "-", "---", "1.3", "0.7", ""]) if kind < 0.4 else rng.choice(["", "", "+", "--"])
        out.append(f"({inner}){suffix}" if kind < 0.4 else inner + suffix)
    return rng.choice([" ", ", "]).join(out)


def long_texts(rng):
    vocabulary = ["castle", "river", "dawn", "oil", "painting", "detailed", "mist", "(glow:1.2)", "[noise]", "unbelievable", "knight", "BREAK"]
    for n, comma in [(60, 4), (75, 0), (76, 0), (90, 9), (150, 1), (160, 30), (200, 7), (400, 11), (300, 0), (75, 3), (149, 25)]:
        words = [rng.choice(vocabulary if rng.random() < 0.3 else vocabulary[:7]) + ("," if comma and i % comma == comma - 1 else "") for i in range(n)]
        yield " ".join(words)
    yield ", ".join(["cat"] * 75)
    yield "cat " * 74 + ", dog bird"
    yield "cat " * 75 + ", dog bird"
    yield "cat " * 54 + ", " + "dog " * 30  # the comma is exactly as far back as it may be
    yield "cat " * 53 + ", " + "dog " * 30  # and one more
    yield "cat " * 399 + "lighthouse"
    yield "(cat " * 3 + "dog " * 200 + ":1.1)"
    yield "a BREAK " * 6 + "b"


def main():
    rng, encoder = random.Random(20), Encoder()
    cases = []
    for text in A1111_TEXTS + [random_prompt(rng) for _ in range(160)]:
        cases.append({"kind": "segments", "syntax": "a1111", "text": text, "segments": a1111(text)})
    for text in COMPEL_TEXTS + [random_compel(rng) for _ in range(60)]:
        cases.append({"kind": "segments", "syntax": "compel", "text": text, "segments": compel(text)})
    for text in SCHEDULE_TEXTS + [random_schedule(rng) for _ in range(80)]:
        cases.append({"kind": "schedule", "text": text, "steps": 10, "texts": Schedule(text, 10).texts()})
    for text in long_texts(rng):
        for backtrack in (20, 0):
            done = chunks(encoder, text, backtrack)
            cases.append({"kind": "chunks", "text": text, "backtrack": backtrack, "ids": [[t for t, _ in c] for c in done],
                          "weights": [[round(w, 9) for _, w in c] for c in done]})
    for mode in ("a1111", "no norm", "comfy", "compel"):
        for weights in ([1, 1, 1, 1], [1, 1.5, 0.5, 1], [1, 0, 2, -1]):
            states, empty = ([[round(rng.uniform(-1, 3), 3) for _ in range(3)] for _ in range(4)] for _ in range(2))
            cases.append({"kind": "weighting", "mode": mode, "states": states, "empty": empty, "weights": weights,
                          "expected": [[round(x, 9) for x in row] for row in weighted(mode, states, empty, weights)]})
    lines = ",\n".join(json.dumps(c, separators=(",", ":"), ensure_ascii=True) for c in cases)
    (DATA / "prompts.json").write_text(f"[\n{lines}\n]\n")
    print(len(cases), "cases")


if __name__ == "__main__":
    main()
