/* An adapter file from the fuzzer's bytes, opened against a small model and applied to every tensor that it touches.
 *
 * Byte 0 chooses: odd inputs are files as they are; of even ones bytes 1 and 2 say how long the header is, so that most
 * mutated headers are still parsed. The model is one file of zeros with one module of each shape. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "weights/adapter.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { LENGTH_BYTES = 8, PATH_BYTES = 64, NAME_BYTES = 256 };

/* Of the model: original names. */
static const struct {
    const char *name, *shape;
    size_t count;
} stored[] = {
    {"model.diffusion_model.time_embed.0.weight", "[8,8]", 64},
    {"model.diffusion_model.label_emb.0.0.weight", "[8,8]", 64},
    {"model.diffusion_model.input_blocks.0.0.weight", "[8,4,3,3]", 288},
    {"model.diffusion_model.input_blocks.0.0.bias", "[8]", 8},
    {"model.diffusion_model.input_blocks.1.0.in_layers.0.weight", "[8]", 8},
    {"model.diffusion_model.input_blocks.1.0.in_layers.0.bias", "[8]", 8},
    {"model.diffusion_model.input_blocks.1.1.transformer_blocks.0.attn1.to_q.weight", "[16,16]",
     256},
    {"model.diffusion_model.input_blocks.1.1.transformer_blocks.0.attn2.to_k.weight", "[16,32]",
     512},
    {"conditioner.embedders.1.model.transformer.resblocks.0.attn.in_proj_weight", "[24,8]", 192},
};
enum { N_STORED = sizeof stored / sizeof *stored, MAX_VALUES = 512 };

/* What to ask for, and how many values it has. */
static const struct {
    const char *name;
    size_t count;
} asked[] = {
    {"unet.time_embedding.linear_1.weight", 64},
    {"unet.conv_in.weight", 288},
    {"unet.conv_in.bias", 8},
    {"unet.down_blocks.0.resnets.0.norm1.weight", 8},
    {"unet.down_blocks.0.resnets.0.norm1.bias", 8},
    {"unet.down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q.weight", 256},
    {"unet.down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q.bias", 16},
    {"unet.down_blocks.0.attentions.0.transformer_blocks.0.attn2.to_k.weight", 512},
    {"te2.text_model.encoder.layers.0.self_attn.q_proj.weight", 64},
    {"te2.text_model.encoder.layers.0.self_attn.v_proj.weight", 64},
};

/* A file of memory with these bytes; its path. */
static int make_file(char path[PATH_BYTES]) {
    int fd = memfd_create("fuzz", 0);
    snprintf(path, PATH_BYTES, "/proc/self/fd/%d", fd);
    return fd;
}

static tt_checkpoint *make_model(void) {
    char header[4096], path[PATH_BYTES];
    static const float zeros[MAX_VALUES];
    size_t at = 0, offset = 0;
    int fd = make_file(path);
    for (int i = 0; i < N_STORED; i++) {
        size_t end = offset + stored[i].count * sizeof *zeros;
        at +=
            (size_t)snprintf(header + at, sizeof header - at,
                             "%s\"%s\":{\"dtype\":\"F32\",\"shape\":%s,\"data_offsets\":[%zu,%zu]}",
                             i ? "," : "{", stored[i].name, stored[i].shape, offset, end);
        offset = end;
    }
    at += (size_t)snprintf(header + at, sizeof header - at, "}");
    uint64_t length = at;
    if (write(fd, &length, LENGTH_BYTES) != LENGTH_BYTES || write(fd, header, at) != (ssize_t)at)
        abort();
    for (int i = 0; i < N_STORED; i++)
        if (write(fd, zeros, stored[i].count * sizeof *zeros) < 0) abort();
    tt_err err;
    tt_checkpoint *c;
    if (tt_checkpoint_open(path, &c, &err) != TT_OK) {
        fprintf(stderr, "%s\n", err.message);
        abort();
    }
    close(fd);
    return c;
}

static void apply_all(const tt_checkpoint *model, const char *path) {
    tt_adapter *a;
    tt_err err;
    float values[MAX_VALUES];
    tt_adapter_strength s = tt_adapter_strength_all(0.5f);
    if (tt_adapter_open(path, model, &a, &err) != TT_OK) {
        if (!err.message[0] || strchr(err.message, '\n')) abort(); /* one sentence */
        return;
    }
    const tt_adapter_report *r = tt_adapter_get_report(a);
    if (r->n_matched + r->n_unmatched != r->n_keys || r->n_matched == 0) abort();
    for (size_t i = 0; i < sizeof asked / sizeof *asked; i++) {
        for (size_t k = 0; k < asked[i].count; k++) values[k] = (float)(k % 7) - 3;
        bool touched = tt_adapter_touches(a, asked[i].name, &s);
        tt_status status = tt_adapter_apply(a, asked[i].name, &s, values, asked[i].count, NULL);
        if (!touched && status == TT_OK)
            for (size_t k = 0; k < asked[i].count; k++)
                if (values[k] != (float)(k % 7) - 3) abort();
    }
    tt_adapter_close(a);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static tt_checkpoint *model; /* of the process: it never changes */
    char path[PATH_BYTES];
    if (!model) model = make_model();
    if (size < 3) return 0;
    int fd = make_file(path);
    if (fd < 0) return 0;
    uint64_t length = (uint64_t)data[1] | (uint64_t)data[2] << 8;
    if (length > size - 3) length = size - 3;
    bool ok = data[0] & 1 || write(fd, &length, LENGTH_BYTES) == LENGTH_BYTES;
    ok = ok && write(fd, data + 3, size - 3) == (ssize_t)(size - 3);
    if (ok) apply_all(model, path);
    close(fd);
    return 0;
}
