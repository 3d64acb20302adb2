"""The names of one ldm/sgm single file for the parameters of diffusers and transformers modules.

Each function yields (ldm name, operation, [canonical names]). Operations: "copy" (the shape may gain or lose
trailing ones: `shape` says), "stack" (rows one after the other), "transpose" (a matrix).
Canonical names are the modules' own after "unet.", "vae.", "te1.text_model.", "te2.".
"""

RESNET = {
    "norm1": "in_layers.0",
    "conv1": "in_layers.2",
    "time_emb_proj": "emb_layers.1",
    "norm2": "out_layers.0",
    "conv2": "out_layers.3",
    "conv_shortcut": "skip_connection",
}
UNET_SINGLE = {
    "conv_in": "input_blocks.0.0",
    "conv_norm_out": "out.0",
    "conv_out": "out.2",
    "time_embedding.linear_1": "time_embed.0",
    "time_embedding.linear_2": "time_embed.2",
    "add_embedding.linear_1": "label_emb.0.0",
    "add_embedding.linear_2": "label_emb.0.2",
}
VAE_ATTENTION = {"group_norm": "norm", "to_q": "q", "to_k": "k", "to_v": "v", "to_out.0": "proj_out"}


def split(name):
    """"a.b.weight" -> ("a.b", ".weight")"""
    stem, kind = name.rsplit(".", 1)
    return stem, "." + kind


def unet_stem(parts, levels, layers):
    """The ldm name of a module path that starts with down_blocks, mid_block or up_blocks."""
    kind = parts[0]
    if kind == "mid_block":
        block, rest = parts[1], parts[3:]
        slot = 1 if block == "attentions" else 2 * int(parts[2])
        base = "middle_block.%d" % slot
    else:
        level, block, index, rest = int(parts[1]), parts[2], int(parts[3]), parts[4:]
        if kind == "down_blocks":
            i = 1 + level * (layers + 1) + (index if block != "downsamplers" else layers)
            base = "input_blocks.%d" % i
        else:
            i = level * (layers + 1) + (index if block != "upsamplers" else layers)
            base = "output_blocks.%d" % i
        if block == "downsamplers":
            return base + ".0.op"
        base += {"resnets": ".0", "attentions": ".1"}.get(block, "")
    if block == "resnets":
        return base + "." + RESNET[".".join(rest)]
    return base + "." + ".".join(rest)


def unet(names, levels, layers):
    attended = {n.split(".")[1] for n in names if n.startswith("up_blocks") and ".attentions." in n}
    for name in names:
        stem, kind = split(name)
        parts = stem.split(".")
        if stem in UNET_SINGLE:
            new = UNET_SINGLE[stem]
        elif parts[0] == "up_blocks" and parts[2] == "upsamplers":
            i = int(parts[1]) * (layers + 1) + layers
            new = "output_blocks.%d.%d.conv" % (i, 2 if parts[1] in attended else 1)
        else:
            new = unet_stem(parts, levels, layers)
        yield "model.diffusion_model." + new + kind, "copy", ["unet." + name]


def vae_stem(stem, levels):
    parts = stem.split(".")
    if parts[0] in ("quant_conv", "post_quant_conv"):
        return stem
    half, part, rest = parts[0], parts[1], parts[2:]
    if part in ("conv_in", "conv_out"):
        return stem
    if part == "conv_norm_out":
        return half + ".norm_out"
    if part == "mid_block":
        if rest[0] == "attentions":
            return half + ".mid.attn_1." + VAE_ATTENTION[".".join(rest[2:])]
        return half + ".mid.block_%d.%s" % (int(rest[1]) + 1, ".".join(rest[2:]))
    level = int(rest[0])
    if part == "up_blocks":
        level = levels - 1 - level
    base = "%s.%s.%d." % (half, "down" if part == "down_blocks" else "up", level)
    if rest[1] == "resnets":
        return base + "block.%s.%s" % (rest[2], rest[3].replace("conv_shortcut", "nin_shortcut"))
    return base + {"downsamplers": "downsample", "upsamplers": "upsample"}[rest[1]] + ".conv"


def vae(names, levels):
    for name in names:
        stem, kind = split(name)
        yield "first_stage_model." + vae_stem(stem, levels) + kind, "copy", ["vae." + name]


def text_1(names):
    for name in names:  # names start with text_model.
        yield "conditioner.embedders.0.transformer." + name, "copy", ["te1." + name]


OPEN_CLIP = {
    "self_attn.out_proj": "attn.out_proj",
    "layer_norm1": "ln_1",
    "layer_norm2": "ln_2",
    "mlp.fc1": "mlp.c_fc",
    "mlp.fc2": "mlp.c_proj",
}
OPEN_CLIP_SINGLE = {
    "text_model.embeddings.token_embedding.weight": "token_embedding.weight",
    "text_model.embeddings.position_embedding.weight": "positional_embedding",
    "text_model.final_layer_norm.weight": "ln_final.weight",
    "text_model.final_layer_norm.bias": "ln_final.bias",
}


def text_2(names):
    prefix = "conditioner.embedders.1.model."
    for name in names:
        if name == "text_projection.weight":
            yield prefix + "text_projection", "transpose", ["te2." + name]
        elif name in OPEN_CLIP_SINGLE:
            yield prefix + OPEN_CLIP_SINGLE[name], "copy", ["te2." + name]
        else:
            stem, kind = split(name)
            layer, part = stem.split(".", 4)[3:]
            base = prefix + "transformer.resblocks.%s." % layer
            if part == "self_attn.q_proj":
                thirds = ["te2." + name.replace("q_proj", p + "_proj") for p in "qkv"]
                yield base + "attn.in_proj_" + kind[1:], "stack", thirds
            elif part not in ("self_attn.k_proj", "self_attn.v_proj"):
                yield base + OPEN_CLIP[part] + kind, "copy", ["te2." + name]
