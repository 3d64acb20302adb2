#!/usr/bin/env python3
"""Makes src/text/data/clip_merges.txt.gz, the merge table of the CLIP tokenizer.

    pip download --no-deps open_clip_torch==3.3.0
    python3 tools/merges/make.py open_clip_torch-3.3.0-py3-none-any.whl

The table comes from OpenAI's CLIP (MIT licence, see NOTICE); the wheel carries it as
bpe_simple_vocab_16e6.txt.gz. That file has 262144 merges, of which CLIP uses the first 48894, so that
256 bytes + 256 bytes at a word's end + 48894 merges + 2 special tokens = 49408 ids.

The output is text, one merge "left right" a line in order of rank, gzipped without name or time: the same
input gives the same bytes (with the same zlib).
"""
import gzip
import hashlib
import sys
import zipfile
from pathlib import Path

MEMBER = "open_clip/bpe_simple_vocab_16e6.txt.gz"
MEMBER_SHA256 = "924691ac288e54409236115652ad4aa250f48203de50a9e4722a6ecd48d6804a"
MERGES_USED = 49408 - 256 - 256 - 2
TARGET = Path(__file__).resolve().parents[2] / "src/text/data/clip_merges.txt.gz"


def read_member(wheel):
    packed = zipfile.ZipFile(wheel).read(MEMBER)
    found = hashlib.sha256(packed).hexdigest()
    if found != MEMBER_SHA256:
        sys.exit(f"{wheel}: {MEMBER} has SHA-256 {found}, expected {MEMBER_SHA256}")
    return gzip.decompress(packed).decode("utf-8")


def used_merges(text):
    """The first line is a version comment."""
    merges = [tuple(line.split(" ")) for line in text.split("\n")[1 : 1 + MERGES_USED]]
    assert len(merges) == MERGES_USED and all(len(m) == 2 for m in merges)
    joined = {left + right for left, right in merges}
    assert len(joined) == MERGES_USED, "two merges make the same token: ids would not follow from ranks"
    return merges


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    text = "".join(f"{left} {right}\n" for left, right in used_merges(read_member(sys.argv[1])))
    TARGET.write_bytes(gzip.compress(text.encode("utf-8"), compresslevel=9, mtime=0))
    print(f"{TARGET}: {len(text.encode('utf-8'))} bytes of text, {TARGET.stat().st_size} compressed")


if __name__ == "__main__":
    main()
