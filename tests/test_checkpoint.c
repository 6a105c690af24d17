/*
 * test_checkpoint.c - readers of checkpoints: one made-up model, written in every
 * format, gives the same logits; broken files are refused with the place.
 *
 * Its weights are whole sixteenths from -8 to 7, which every type holds exactly.
 */
#include <dirent.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../harness/error.h"
#include "../kernels/common/half.h"
#include "../suites/data/alloc.h"
#include "../suites/data/checkpoint.h"
#include "../suites/models/llama.h"
#include "test.h"

enum { VOCAB = 96, DIM = 64, HIDDEN = 96, LAYERS = 2, HEADS = 4, KV = 2, HEAD = 16, CONTEXT = 16 };
enum { LENGTH = 11, MOST = 9 * 4096 };

static char folder[64] = "/tmp/claimbench_checkpoint_XXXXXX";

static const char *in_folder(const char *file, char out[256])
{
    snprintf(out, 256, "%s/%s", folder, file);
    return out;
}

/* ---- the model ---- */

static unsigned state;

static unsigned next(void)
{
    state = state * 1664525 + 1013904223; /* any generator will do */
    return state >> 24;
}

/* Elements of a tensor, the same whenever asked for; vectors are near 1. */
static void fill(int seed, int rows, int cols, float *w)
{
    state = (unsigned)seed * 2654435761u + 1;
    for (int i = 0; i < rows * cols; i++)
        w[i] = rows == 1 ? 1 + (float)(next() % 4) / 8 : ((float)(next() % 16) - 8) / 16;
    if (rows > 1 && cols % 32 == 0) /* both ends of the codes in every block */
        for (int i = 0; i < rows * cols; i += 32) {
            w[i] = -0.5f;
            w[i + 1] = 7 / 16.0f;
        }
}

/* Adjacent pairs to halves, in every head. */
static void to_halves(int rows, int cols, float *w)
{
    static float old[MOST];
    memcpy(old, w, sizeof *w * (size_t)rows * (size_t)cols);
    for (int r = 0; r < rows; r++) {
        const int head = r / HEAD, i = r % HEAD;
        const int to = head * HEAD + (i % 2 ? HEAD / 2 : 0) + i / 2;
        memcpy(w + to * cols, old + r * cols, sizeof *w * (size_t)cols);
    }
}

struct part {
    int seed, rows, cols;
    enum checkpoint_slot slot;
    const char *hf, *gguf; /* %d: layer */
};

static const struct part parts[] = {
    { 100, 1, DIM, SLOT_ATTN_NORM, "model.layers.%d.input_layernorm.weight",
      "blk.%d.attn_norm.weight" },
    { 200, HEADS * HEAD, DIM, SLOT_Q, "model.layers.%d.self_attn.q_proj.weight",
      "blk.%d.attn_q.weight" },
    { 300, KV * HEAD, DIM, SLOT_K, "model.layers.%d.self_attn.k_proj.weight",
      "blk.%d.attn_k.weight" },
    { 400, KV * HEAD, DIM, SLOT_V, "model.layers.%d.self_attn.v_proj.weight",
      "blk.%d.attn_v.weight" },
    { 500, DIM, HEADS * HEAD, SLOT_O, "model.layers.%d.self_attn.o_proj.weight",
      "blk.%d.attn_output.weight" },
    { 600, 1, DIM, SLOT_FFN_NORM, "model.layers.%d.post_attention_layernorm.weight",
      "blk.%d.ffn_norm.weight" },
    { 700, HIDDEN, DIM, SLOT_GATE, "model.layers.%d.mlp.gate_proj.weight",
      "blk.%d.ffn_gate.weight" },
    { 800, DIM, HIDDEN, SLOT_DOWN, "model.layers.%d.mlp.down_proj.weight",
      "blk.%d.ffn_down.weight" },
    { 900, HIDDEN, DIM, SLOT_UP, "model.layers.%d.mlp.up_proj.weight", "blk.%d.ffn_up.weight" },
    { 1000, 1, HEADS * HEAD, SLOT_Q_BIAS, "model.layers.%d.self_attn.q_proj.bias",
      "blk.%d.attn_q.bias" },
    { 1100, 1, KV * HEAD, SLOT_K_BIAS, "model.layers.%d.self_attn.k_proj.bias",
      "blk.%d.attn_k.bias" },
    { 1200, 1, KV * HEAD, SLOT_V_BIAS, "model.layers.%d.self_attn.v_proj.bias",
      "blk.%d.attn_v.bias" },
};
static const struct part top[] = {
    { 1, VOCAB, DIM, SLOTS, "model.embed_tokens.weight", "token_embd.weight" },
    { 2, 1, DIM, SLOTS, "model.norm.weight", "output_norm.weight" },
    { 3, VOCAB, DIM, SLOTS, "lm_head.weight", "output.weight" },
};
/* What Llama 3's scaling is in a GGUF: divisors of the frequencies. */
static const struct part factors = { 4, 1, HEAD / 2, SLOTS, NULL, "rope_freqs.weight" };
static bool with_factors; /* of the next GGUF */
enum { PARTS = sizeof parts / sizeof *parts, WITHOUT_BIAS = PARTS - 3 };

/* ---- writing ---- */

static void put(FILE *f, const void *p, size_t n)
{
    CHECK(fwrite(p, 1, n, f) == n);
}

static void put_u32(FILE *f, uint32_t v)
{
    put(f, &v, sizeof v);
}

static void put_u64(FILE *f, uint64_t v)
{
    put(f, &v, sizeof v);
}

static void put_text(FILE *f, const char *text)
{
    put_u64(f, strlen(text));
    put(f, text, strlen(text));
}

static size_t encode(enum tensor_dtype dtype, const float *w, int n, unsigned char *out)
{
    const half_bits scale = half_from_float(0.0625f), least = half_from_float(-0.5f);
    unsigned char *p = out;
    for (int i = 0; i < n; i++) {
        const half_bits h = half_from_float(w[i]);
        const uint32_t bits = half_float_bits(w[i]);
        if (dtype == TENSOR_F32) {
            memcpy(p, &w[i], 4);
            p += 4;
        } else if (dtype == TENSOR_F16 || dtype == TENSOR_BF16) {
            const uint16_t u = dtype == TENSOR_F16 ? h : (uint16_t)(bits >> 16);
            memcpy(p, &u, 2);
            p += 2;
        } else if (i % 32 == 0) {
            memcpy(p, &scale, 2);
            memcpy(p + 2, &least, dtype == TENSOR_Q4_1 ? 2 : 0);
            p += dtype == TENSOR_Q4_1 ? 4 : 2;
            for (int j = 0; j < 32; j++) {
                const int q = (int)lrintf(w[i + j] * 16);
                if (dtype == TENSOR_Q8_0)
                    p[j] = (unsigned char)q;
                else if (j < 16)
                    p[j] = (unsigned char)(q + 8);
                else
                    p[j - 16] |= (unsigned char)((q + 8) << 4);
            }
            p += dtype == TENSOR_Q8_0 ? 32 : 16;
        }
    }
    return (size_t)(p - out);
}

static void write_llama2c(const char *path, bool tied)
{
    static float w[MOST];
    const int32_t head[] = { DIM, HIDDEN, LAYERS, HEADS, KV, tied ? VOCAB : -VOCAB, CONTEXT };
    FILE *f = fopen(path, "wb");
    CHECK(f);
    put(f, head, sizeof head);
    fill(top[0].seed, VOCAB, DIM, w);
    put(f, w, sizeof *w * VOCAB * DIM);
    for (int p = 0; p < WITHOUT_BIAS; p++) /* their order is that of the format */
        for (int l = 0; l < LAYERS; l++) {
            fill(parts[p].seed + l, parts[p].rows, parts[p].cols, w);
            put(f, w, sizeof *w * (size_t)(parts[p].rows * parts[p].cols));
        }
    fill(top[1].seed, 1, DIM, w);
    put(f, w, sizeof *w * DIM);
    memset(w, 0, sizeof *w * CONTEXT * HEAD);
    put(f, w, sizeof *w * CONTEXT * HEAD);
    if (!tied) {
        fill(top[2].seed, VOCAB, DIM, w);
        put(f, w, sizeof *w * VOCAB * DIM);
    }
    CHECK(!fclose(f));
}

/* The matrices of type dtype, vectors FP32; bias: an architecture that has them. */
static void write_gguf(const char *path, enum tensor_dtype dtype, bool tied, bool bias)
{
    static const uint32_t code[] = { [TENSOR_F32] = 0, [TENSOR_F16] = 1, [TENSOR_Q4_1] = 3,
                                     [TENSOR_Q8_0] = 8, [TENSOR_BF16] = 30 };
    static float w[MOST];
    static unsigned char stored[4 * MOST];
    const struct { const char *key; uint32_t value; } numbers[] = {
        { "embedding_length", DIM }, { "feed_forward_length", HIDDEN },
        { "block_count", LAYERS },   { "attention.head_count", HEADS },
        { "context_length", CONTEXT }, { "attention.head_count_kv", KV },
    };
    const char *arch = bias ? "qwen2" : "llama";
    char name[128];
    FILE *f = fopen(path, "wb");
    CHECK(f);
    put(f, "GGUF", 4);
    put_u32(f, 3);
    put_u64(f, (uint64_t)((bias ? PARTS : WITHOUT_BIAS) * LAYERS + (tied ? 2 : 3) + with_factors));
    put_u64(f, 8 + 1);
    put_text(f, "general.architecture");
    put_u32(f, 8);
    put_text(f, arch);
    for (size_t i = 0; i < 6; i++) {
        snprintf(name, sizeof name, "%s.%s", arch, numbers[i].key);
        put_text(f, name);
        put_u32(f, 4);
        put_u32(f, numbers[i].value);
    }
    snprintf(name, sizeof name, "%s.attention.layer_norm_rms_epsilon", arch);
    put_text(f, name);
    put_u32(f, 6);
    put(f, &(float){ 1e-5f }, 4);
    put_text(f, "of.no.use");
    put_u32(f, 9);
    put_u32(f, 8);
    put_u64(f, 2);
    put_text(f, "a");
    put_text(f, "");
    for (int pass = 0; pass < 2; pass++) { /* entries, then data */
        uint64_t offset = 0;
        long start = 0;
        if (pass) {
            while (ftell(f) % 32)
                put(f, "", 1);
            start = ftell(f);
        }
        const int of_layers = 3 + PARTS * LAYERS;
        for (int i = 0; i < of_layers + with_factors; i++) {
            const bool last = i == of_layers;
            const struct part *p = last ? &factors : i < 3 ? &top[i] : &parts[(i - 3) / LAYERS];
            const int layer = i < 3 || last ? 0 : (i - 3) % LAYERS;
            const enum tensor_dtype as = p->rows == 1 ? TENSOR_F32 : dtype;
            if ((i == 2 && tied) || (!last && i >= 3 && (i - 3) / LAYERS >= WITHOUT_BIAS && !bias))
                continue;
            fill(p->seed + layer, p->rows, p->cols, w);
            if (bias && (p->slot == SLOT_Q || p->slot == SLOT_K))
                to_halves(p->rows, p->cols, w);
            if (bias && (p->slot == SLOT_Q_BIAS || p->slot == SLOT_K_BIAS))
                to_halves(p->cols, 1, w);
            const size_t bytes = encode(as, w, p->rows * p->cols, stored);
            if (pass) {
                while ((ftell(f) - start) % 32)
                    put(f, "", 1);
                put(f, stored, bytes);
                continue;
            }
            const char *rest = strstr(p->gguf, "%d");
            if (rest)
                snprintf(name, sizeof name, "%.*s%d%s", (int)(rest - p->gguf), p->gguf, layer,
                         rest + 2);
            else
                snprintf(name, sizeof name, "%s", p->gguf);
            put_text(f, name);
            put_u32(f, p->rows == 1 ? 1 : 2);
            put_u64(f, (uint64_t)p->cols);
            if (p->rows > 1)
                put_u64(f, (uint64_t)p->rows);
            put_u32(f, code[as]);
            put_u64(f, offset);
            offset = (offset + bytes + 31) / 32 * 32;
        }
    }
    CHECK(!fclose(f));
}

/* The tensors of number i with i % of == part. */
static void write_safetensors(const char *path, enum tensor_dtype dtype, bool tied, bool bias,
                              int part, int of, FILE *index)
{
    static float w[MOST];
    static unsigned char stored[4 * MOST];
    static char header[1 << 16];
    size_t used = 0, at = 0;
    FILE *f = fopen(path, "wb");
    CHECK(f);
    for (int pass = 0; pass < 2; pass++) {
        for (int i = 0; i < 3 + PARTS * LAYERS; i++) {
            const struct part *p = i < 3 ? &top[i] : &parts[(i - 3) / LAYERS];
            const int layer = i < 3 ? 0 : (i - 3) % LAYERS;
            if ((i == 2 && tied) || (i >= 3 && (i - 3) / LAYERS >= WITHOUT_BIAS && !bias) ||
                i % of != part)
                continue;
            fill(p->seed + layer, p->rows, p->cols, w);
            if (p->slot == SLOT_Q || p->slot == SLOT_K)
                to_halves(p->rows, p->cols, w);
            if (p->slot == SLOT_Q_BIAS || p->slot == SLOT_K_BIAS)
                to_halves(p->cols, 1, w);
            const size_t bytes = encode(dtype, w, p->rows * p->cols, stored);
            if (pass) {
                put(f, stored, bytes);
                continue;
            }
            char name[128], shape[32];
            const char *rest = strstr(p->hf, "%d");
            if (rest)
                snprintf(name, sizeof name, "%.*s%d%s", (int)(rest - p->hf), p->hf, layer,
                         rest + 2);
            else
                snprintf(name, sizeof name, "%s", p->hf);
            snprintf(shape, sizeof shape, p->rows == 1 ? "%d" : "%d,%d",
                     p->rows == 1 ? p->cols : p->rows, p->cols);
            used += (size_t)snprintf(header + used, sizeof header - used,
                                     "%s\"%s\":{\"dtype\":\"%s\",\"shape\":[%s],"
                                     "\"data_offsets\":[%zu,%zu]}",
                                     used ? "," : "{\"__metadata__\":{\"format\":\"pt\"},", name,
                                     tensor_dtype_name(dtype), shape, at, at + bytes);
            at += bytes;
            if (index)
                fprintf(index, "%s\"%s\":\"%s\"", i ? "," : "", name, strrchr(path, '/') + 1);
        }
        if (!pass) {
            header[used++] = '}';
            put_u64(f, used);
            put(f, header, used);
        }
    }
    CHECK(!fclose(f));
}

static const char *rope = "null"; /* of the next config.json */

static void write_folder(const char *path, enum tensor_dtype dtype, bool tied, bool bias,
                         int shards)
{
    char file[512];
    CHECK(!mkdir(path, 0700));
    snprintf(file, sizeof file, "%s/config.json", path);
    FILE *f = fopen(file, "w");
    CHECK(f);
    fprintf(f, "{\"model_type\":\"%s\",\"hidden_act\":\"silu\",\"vocab_size\":%d,"
               "\"hidden_size\":%d,\"intermediate_size\":%d,\"num_hidden_layers\":%d,"
               "\"num_attention_heads\":%d,\"num_key_value_heads\":%d,"
               "\"max_position_embeddings\":%d,\"rms_norm_eps\":1e-05,\"rope_theta\":10000.0,"
               "\"rope_scaling\":%s,\"tie_word_embeddings\":%s,\"torch_dtype\":\"float16\"}",
            bias ? "qwen2" : "llama", VOCAB, DIM, HIDDEN, LAYERS, HEADS, KV, CONTEXT, rope,
            tied ? "true" : "false");
    CHECK(!fclose(f));
    if (shards == 1) {
        snprintf(file, sizeof file, "%s/model.safetensors", path);
        write_safetensors(file, dtype, tied, bias, 0, 1, NULL);
        return;
    }
    snprintf(file, sizeof file, "%s/model.safetensors.index.json", path);
    f = fopen(file, "w");
    CHECK(f);
    fprintf(f, "{\"metadata\":{\"total_size\":1},\"weight_map\":{");
    for (int i = 0; i < shards; i++) {
        snprintf(file, sizeof file, "%s/model-%05d-of-%05d.safetensors", path, i + 1, shards);
        write_safetensors(file, dtype, tied, bias, i, shards, f);
    }
    fprintf(f, "}}");
    CHECK(!fclose(f));
}

/* ---- reading ---- */

struct seen {
    float *logits;
};

static int see(void *context, int position, const float *logits)
{
    struct seen *s = context;
    memcpy(s->logits + (size_t)position * VOCAB, logits, VOCAB * sizeof *logits);
    return 0;
}

/* Logits of a fixed sequence: whole, or a token at a time. */
static bool run_loaded(const struct checkpoint *c, bool resident, bool steps, float *logits)
{
    struct llama m;
    int token[LENGTH];
    struct seen s = { logits };
    for (int i = 0; i < LENGTH; i++)
        token[i] = (i * 37 + 5) % VOCAB;
    bool fine = c->config.norm_eps > 0.99e-5 && !llama_open(c, resident, &m);
    struct llama_state *state_of = fine ? llama_begin(&m, LENGTH) : NULL;
    fine = fine && state_of;
    for (int i = 0; fine && steps && i < LENGTH; i++)
        fine = !llama_feed(state_of, &token[i], 1, logits + (size_t)i * VOCAB);
    if (fine && !steps)
        fine = !llama_each(state_of, token, LENGTH, see, &s);
    llama_end(state_of);
    llama_close(&m);
    return fine;
}

/* The same from a file. */
static bool run(const char *path, bool resident, bool steps, float *logits)
{
    struct checkpoint c;
    if (checkpoint_load(path, &c)) {
        printf("%s\n", cb_error_text());
        return false;
    }
    const bool fine = run_loaded(&c, resident, steps, logits);
    checkpoint_free(&c);
    return fine;
}

static double apart(const float *a, const float *b)
{
    double most = 0;
    for (int i = 0; i < LENGTH * VOCAB; i++)
        most = fmax(most, fabs((double)a[i] - (double)b[i]));
    return most;
}

static void test_formats(void)
{
    static const enum tensor_dtype types[] = { TENSOR_F32, TENSOR_F16, TENSOR_BF16, TENSOR_Q4_1,
                                               TENSOR_Q8_0 };
    static float want[2][LENGTH * VOCAB], have[LENGTH * VOCAB];
    char path[256], name[64];
    for (int tied = 0; tied < 2; tied++) {
        snprintf(name, sizeof name, "tied%d.bin", tied);
        write_llama2c(in_folder(name, path), tied);
        CHECK(run(path, false, false, want[tied]));
        CHECK(run(path, true, true, have));
        CHECK_NEAR(apart(have, want[tied]), 0, 1e-3);
        for (size_t i = 0; i < 5; i++) {
            snprintf(name, sizeof name, "tied%d_%s.gguf", tied, tensor_dtype_name(types[i]));
            write_gguf(in_folder(name, path), types[i], tied, false);
            for (int way = 0; way < 4; way++) {
                CHECK(run(path, way & 1, way & 2, have));
                CHECK_NEAR(apart(have, want[tied]), 0, 1e-3);
            }
        }
        for (size_t i = 0; i < 3; i++) {
            const int shards = (int)i + 1;
            snprintf(name, sizeof name, "tied%d_%s_%d", tied, tensor_dtype_name(types[i]), shards);
            write_folder(in_folder(name, path), types[i], tied, false, shards);
            CHECK(run(path, false, false, have));
            CHECK_NEAR(apart(have, want[tied]), 0, 1e-3);
        }
    }
    CHECK(apart(want[0], want[1]) > 0.1); /* so the comparison can fail */
}

static void test_biases(void)
{
    static float a[LENGTH * VOCAB], b[LENGTH * VOCAB], plain[LENGTH * VOCAB];
    char path[256];
    write_gguf(in_folder("bias.gguf", path), TENSOR_F16, true, true);
    CHECK(run(path, false, false, a));
    write_folder(in_folder("bias", path), TENSOR_BF16, true, true, 2);
    CHECK(run(path, false, true, b));
    CHECK_NEAR(apart(a, b), 0, 1e-3);
    CHECK(run(in_folder("tied1.bin", path), false, false, plain));
    CHECK(apart(a, plain) > 0.1);
}

/* A folder as Qwen's with the scaling of Llama 3's, as old and new writers name it, runs as the
 * same weights with that config put in by hand, and so does a GGUF with divisors; factors in the
 * wrong order are refused. */
static void test_scaled(void)
{
    static const char *const asks[] = {
        "{\"type\":\"llama3\",\"factor\":8.0,\"low_freq_factor\":1.0,"
        "\"high_freq_factor\":4.0,\"original_max_position_embeddings\":16}",
        "{\"rope_type\":\"llama3\",\"factor\":8.0,\"low_freq_factor\":1.0,"
        "\"high_freq_factor\":4.0,\"original_max_position_embeddings\":16}",
        "{\"rope_type\":\"linear\",\"factor\":8.0}",
        "{\"rope_type\":\"llama3\",\"factor\":8.0,\"low_freq_factor\":4.0,"
        "\"high_freq_factor\":1.0,\"original_max_position_embeddings\":16}",
    };
    static float plain[LENGTH * VOCAB], want[2][LENGTH * VOCAB], have[LENGTH * VOCAB];
    static float divided[LENGTH * VOCAB];
    char path[256], name[32];
    struct checkpoint c;
    write_folder(in_folder("unscaled", path), TENSOR_F16, true, true, 1);
    CHECK(!checkpoint_load(path, &c));
    CHECK(c.config.qkv_bias && c.config.tied && c.config.rope_scaling == ROPE_PLAIN);
    CHECK(run_loaded(&c, true, false, plain));
    for (int i = 0; i < 2; i++) {
        c.config.rope_scaling = i ? ROPE_LINEAR : ROPE_LLAMA3;
        c.config.rope_factor = 8;
        c.config.rope_low = 1;
        c.config.rope_high = 4;
        c.config.rope_original = 16;
        CHECK(run_loaded(&c, true, false, want[i]));
        CHECK(apart(want[i], plain) > 1e-2); /* so the comparison can fail */
    }
    CHECK(apart(want[0], want[1]) > 1e-2);
    float divisor[HEAD / 2];
    fill(factors.seed, 1, HEAD / 2, divisor);
    c.config.rope_scaling = ROPE_PLAIN;
    c.rope_factors = (struct tensor){ .dtype = TENSOR_F32, .rows = 1, .cols = HEAD / 2,
                                      .data = divisor };
    CHECK(run_loaded(&c, true, false, divided) && apart(divided, plain) > 1e-2);
    checkpoint_free(&c);
    with_factors = true;
    write_gguf(in_folder("factors.gguf", path), TENSOR_Q8_0, true, true);
    with_factors = false;
    CHECK(run(path, false, false, have));
    CHECK_NEAR(apart(have, divided), 0, 1e-3);
    for (int i = 0; i < 4; i++) {
        snprintf(name, sizeof name, "scaled%d", i);
        rope = asks[i];
        write_folder(in_folder(name, path), TENSOR_F16, true, true, 1);
        if (i < 3) {
            CHECK(run(path, false, false, have));
            CHECK_NEAR(apart(have, want[i == 2]), 0, 1e-3);
        } else {
            CHECK(checkpoint_load(path, &c) == -1);
            CHECK(strstr(cb_error_text(), "frequency factors 4 and 1") != NULL);
        }
    }
    rope = "null";
}

/* A file cut anywhere is refused, and running out of memory anywhere is survived. */
static void test_cut(const char *name)
{
    char path[256], cut[256];
    struct checkpoint c;
    FILE *f = fopen(in_folder(name, path), "rb");
    static char data[1 << 20];
    const size_t size = f ? fread(data, 1, sizeof data, f) : 0;
    CHECK(f && size && size < sizeof data && !fclose(f));
    snprintf(cut, sizeof cut, "%s/cut%s", folder, strrchr(name, '.'));
    int taken = 0;
    for (size_t n = 1; n < size; n += n < 2048 ? 5 : 9973) {
        f = fopen(cut, "wb");
        CHECK(f && fwrite(data, 1, n, f) == n && !fclose(f));
        taken += !checkpoint_load(cut, &c);
        CHECK(!c.layer && !c.file);
    }
    CHECK(taken == 0);
    const long before = data_alloc_live();
    int status = -1;
    for (long fail = 1; fail < 100 && status; fail++) {
        data_alloc_fail_at(fail);
        status = checkpoint_load(path, &c);
        data_alloc_fail_at(0);
        CHECK(!status || data_alloc_live() == before);
    }
    CHECK(!status);
    checkpoint_free(&c);
    CHECK(data_alloc_live() == before);
}

static void test_totals(void)
{
    char path[256], a[65], b[65];
    struct checkpoint c, one;
    const long layer = 2 * DIM + DIM * (2 * HEADS + 2 * KV) * HEAD + 3 * DIM * HIDDEN;
    CHECK(!checkpoint_load(in_folder("tied1.bin", path), &c));
    CHECK_STR(c.name, "tied1.bin");
    CHECK_STR(c.format, "llama2.c");
    CHECK(checkpoint_parameters(&c) == VOCAB * DIM + DIM + LAYERS * layer);
    CHECK(checkpoint_bytes(&c) == 4 * (size_t)checkpoint_parameters(&c));
    CHECK(!checkpoint_sha256(&c, a));
    CHECK(!checkpoint_load(in_folder("tied0.bin", path), &one));
    CHECK(checkpoint_parameters(&one) == checkpoint_parameters(&c) + VOCAB * DIM);
    CHECK(!checkpoint_sha256(&one, b) && strlen(b) == 64 && strcmp(a, b));
    checkpoint_free(&c);
    checkpoint_free(&one);
    checkpoint_free(NULL);
}

/* Every folder of tests/data/bad_checkpoints: input.* or the folder itself is refused
 * with the text of error.txt, which starts at the case's name. */
static void test_bad(void)
{
    static const char *const inputs[] = { "input.bin", "input.gguf", "input.txt", "config.json" };
    const char *root = "tests/data/bad_checkpoints";
    DIR *d = opendir(root);
    int cases = 0;
    CHECK(d);
    for (struct dirent *e; d && (e = readdir(d));) {
        char path[600], want[600] = "";
        struct checkpoint c;
        if (e->d_name[0] == '.')
            continue;
        snprintf(path, sizeof path, "%s/%.200s/error.txt", root, e->d_name);
        FILE *f = fopen(path, "r");
        CHECK(f && fgets(want, sizeof want, f));
        if (f)
            fclose(f);
        want[strcspn(want, "\n")] = 0;
        for (size_t i = 0; i < sizeof inputs / sizeof *inputs; i++) {
            snprintf(path, sizeof path, "%s/%.200s/%s", root, e->d_name, inputs[i]);
            if (access(path, R_OK))
                continue;
            if (!strcmp(inputs[i], "config.json"))
                snprintf(path, sizeof path, "%s/%.200s", root, e->d_name);
            const int status = checkpoint_load(path, &c);
            const char *text = strstr(cb_error_text(), e->d_name);
            CHECK(status == -1);
            CHECK_STR(text, want);
            CHECK(!c.layer && !c.file && !c.config.layers);
            cases++;
        }
    }
    if (d)
        closedir(d);
    CHECK(cases >= 25);
}

static void remove_all(const char *path)
{
    DIR *d = opendir(path);
    for (struct dirent *e; d && (e = readdir(d));) {
        char inner[1024];
        struct stat st;
        if (!strcmp(e->d_name, ".") || !strcmp(e->d_name, ".."))
            continue;
        snprintf(inner, sizeof inner, "%s/%s", path, e->d_name);
        if (!lstat(inner, &st) && S_ISDIR(st.st_mode))
            remove_all(inner);
        else
            unlink(inner);
    }
    if (d)
        closedir(d);
    rmdir(path);
}

int main(void)
{
    if (!mkdtemp(folder)) {
        SKIP("test_checkpoint: no folder for temporary files");
        return TEST_END();
    }
    test_formats();
    test_biases();
    test_scaled();
    test_totals();
    test_cut("tied0.bin");
    test_cut("tied1_Q4_1.gguf");
    test_bad();
    remove_all(folder);
    return TEST_END();
}
