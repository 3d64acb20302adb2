"""Small adapter files for the test models, one per kind and per family of keys, and what the merged weights must be.

python adapters.py [--check] writes tests/golden/data/adapters/NAME.safetensors and cases.json. The formulas are in
adapters_math.py, from the papers, in numpy and f64. --check compares them with PEFT's own layers and has diffusers load
and fuse each file that it can read (adapters_check.py; needs torch).

A case: a model, [file, strength] pairs in order, and tensors with the merged values at some places, the sum of squares of all,
and the sum of all times the counter generator's values of "probe", which sees any two values that changed places.
"""

import argparse
import gzip
import json
import os
import struct

import numpy as np

import adapters_math as am
import counter

HERE = os.path.dirname(os.path.abspath(__file__))
DATA = os.path.join(HERE, "..", "..", "tests", "golden", "data")
OUT = os.path.join(DATA, "adapters")
N_SAMPLES = 12

TO_Q = "down_blocks.1.attentions.0.transformer_blocks.0.attn1.to_q"
TO_K2 = "down_blocks.1.attentions.0.transformer_blocks.0.attn2.to_k"
TO_OUT = "mid_block.attentions.0.transformer_blocks.0.attn1.to_out.0"
FF = "up_blocks.1.attentions.2.transformer_blocks.0.ff.net.0.proj"
CONV = "down_blocks.0.resnets.0.conv1"
SHORTCUT = "down_blocks.1.resnets.0.conv_shortcut"
TE = "text_model.encoder.layers.0."


class Model:
    """Weights of a test model by canonical name, from its manifest."""

    def __init__(self, name):
        self.name = name
        with gzip.open(os.path.join(DATA, "models", name + ".json.gz")) as f:
            manifest = json.load(f)
        self.tensors = {t[0]: t[1:] for t in manifest["tensors"]}
        rows = manifest["ldm"]["tensors"]
        self.half = {manifest["tensors"][i][0] for row in rows for i in row[4] if row[1] == "F16"}

    def has(self, name):
        return name in self.tensors

    def weight(self, name):
        shape, scale, offset = self.tensors[name]
        values = counter.tensor(self.name + "/" + name, shape, scale, offset)
        return values.astype(np.float16 if name in self.half else np.float32).astype(np.float64)


def draw(name, *shape, scale=0.3, offset=0.0):
    """A part's values: f16 numbers, so that files stay small and every reader sees the same."""
    return counter.tensor("adapter/" + name, list(shape), scale, offset).astype(np.float16)


def save(name, tensors, metadata=None):
    kinds = {"float16": "F16", "float32": "F32", "int64": "I64"}
    header, data = {}, b""
    if metadata:
        header["__metadata__"] = metadata
    for key, value in tensors.items():
        value = np.ascontiguousarray(value)
        header[key] = {"dtype": kinds[value.dtype.name], "shape": list(value.shape),
                       "data_offsets": [len(data), len(data) + value.nbytes]}  # fmt: skip
        data += value.tobytes()
    text = json.dumps(header, separators=(",", ":")).encode()
    with open(os.path.join(OUT, name + ".safetensors"), "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text + data)


class Book:
    """All files and cases."""

    def __init__(self):
        self.models = {n: Model(n) for n in ("kernel", "pruned")}
        self.files, self.cases = {}, []

    def file(self, name, parts, metadata=None):
        """parts: {key prefix: (canonical module, {ending: values}, change)}; change(W, bias or None) -> (W', bias')"""
        tensors = {}
        for stem, (_, ends, _) in parts.items():
            tensors.update({stem + end: v for end, v in ends.items()})
        save(name, tensors, metadata)
        self.files[name] = parts

    def case(self, uses, model="kernel", note=""):
        weights = {}  # canonical tensor: merged
        source = self.models[model]
        for name, strength in uses:
            for module, _, change in self.files[name].values():
                self.apply(weights, source, module, change, strength)
        self.cases.append({"model": model, "uses": [list(u) for u in uses], "note": note,
                           "tensors": [self.expect(n, w) for n, w in weights.items()]})  # fmt: skip

    @staticmethod
    def apply(weights, source, module, change, strength):
        def current(name):
            if name in weights:
                return weights[name]
            return source.weight(name) if source.has(name) else None

        modules = module if isinstance(module, list) else [module]
        w = [current(m + ".weight") for m in modules]
        b = [current(m + ".bias") for m in modules]
        merged_w, merged_b = change(np.concatenate(w), np.concatenate(b) if b[0] is not None else None)
        n = len(modules)
        for i, m in enumerate(modules):
            if merged_w is not None:
                weights[m + ".weight"] = w[i] + strength * (np.split(merged_w, n)[i] - w[i])
            if merged_b is not None:
                old = b[i] if b[i] is not None else 0.0
                weights[m + ".bias"] = old + strength * (np.split(merged_b, n)[i] - old)

    @staticmethod
    def expect(name, w):
        flat = w.reshape(-1)
        places = np.unique(np.linspace(0, flat.size - 1, N_SAMPLES).astype(int))
        probe = counter.uniform("probe", flat.size).astype(np.float64)
        return {"name": name, "count": flat.size, "squares": float(flat @ flat), "probe": float(flat @ probe),
                "largest": float(np.abs(flat).max()), "at": places.tolist(), "values": flat[places].tolist()}  # fmt: skip


# ------------------------------------------------------------------------------------------------------ one LoRA part
def lora(name, out, inner, rank=2, alpha=None, down=".lora_down.weight", up=".lora_up.weight", kernel=(), scale=None):
    """(endings, change) of a plain LoRA; scale: what stands in metadata instead of an alpha."""
    d, u = draw(name + "/down", rank, inner, *kernel), draw(name + "/up", out, rank, *([1] * len(kernel)))
    ends = {down: d, up: u}
    if alpha is not None:
        ends[".alpha"] = np.array(alpha, np.float16)
    factor = scale if scale is not None else 1.0 if alpha is None else alpha / rank
    return ends, lambda w, b: (w + factor * am.lora(u, d).reshape(w.shape), None)


def sizes(model, module):
    """(out, in, kernel) of a module's weight."""
    shape = model.tensors[module + ".weight"][0]
    return shape[0], shape[1], tuple(shape[2:])


def entry(book, canonical, alpha=None, model="kernel", **more):
    out, inner, kernel = sizes(book.models[model], canonical)
    ends, change = lora(canonical + repr(sorted(more.items())), out, inner, alpha=alpha, kernel=kernel, **more)
    return canonical, ends, change


# --------------------------------------------------------------------------------------------------- families of keys
def families(book):
    one = dict(alpha=1.0)
    flat = lambda name: name.replace(".", "_")  # noqa: E731
    ldm = {
        "input_blocks_0_0": "conv_in", "input_blocks_1_0_in_layers_2": CONV,
        "input_blocks_3_0_op": "down_blocks.0.downsamplers.0.conv",
        "input_blocks_4_0_skip_connection": SHORTCUT, "input_blocks_4_0_emb_layers_1": "down_blocks.1.resnets.0.time_emb_proj",
        "input_blocks_4_1_transformer_blocks_0_attn1_to_q": TO_Q, "middle_block_1_transformer_blocks_0_attn1_to_out_0": TO_OUT,
        "middle_block_2_emb_layers_1": "mid_block.resnets.1.time_emb_proj",
        "output_blocks_2_1_proj_in": "up_blocks.0.attentions.2.proj_in",
        "output_blocks_5_1_transformer_blocks_0_ff_net_0_proj": FF,
        "output_blocks_8_0_skip_connection": "up_blocks.2.resnets.2.conv_shortcut",
        "time_embed_0": "time_embedding.linear_1", "label_emb_0_2": "add_embedding.linear_2", "out_2": "conv_out",
    }  # fmt: skip
    parts = {"lora_unet_" + k: entry(book, "unet." + v, rank=1, **one) for k, v in ldm.items()}
    book.file("kohya-ldm", parts, {"ss_base_model_version": "sdxl_base_v1-0"})
    book.file("kohya-ldm-upsampler", {"lora_unet_output_blocks_5_2_conv":
                                      entry(book, "unet.up_blocks.1.upsamplers.0.conv", rank=1, **one)})  # fmt: skip
    modules = [TO_Q, TO_K2, TO_OUT, SHORTCUT]
    parts = {"lora_unet_" + flat(m): entry(book, "unet." + m, **one) for m in modules}
    for te in ("te1", "te2"):
        for leaf in ("self_attn.q_proj", "mlp.fc1"):
            parts["lora_%s_%s" % (te, flat(TE + leaf))] = entry(book, "%s.%s%s" % (te, TE, leaf), **one)
    book.file("kohya-diffusers", parts)
    book.file("kohya-te", {"lora_te_" + flat(TE + "self_attn.v_proj"): entry(book, "te1." + TE + "self_attn.v_proj", **one)})
    peft = dict(down=".lora_A.weight", up=".lora_B.weight")
    text = {"text_encoder." + TE + "mlp.fc2": entry(book, "te1." + TE + "mlp.fc2", **peft),
            "text_encoder_2." + TE + "self_attn.k_proj": entry(book, "te2." + TE + "self_attn.k_proj", **peft)}  # fmt: skip
    book.file("peft", {"unet." + m: entry(book, "unet." + m, **peft) for m in modules} | text)
    book.file("peft-default", {"unet." + TO_Q: entry(book, "unet." + TO_Q, down=".lora_A.default.weight",
                                                     up=".lora_B.default.weight")})  # fmt: skip
    config = {"unet.r": 2, "unet.lora_alpha": 6, "unet.use_rslora": False, "unet.alpha_pattern": {"attn2.to_k": 1}}
    book.file("peft-metadata", {"unet." + TO_Q: entry(book, "unet." + TO_Q, scale=3.0, **peft),
                                "unet." + TO_K2: entry(book, "unet." + TO_K2, scale=0.5, **peft)},
              {"lora_adapter_metadata": json.dumps(config)})  # fmt: skip
    config = {"r": 2, "lora_alpha": 3, "use_rslora": True, "peft_type": "LORA"}
    book.file("peft-raw", {"base_model.model." + TO_Q: entry(book, "unet." + TO_Q, scale=3 / np.sqrt(2), **peft)},
              {"adapter_config": json.dumps(config)})  # fmt: skip
    old = dict(down="_lora.down.weight", up="_lora.up.weight")
    linear = dict(down=".lora_linear_layer.down.weight", up=".lora_linear_layer.up.weight")
    attention = "mid_block.attentions.0.transformer_blocks.0.attn1.processor."
    book.file("diffusers-old", {
        "unet." + attention + "to_v": entry(book, "unet." + attention.replace("processor.", "to_v"), **old),
        "unet." + attention + "to_out": entry(book, "unet." + TO_OUT, **old),
        "text_encoder." + TE + "self_attn.to_q": entry(book, "te1." + TE + "self_attn.q_proj", **old),
        "text_encoder." + TE + "self_attn.to_out": entry(book, "te1." + TE + "self_attn.out_proj", **old),
        "text_encoder_2." + TE + "self_attn.v_proj": entry(book, "te2." + TE + "self_attn.v_proj", **linear),
        "unet." + FF: entry(book, "unet." + FF, down=".lora.down.weight", up=".lora.up.weight"),
    })  # fmt: skip
    book.file("ldm-dotted", {"diffusion_model.input_blocks.4.1.transformer_blocks.0.attn1.to_q":
                             entry(book, "unet." + TO_Q, **peft)})  # fmt: skip
    book.file("onetrainer", {"unet." + TO_Q: entry(book, "unet." + TO_Q, **one), "lora_unet_conv_in": entry(book, "unet.conv_in", **one),
                             "lora_te2_text_projection": entry(book, "te2.text_projection", **one)})  # fmt: skip
    book.file("lycoris-names", {"lycoris_" + flat(TO_Q): entry(book, "unet." + TO_Q, **one)})
    book.file("no-prefix", {TO_Q: entry(book, "unet." + TO_Q, **peft)})
    book.file("comfy-text", {
        "text_encoders.clip_l.transformer." + TE + "mlp.fc1": entry(book, "te1." + TE + "mlp.fc1", **peft),
        "text_encoders.clip_g.transformer." + TE + "mlp.fc1": entry(book, "te2." + TE + "mlp.fc1", **peft),
    })  # fmt: skip
    qkv = ["te2." + TE + "self_attn.%s_proj" % p for p in "qkv"]
    ends, change = lora("fused", 192, 64, alpha=1.0)
    book.file("open-clip", {
        "lora_te2_transformer_resblocks_0_attn_in_proj": (qkv, ends, change),
        "lora_te2_transformer_resblocks_1_mlp_c_fc": entry(book, "te2.text_model.encoder.layers.1.mlp.fc1", **one),
    })  # fmt: skip
    book.file("as-convolution", {"lora_unet_" + flat("mid_block.resnets.0.conv1"):
                                 entry(book, "unet.mid_block.resnets.0.conv1", model="pruned", rank=1, **one),
                                 "lora_unet_" + flat("down_blocks.1.attentions.0.proj_in"):
                                 as_convolution(book)})  # fmt: skip
    for name in book.files:
        if name != "as-convolution":
            book.case([(name, 1.0)])
    book.case([("as-convolution", 0.75)], model="pruned")
    book.case([("kohya-diffusers", 0.5), ("peft", -1.5), ("kohya-ldm", 0.25)], note="in order")


def as_convolution(book):
    canonical = "unet.down_blocks.1.attentions.0.proj_in"
    out, inner, _ = sizes(book.models["pruned"], canonical)
    ends, change = lora("as-convolution", out, inner, alpha=4.0, kernel=(1, 1))
    return canonical, ends, change


# -------------------------------------------------------------------------------------------------------------- kinds
def kinds(book):
    first = len(book.files)
    q, conv, short = "lora_unet_" + TO_Q.replace(".", "_"), "lora_unet_conv_in", "lora_unet_" + SHORTCUT.replace(".", "_")
    down = "lora_unet_" + CONV.replace(".", "_")
    Q, IN, SHORT, DOWN = "unet." + TO_Q, "unet.conv_in", "unet." + SHORTCUT, "unet." + CONV
    a = lambda v: np.array(v, np.float16)  # noqa: E731

    def add(name, *rows):
        book.file(name, {stem: (module, ends, change) for stem, module, ends, change in rows})

    def summed(delta):  # an additive kind
        return lambda w, b: (w + delta(w).reshape(w.shape), None)

    def dora(delta, m, column=False):
        return lambda w, b: (am.dora(w, delta(w).reshape(w.shape), m, column), None)

    # LoCon, and Tucker
    c = {n: draw("tucker/" + n, *s) for n, s in {"down": (3, 64, 1, 1), "up": (64, 2, 1, 1), "mid": (2, 3, 3, 3)}.items()}
    add("locon", (conv, IN, *lora("locon", 64, 4, 2, 3.0, kernel=(3, 3))), (short, SHORT, *lora("l2", 128, 64, 2, 1.0, kernel=(1, 1))))
    add("locon-tucker", (down, DOWN, {".lora_down.weight": c["down"], ".lora_up.weight": c["up"], ".lora_mid.weight": c["mid"], ".alpha": a(1.5)},
                         summed(lambda w: 0.5 * am.tucker_lora(c["up"], c["mid"], c["down"]))))  # fmt: skip
    # LoHa
    h = {n: draw("hada/" + n, *s) for n, s in {"w1_a": (128, 2), "w1_b": (2, 128), "w2_a": (128, 2), "w2_b": (2, 128)}.items()}
    t = {n: draw("hada-t/" + n, *s) for n, s in {"w1_a": (2, 64), "w1_b": (2, 64), "w2_a": (2, 64), "w2_b": (2, 64),
                                                 "t1": (2, 2, 3, 3), "t2": (2, 2, 3, 3)}.items()}  # fmt: skip
    k = {n: draw("hada-c/" + n, *s) for n, s in {"w1_a": (64, 2), "w1_b": (2, 36), "w2_a": (64, 2), "w2_b": (2, 36)}.items()}
    named = lambda parts, prefix: {prefix + n: v for n, v in parts.items()}  # noqa: E731
    loha = lambda w: 0.5 * am.loha(h)  # noqa: E731
    add("loha", (q, Q, named(h, ".hada_") | {".alpha": a(1)}, summed(loha)), (conv, IN, named(k, ".hada_"), summed(lambda w: am.loha(k))))
    add("loha-tucker", (down, DOWN, named(t, ".hada_") | {".alpha": a(4)}, summed(lambda w: 2 * am.loha_tucker(t))))
    # LoKr
    full = {"w1": draw("kr/w1", 4, 8), "w2": draw("kr/w2", 32, 16)}
    both = {"w1_a": draw("kb/1a", 8, 2), "w1_b": draw("kb/1b", 2, 4), "w2_a": draw("kb/2a", 16, 3), "w2_b": draw("kb/2b", 3, 32)}
    half = {"w1": draw("kh/w1", 16, 2), "w2_a": draw("kh/2a", 4, 2), "w2_b": draw("kh/2b", 2, 2 * 9)}
    core = {"w1": draw("kt/w1", 8, 4), "w2_a": draw("kt/2a", 2, 8), "w2_b": draw("kt/2b", 3, 16), "t2": draw("kt/t2", 2, 3, 3, 3)}
    add("lokr-full", (q, Q, named(full, ".lokr_") | {".alpha": a(10000)}, summed(lambda w: am.lokr(full))))
    add("lokr-factored", (q, Q, named(both, ".lokr_") | {".alpha": a(6)}, summed(lambda w: 2 * am.lokr(both))),
        (conv, IN, named(half, ".lokr_") | {".alpha": a(1)}, summed(lambda w: 0.5 * am.lokr(half, (4, 2, 3, 3)))))  # fmt: skip
    add("lokr-tucker", (down, DOWN, named(core, ".lokr_") | {".alpha": a(1.5)}, summed(lambda w: 0.5 * am.lokr_tucker(core))))
    # DoRA
    m_row, m_column = draw("m/row", 128, 1, offset=1), draw("m/column", 1, 128, offset=1)
    m_in, m_vector = draw("m/in", 1, 4, 1, 1, offset=1), draw("m/vector", 128, offset=1)
    m_peft = draw("m/peft", 1, 64, 1, 1, offset=1)
    lq, lc = lora("dora/q", 128, 128, 2, 1.0)[0], lora("dora/c", 64, 4, 2, 3.0, kernel=(3, 3))[0]
    dq = lambda w: 0.5 * am.lora(lq[".lora_up.weight"], lq[".lora_down.weight"])  # noqa: E731
    dc = lambda w: 1.5 * am.lora(lc[".lora_up.weight"], lc[".lora_down.weight"])  # noqa: E731
    add("dora-rows", (q, Q, lq | {".dora_scale": m_row}, dora(dq, m_row)))
    add("dora-columns", (q, Q, lq | {".dora_scale": m_column}, dora(dq, m_column, True)), (conv, IN, lc | {".dora_scale": m_in}, dora(dc, m_in, True)))
    lp = lora("dora/p", 128, 128, 2, down=".lora_A.weight", up=".lora_B.weight")[0]
    lpc = lora("dora/pc", 64, 4, 2, down=".lora_A.weight", up=".lora_B.weight", kernel=(3, 3))[0]
    book.file("dora-peft", {
        "unet." + TO_Q: (Q, lp | {".lora_magnitude_vector": m_vector}, dora(lambda w: am.lora(lp[".lora_B.weight"], lp[".lora_A.weight"]), m_vector)),
        "unet.conv_in": (IN, lpc | {".lora_magnitude_vector": m_peft}, dora(lambda w: am.lora(lpc[".lora_B.weight"], lpc[".lora_A.weight"]), m_peft)),
    })  # fmt: skip
    add("dora-loha", (q, Q, named(h, ".hada_") | {".alpha": a(1), ".dora_scale": m_row}, dora(loha, m_row)))
    add("dora-lokr", (q, Q, named(both, ".lokr_") | {".alpha": a(6), ".dora_scale": m_row}, dora(lambda w: 2 * am.lokr(both), m_row)))
    # GLoRA
    g = {"a1": draw("g/a1", 128, 2), "a2": draw("g/a2", 2, 128), "b1": draw("g/b1", 128, 2), "b2": draw("g/b2", 2, 128)}
    old = {"a1": g["a2"], "a2": g["a1"], "b1": g["b2"], "b2": g["b1"]}
    gc = {"a1": draw("gc/a1", 4, 2), "a2": draw("gc/a2", 2, 4), "b1": draw("gc/b1", 64, 2), "b2": draw("gc/b2", 2, 4, 3, 3)}
    weights = lambda parts: {".%s.weight" % n: v for n, v in parts.items()}  # noqa: E731
    add("glora", (q, Q, weights(g) | {".alpha": a(1)}, summed(lambda w: 0.5 * am.glora(w, g))), (conv, IN, weights(gc), summed(lambda w: am.glora(w, gc))))
    add("glora-old", (q, Q, weights(old) | {".alpha": a(1)}, summed(lambda w: 0.5 * am.glora(w, g))))
    # IA3
    i_out, i_in, i_conv = draw("i/out", 128), draw("i/in", 128), draw("i/conv", 1, 4, 1, 1)
    one, zero = np.array(1, np.int64), np.array(0, np.int64)
    add("ia3", (q, Q, {".weight": i_out, ".on_input": zero}, lambda w, b: (w * (1 + i_out.astype(float))[:, None], None)),
        (conv, IN, {".weight": i_conv, ".on_input": one}, lambda w, b: (w * (1 + i_conv.astype(float)), None)))  # fmt: skip
    l_out, l_in = draw("i/peft", 512, 1, offset=1), draw("i/peft-in", 1, 128, offset=1)
    ff1 = "te1." + TE + "mlp.fc1"
    l_ff = draw("i/ff", sizes(book.models["kernel"], ff1)[0], 1, offset=1)
    book.file("ia3-peft", {
        "base_model.model." + TO_Q: (Q, {".ia3_l": l_in}, lambda w, b: (w * l_in.astype(float), None)),
        "text_encoder." + TE + "mlp.fc1": (ff1, {".ia3_l": l_ff}, lambda w, b: (w * l_ff.astype(float), b * l_ff.astype(float)[:, 0])),
    })  # fmt: skip
    # OFT, BOFT
    o, r = draw("oft/q", 16, 8, 8), draw("oft/r", 128, 1, offset=1)
    add("oft", (q, Q, {".oft_blocks": o}, lambda w, b: (am.oft(w, o), None)), (conv, IN, {".oft_blocks": o[:8], ".alpha": a(0)}, lambda w, b: (am.oft(w, o[:8]), None)))
    add("oft-constrained", (q, Q, {".oft_blocks": o, ".alpha": a(0.03), ".rescale": r}, lambda w, b: (am.oft(w, o, 0.03 * 1.0, r), None)))
    bo, bc = draw("boft/q", 3, 16, 8, 8), draw("boft/c", 2, 16, 4, 4)
    add("boft", (q, Q, {".oft_blocks": bo, ".alpha": a(0)}, lambda w, b: (am.boft(w, bo), None)), (conv, IN, {".oft_blocks": bc, ".alpha": a(0.0625)}, lambda w, b: (am.boft(w, bc, 0.0625), None)))
    # full differences, norms, biases
    norm = "down_blocks.0.resnets.0.norm1"
    d, db, dq_b, s = draw("full/d", 64, 4, 3, 3), draw("full/b", 64), draw("full/qb", 128), draw("full/s", 4, 64, 3, 3)
    wn, bn = draw("full/wn", 64), draw("full/bn", 64)
    nb = lambda b, v: (0 if b is None else b) + v.astype(float)  # noqa: E731
    add("full", (conv, IN, {".diff": d, ".diff_b": db}, lambda w, b: (w + d, nb(b, db))),
        (q, Q, {".diff_b": dq_b}, lambda w, b: (None, nb(b, dq_b))),
        ("lora_unet_conv_out", "unet.conv_out", {".set_weight": s}, lambda w, b: (s.astype(float), None)),
        ("lora_unet_" + norm.replace(".", "_"), "unet." + norm, {".w_norm": wn, ".b_norm": bn}, lambda w, b: (w + wn, b + bn)))  # fmt: skip
    for name in list(book.files)[first:]:
        book.case([(name, 1.0)])
        book.case([(name, 0.625)])
    book.case([("dora-rows", 1.0), ("lokr-full", -0.5), ("oft", 0.5), ("ia3", 2.0), ("dora-columns", 0.75)], note="they do not commute")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true")
    args = parser.parse_args()
    os.makedirs(OUT, exist_ok=True)
    book = Book()
    families(book)
    kinds(book)
    with open(os.path.join(OUT, "cases.json"), "w") as f:
        f.write("[\n" + ",\n".join(json.dumps(c, separators=(",", ":")) for c in book.cases) + "\n]\n")
    print("%d files, %d cases, %d bytes" % (len(book.files), len(book.cases), sum(e.stat().st_size for e in os.scandir(OUT))))
    if args.check:
        import adapters_check

        adapters_check.run(book)


if __name__ == "__main__":
    main()
