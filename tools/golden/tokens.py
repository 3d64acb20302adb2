#!/usr/bin/env python3
"""Token ids by transformers' CLIPTokenizer, for tests/unit/text/test_tokenizer*.c.

    pip install transformers==5.23.0 tokenizers==0.23.3
    python3 tools/golden/tokens.py

Writes tests/golden/data/tokens.json: {"versions", "cases": [{"text", "ids", "ids_pad0"}]}, the ids without markers,
for the tokenizer that pads with <|endoftext|> (SDXL's first) and, where they differ, for the one that pads with id 0,
"!" (SDXL's second). And tests/golden/data/tokens-small/: a tokenizer with a small vocabulary in both file forms
(vocab.json + merges.txt, tokenizer.json) with cases of its own, among them bytes that it does not know.

Only characters of Unicode 14 and older occur, so that the test does not depend on utf8proc's version.
"""
import gzip
import json
import random
import unicodedata
from importlib.metadata import version
from pathlib import Path

from transformers import CLIPTokenizer

ROOT = Path(__file__).resolve().parents[2]
DATA = ROOT / "tests/golden/data"
BOS, EOS = "<|startoftext|>", "<|endoftext|>"


# ---- vocabularies ------------------------------------------------------------------------------


def byte_alphabet():
    """GPT-2's printable character for each byte, in the order of their ids."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [b for b in range(256) if b not in printable]
    return [chr(b) for b in printable] + [chr(256 + i) for i in range(len(others))]


def clip_merges():
    text = gzip.decompress((ROOT / "src/text/data/clip_merges.txt.gz").read_bytes()).decode("utf-8")
    return [tuple(line.split(" ")) for line in text.splitlines()]


def clip_vocabulary(merges):
    letters = byte_alphabet()
    names = letters + [c + "</w>" for c in letters] + [a + b for a, b in merges] + [BOS, EOS]
    assert len(names) == len(set(names)) == 49408
    return {name: i for i, name in enumerate(names)}


def small_vocabulary(merges):
    """Lower-case letters, digits and some signs, and the merges among the first 600 that need no more."""
    letters = "abcdefghijklmnopqrstuvwxyz0123456789!,.-'\u00c3\u00a9"  # the last two: the bytes of e acute
    names = [*letters, *(c + "</w>" for c in letters)]
    kept = []
    for a, b in merges[:600]:
        if a in names and b in names:
            names.append(a + b)
            kept.append((a, b))
    random.Random(1).shuffle(names)  # ids that do not follow from ranks
    return {name: i for i, name in enumerate(["<extra>", *names, BOS, EOS])}, kept


# ---- texts -------------------------------------------------------------------------------------

PROMPTS = """
a photo of a cat
a lighthouse on the sea at sunset
A Lighthouse On The Sea At Sunset
An astronaut riding a green horse, 8k, highly detailed
masterpiece, best quality, 1girl, solo, long hair, looking at viewer, (smile:1.2), [blurry], {{detailed}}
score_9, score_8_up, score_7_up, source_anime, rating_safe
<lora:old-photo:0.6> a portrait of a man
((masterpiece)), (best quality:1.4), [[low quality]], BREAK a red car AND a blue boat
[day:night:0.5] street, [cat|dog], \\(literal\\) parentheses
worst quality, low quality, jpeg artifacts, watermark, bad anatomy, extra digits!!!
photo by Ansel Adams & Annie Leibovitz; 35mm f/1.4 @ ISO-3200
a 1970s sci-fi book-cover, retro-futuristic, 3D render, octane_render
"hello world" sign, 'open 24/7' sign
don't won't can't shouldn't've I'm we'll they'd he's you're it's ain't o'clock rock'n'roll
DON'T WON'T I'M WE'LL THEY'D HE'S YOU'RE
'tis 'twas 'stone 'really 'ver 'model 'llama 'day ''s '' ' 's't're
the cats' toys and James's hat
100% $5.99 #1 50/50 1,000,000 3.14159 2024-01-31 12:34:56 1st 2nd 3rd 4th
0 1 22 333 4444 007 1e-5 0xdeadbeef v1.5 sd_xl_base_1.0.safetensors
https://example.org/path/to?query=1&b=%20#frag ftp://user:pw@host:21/ mailto:a.b+c@d.co.uk
C:\\Users\\me\\file.txt /usr/local/bin/../lib ~/.config
{"json": [1, 2, {"k": null}]} <html><b>bold</b></html> &amp; &lt;
if (a<b && c>=d || !e) { f(x)[0]->y *= ~z ^ 1; } // comment
... ---- ____ **** !!!! ???? ,,,, ;;;; :::: "" '''' ```` ~~~~ ^^^^ ==== ++++ |||| \\\\
! !! !!! !!!! wow! wow!! ! wow no!yes !a a! !1! (!) "!" !\u00a1! \uff01
!?!?!? ?! :-) ;) <3 ^_^ T_T o_O xD :'( =) D:
hello\u2014world \u2013 \u2018single\u2019 \u201cdouble\u201d \u2026 \u00abguillemets\u00bb \u2039x\u203a
the quick brown fox jumps over the lazy dog
THE QUICK BROWN FOX JUMPS OVER THE LAZY DOG
pneumonoultramicroscopicsilicovolcanoconiosis antidisestablishmentarianism
Llanfairpwllgwyngyllgogerychwyrndrobwllllantysiliogogogoch
Donaudampfschifffahrtselektrizitaetenhauptbetriebswerkbauunterbeamtengesellschaft
supercalifragilisticexpialidocious hippopotomonstrosesquippedaliophobia
aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa hahahahahahaha zzzzzzzzz nooooooo
camelCaseWords snake_case_words kebab-case-words SCREAMING_SNAKE dotted.names.here
mixed123numbers456in789words a1b2c3 4k 8K HD1080p
"""

LANGUAGES = """
una foto de un gato en la playa, año nuevo, ¿qué? ¡hola!
une forêt près de la mer, façade, cœur, élève, où, Noël, ÉCOLE
Straße, größer, Übung, ÄÖÜ, GROSSE STRASSE, ẞ, STRAẞE, Maß
İstanbul'da ılık ışık, IŞIK, İ, ı, I, i, DİYARBAKIR, ğüşöç ĞÜŞÖÇ
Ὀδυσσεύς, ΟΔΥΣΣΕΥΣ, ΣΑΣ, σας, Σ, ς, ΑΣ ΒΣ, ὁ Σωκράτης, ᾼ ᾳ ΑΙ, Ϊ ΐ
Пейзаж с маяком на закате, ЁЖИК, ёжик, Їжак, Љубав, ҐАНОК
הדמות הראשית, שָׁלוֹם, עִבְרִית, ״ציטוט״
صورة قطة على الشاطئ، مُحَمَّد، ۱۲۳ ٤٥٦، لا إله، ﷺ ﷽ ﻻ
तस्वीर में बिल्ली, क़ ख़ ज़, हिन्दी, नमस्ते १२३
বাংলা ছবি, কো কৌ, তামিল தமிழ் கொ கோ, తెలుగు, ಕನ್ನಡ, മലയാളം
ภาพแมวบนชายหาด กำลัง น้ำ ไทย ๑๒๓
ພາສາລາວ ខ្មែរ မြန်မာ བོད་ཡིག ॐ ༄༅
一只猫在海滩上的照片，高清，最高质量。简体与繁體
夕焼けの海と灯台、アニメ風、ﾊﾝｶｸ ﾞ ﾟ、が ガ ぱ パ、々〆ヶ
한국어 프롬프트: 바다 위의 등대, 각 갂 힣 가 ㄱ ㅏ
ảnh một con mèo trên bãi biển, Việt Nam, ĐƯỜNG, ỹ
żółć ŻÓŁĆ ąęłńóśźż, Dvořák, Ångström, Åse, Æsir æ ø Ø þ Þ ð Ð
Lietuvių: į̇́ i̇̀ ĄČĘĖĮŠŲŪŽ, ķ ģ ņ ļ, ő ű
ქართული ᲥᲐᲠᲗᲣᲚᲘ ⴀⴁ ႠႡ, Հայերեն ՀԱՅԵՐԵՆ և, ᏣᎳᎩ ꮳꮃꭹ
𐐀𐐁𐐨𐐩 𝐀𝐁𝒞𝔇 𝟎𝟏𝟐 𞤀𞤁𞤢 𐓐𐓸 𒀀𒁀 𓀀𓁀 𠀀𠮷 𛀀
ÀÉÎÕÜ àéîõü ÿ Ÿ ŒŠŽ ǅ ǆ Ǆ ǈ ǋ ǲ
"""

EMOJI = """
😀 😃😄 I ❤️ NY ❤ ♥️ 👍🏽 👩‍🚀 👨‍👩‍👧‍👦 🏳️‍🌈 🏴‍☠️ 🇺🇸🇩🇪 #️⃣ 1️⃣ ☕️ ✨ ★☆ ♻︎
🐱cat🐶dog 🌅🌊🗼 🎨 🤖🦾 🧑🏿‍🎤 👯‍♀️ 🏴󠁧󠁢󠁥󠁮󠁧󠁿 ☺︎ ☺️ ㊗️ Ⓜ️ ©️ ®️ ™
∑∫√∞≠≤≥±×÷ ∂∇ ∈∉ ⊂⊃ ∀∃ ≯ ≮ ≢ ⅓ ½ ¼ Ⅷ ⅷ ↉ ① ⑳ ㊿ ² ³ ⁴ ₁₂ ⓐ Ⓐ 〇 㐅
¢£¤¥€₹₿ §¶†‡•·‥… ℃ ℉ K Å Ω µ μ № ℡ ™ ℠
←↑→↓ ⇐⇒ ▲△▼▽ ■□●○ ♠♣♥♦ ♪♫ ☀☁☂☃ ⌘⌥ ␀␉ ⠿⠁ ─│┌┐ ▀▄█
"""


def marked(base):
    """Combining marks: composed, decomposed, out of order, too many."""
    return [base + marks for marks in ["\u0301", "\u0323\u0302", "\u0302\u0323", "\u0308\u0301", "\u0345\u0301", "\u0338"]]


def unusual():
    yield from ["", " ", "   ", "\n", "\t\n\v\f\r", "a", " a ", "\u00a0", "\u200b", "\ufeff", "\u3000", "\x00", "\x00\x00"]
    spaces = "\t\n\v\f\r\x1c\x1d\x1e\x1f \x85\u00a0\u1680\u180e\u2000\u2003\u2009\u200a\u200b\u200c\u200d\u2028\u2029\u202f\u205f\u2060\u3000\ufeff"
    yield from (f"red{s}car" for s in spaces)
    yield from (f"red,{s}{s} car{s}" for s in "\t\u00a0\u2003\u200b\u3000\u0085")
    yield from (f"a{chr(c)}b" for c in [0, 1, 7, 8, 0x1B, 0x7F, 0x80, 0x9F, 0xAD, 0x34F, 0x61C, 0x202E, 0x2066, 0xFFF9, 0xFFFD])
    yield from (f"x{chr(c)}y{chr(c)}" for c in [0xFFFE, 0xFFFF, 0xE000, 0xF8FF, 0xFDD0, 0x1FFFF, 0xE0001, 0xF0000, 0x10FFFD, 0x10FFFF])
    for base in ["e", "A", "o", "=", "<", "!", "'", "i", "I", "\u0130", "\u03b1", "\u0915"]:
        yield " ".join(marked(base))
    yield from ["\u212b \u00c5 A\u030a", "\ufb01 \ufb03 \ufb00le", "\u1e9b\u0323 \u1e69 s\u0323\u0307 s\u0307\u0323 \u1e0b\u0323"]
    yield from ["\u0958 \u0915\u093c", "\u0344 \u0308\u0301 \u2126 \u03a9 \u037e ; \u1fef `", "\u0340\u0341 a\u0340 a\u0341 \u0374"]
    yield from ["\uac00 \u1100\u1161 \u1100\u1161\u11a8 \uac00\u11a8 \uac01 \u1100\u1100\u1161", "\uac00\u11a7\u11a8 \u1161\u11a8 \u1112\u1175\u11c2"]
    yield from ["\u0bc6\u0bbe \u0bca \u09c7\u09be \u09cb \u0dd9\u0dca\u0dcf \u0ddd", "\U0001d15e \U0001d157\U0001d165 \u2adc \u0f43 \u0f71\u0f72"]
    yield from ["a\u09fe\u0323\u0301", "a\u0d3b\u0323\u0301", "a\u1df6\u0301 a\u1dfa\u0323", "\U00011935\U00011930 \U00011938", "e\u0c3c\u0301 \u08d3\u0301"]
    yield from ["f\uf900\ufa0a \U0002f800 \U0002f9d0", "a" + "\u0301\u0323" * 20, "\u0301\u0323 abc", "\u0345\u0334\u0301"]
    yield from ["\u1e9e \u00df \u0149 \u01f0 \u0390 \u1fe4 \ufb13", "\u0130\u0130 \u0130\u0307 I\u0307 i\u0307 \u0131", "\u03a3\u0301 \u03a3 \u03a3\u03a3 \u1fb3\u1fbc"]
    yield from ["\u2160\u2170 \u24b6\u24d0 \u01c4\u01c5\u01c6", "\uff21\uff42\uff11\uff01 \uff07s", "\u0660\u06f0\u0966\u2460\u3007\u00bd", "a\u0661b\u0662"]


def special():
    for name in [BOS, EOS]:
        bare = name.strip("<|>")
        yield from [name, name.upper(), name.title(), f"a {name} b", f"a{name}b", f"{name}{name}", f"!{name}!", f"!{name.upper()}!"]
        yield from [f"<|{bare}", f"{bare}|>", f"< |{bare}|>", f"<|{bare}|", f"{name.upper()}!!", f"x{name.upper()}x", f"<<|{bare}|>>"]
        yield from [f"{name}\u0338", f"'{name}'s", f"{name.upper()}'s", f"<|{bare.upper()}|>\u0338", f" {name.upper()} {name}", name.replace("s", "\u017f")]
    yield from ["</w>", "a</w> b</w>", "<extra> <|pad|> <pad> [PAD] [CLS]", "<|start\u200boftext|>", "<|startoftext|>" * 3 + "a"]


def long_texts():
    yield "a " * 100
    yield "the quick brown fox " * 8
    yield "x" * 257
    yield "ab" * 150
    yield "\u00e9" * 90
    yield "\u6d77" * 60
    yield "!" * 100
    yield "\U0001f600" * 40
    yield "0123456789" * 9
    yield "\u0301" * 70


def random_texts(n):
    draw = random.Random(20)
    pools = [range(0x20, 0x7F), range(0, 0x250), range(0x300, 0x530), range(0x900, 0xD00), range(0x1100, 0x1200), range(0x1E00, 0x2100)]
    pools += [range(0x3000, 0x3200), range(0xAC00, 0xAD00), range(0xFB00, 0xFFF0), range(0x1D100, 0x1D800), range(0x1F300, 0x1F700)]
    for _ in range(n):
        pool, text = draw.choice(pools), ""
        for _ in range(draw.randint(3, 24)):
            text += chr(draw.choice(pools[0] if draw.random() < 0.35 else pool))
        yield "".join(c for c in text if unicodedata.category(c) != "Cn")


def texts():
    lines = (PROMPTS + LANGUAGES + EMOJI).strip().splitlines()
    everything = [*lines, *unusual(), *special(), *long_texts(), *random_texts(80)]
    return list(dict.fromkeys(everything))


SMALL_TEXTS = [
    "", "a photo of a cat", "the lighthouse", "Hello, World!", "caf\u00e9 CAF\u00c9", "x_y", "50%", "#1", "\u6d77", "the \u6d77 sea", "don't",
    "!!! wow!", BOS, EOS.upper(), f"a{EOS}b", "<extra>", "the<extra>the", "<EXTRA>", "<Ex tra>", "q\u0300", "a\x00b", "1 22 333",
]


# ---- writing -----------------------------------------------------------------------------------



def cases(first, second, wanted):
    """One line a case; the second tokenizer's ids only where they differ."""
    lines = []
    for text in wanted:
        a, b = first(text).input_ids[1:-1], second(text).input_ids[1:-1]
        lines.append(json.dumps({"text": text, "ids": a} | ({"ids_pad0": b} if a != b else {}), separators=(",", ":")))
    return lines


def write_cases(path, lines):
    versions = {name: version(name) for name in ["transformers", "tokenizers"]}
    path.write_text('{"versions":%s,\n"cases":[\n%s\n]}\n' % (json.dumps(versions), ",\n".join(lines)))
    print(f"{path}: {len(lines)} cases, {path.stat().st_size} bytes")


def write_small(folder, merges):
    vocabulary, kept = small_vocabulary(merges)
    folder.mkdir(exist_ok=True)
    tokenizer = CLIPTokenizer(vocab=vocabulary, merges=kept, pad_token="!")
    tokenizer.add_special_tokens({"additional_special_tokens": ["<extra>"]})
    tokenizer.save_pretrained(folder)
    (folder / "vocab.json").write_text(json.dumps(vocabulary) + "\n")
    (folder / "merges.txt").write_text("#version: 0.2\n" + "".join(f"{a} {b}\n" for a, b in kept))
    plain = CLIPTokenizer(vocab=vocabulary, merges=kept)
    two_files = [json.dumps({"text": t, "ids": plain(t).input_ids[1:-1]}) for t in SMALL_TEXTS]
    write_cases(folder / "two-files.json", two_files)
    write_cases(folder / "one-file.json", [json.dumps({"text": t, "ids": tokenizer(t).input_ids[1:-1]}) for t in SMALL_TEXTS])


def main():
    merges = clip_merges()
    vocabulary = clip_vocabulary(merges)
    first = CLIPTokenizer(vocab=vocabulary, merges=merges)
    second = CLIPTokenizer(vocab=vocabulary, merges=merges, pad_token="!")
    assert first("a photo of a cat").input_ids == [49406, 320, 1125, 539, 320, 2368, 49407]
    write_cases(DATA / "tokens.json", cases(first, second, texts()))
    write_small(DATA / "tokens-small", merges)


if __name__ == "__main__":
    main()
