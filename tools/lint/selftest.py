"""A lint that finds nothing proves nothing: each rule is shown one line it must refuse and one it must accept."""

import sys

import layers
import stats
import words

LAYERS = layers.read_layers("# comment\nbase:\ntensor: base\nweights: base tensor\npipeline: base\napp: base engine.h\n")


def arrow(where, text, own=False):
    return [why for _, why in layers.judge_file(where, text, LAYERS, own)]


def word(where, text):
    return [reason for _, reason, _ in words.judge(where, text)]


CHECKS = [
    ("arrow down is fine", not arrow("weights/a.c", '#include "base/err.h"\n#include "tensor/tensor.h"\n')),
    ("arrow up is refused", arrow("tensor/a.c", '#include "weights/checkpoint.h"\n')),
    ("own room is fine", not arrow("base/a.c", '#include "base/err.h"\n')),
    ("unknown room is refused", arrow("attic/a.c", "")),
    ("bare name is refused", arrow("base/a.c", '#include "err.h"\n')),
    ("engine.h for app", not arrow("app/a.c", '#include "tintype/engine.h"\n')),
    ("worker.h not for app", arrow("app/a.c", '#include "tintype/worker.h"\n')),
    ("engine.h not for base", arrow("base/a.c", '#include "tintype/engine.h"\n')),
    ("error.h for all", not arrow("base/a.h", '#include "tintype/error.h"\n')),
    ("back-end is private", arrow("weights/a.c", '#include "tensor/cpu/pack.h"\n')),
    ("cpu may use ref", not arrow("tensor/cpu/a.c", '#include "tensor/ref/ref.h"\n')),
    ("ref stands alone", arrow("tensor/ref/a.c", '#include "tensor/cpu/pack.h"\n')),
    ("tensor sees its back-ends", not arrow("tensor/ops.c", '#include "tensor/cpu/pack.h"\n')),
    ("own header first", not arrow("base/a.c", '#include "base/a.h"\n#include <stdio.h>\n', True)),
    ("own header later is refused", arrow("base/a.c", '#include <stdio.h>\n#include "base/a.h"\n', True)),
    ("library outside its home", arrow("weights/a.c", "#include <dnnl.h>\n")),
    ("library at home", not arrow("tensor/cpu/a.c", "#include <dnnl.h>\n")),
    ("printing library", word("src/base/a.c", '    printf("x");\n')),
    ("printing command", not word("src/cmd/a.c", '    printf("x");\n')),
    ("snprintf is no printf", not word("src/base/a.c", "    snprintf(a, 1, b);\n")),
    ("printf in a comment", not word("src/base/a.c", "/* like printf(x) */\n")),
    ("exit in a library", word("src/unet/a.c", "    exit(1);\n")),
    ("getenv in a library", word("src/app/a.c", '    getenv("X");\n')),
    ("malloc", word("src/unet/a.c", "    p = malloc(4);\n")),
    ("tt_realloc", not word("src/unet/a.c", "    p = tt_realloc(p, 4);\n")),
    ("machine path", word("README.md", "see /home/somebody/x\n")),
    ("url is no machine path", not word("README.md", "https://example.org/home/x and docs/work/x\n")),
    ("unfinished work", word("src/a/a.c", "/* TODO later */\n")),
    ("allowed line", not word("src/unet/a.c", "    abort(); /* lint: allow (why) */\n")),
    ("function lengths", stats.functions_of(
        "static int f(int a) {\n    return a;\n}\n\nint g(void);\n\nstruct s {\n    int x;\n};\n\nint long_name(int a,\n"
        "              int b) {\n    if (a) {\n        b++;\n    }\n    return b;\n}\n")
        == [("f", 1, 3), ("long_name", 11, 7)]),
]

failed = [name for name, is_right in CHECKS if not is_right]
for failure in failed:
    print(f"lint self-test: wrong verdict: {failure}")
print(f"{len(CHECKS)} verdicts, {len(failed)} wrong")
sys.exit(1 if failed else 0)
