/*
 * gguf.c - GGUF files.
 *
 *   "GGUF"  u32 version  u64 tensors  u64 keys
 *   per key      string name, u32 type, value
 *   per tensor   string name, u32 dimensions, u64 sizes (fastest first), u32 type,
 *                u64 offset from the start of the data
 *   padding to general.alignment (32 unless the key says otherwise), then the data
 *
 * A string is u64 length and bytes; an array is u32 type, u64 count, elements.
 */
#include "gguf.h"

#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../harness/error.h"
#include "alloc.h"
#include "build.h"

/* ---- reading ---- */

struct reader {
    const char *name;
    const unsigned char *data;
    uint64_t size, at;
    struct gguf_text key; /* whose value is being read, for messages */
};

/* Text for a message: cut, and what does not print replaced. */
static const char *printable(struct gguf_text t, char out[64])
{
    const size_t n = t.length < 63 ? t.length : 63;
    for (size_t i = 0; i < n; i++)
        out[i] = t.text[i] >= ' ' && t.text[i] < 127 ? t.text[i] : '?';
    out[n] = 0;
    return out;
}

/* The next n bytes, or NULL after cb_error. */
static const unsigned char *take(struct reader *r, uint64_t n, const char *what)
{
    char quoted[64];
    if (n > r->size - r->at) {
        cb_error("%s: %s%s%sbyte %llu: %s of %llu bytes, but the file has %llu left", r->name,
                 r->key.length ? "key '" : "", printable(r->key, quoted),
                 r->key.length ? "': " : "", (unsigned long long)r->at, what,
                 (unsigned long long)n, (unsigned long long)(r->size - r->at));
        return NULL;
    }
    const unsigned char *p = r->data + r->at;
    r->at += n;
    return p;
}

static int take_u32(struct reader *r, const char *what, uint32_t *out)
{
    const unsigned char *p = take(r, sizeof *out, what);
    if (!p)
        return -1;
    memcpy(out, p, sizeof *out);
    return 0;
}

static int take_u64(struct reader *r, const char *what, uint64_t *out)
{
    const unsigned char *p = take(r, sizeof *out, what);
    if (!p)
        return -1;
    memcpy(out, p, sizeof *out);
    return 0;
}

static int take_text(struct reader *r, const char *what, struct gguf_text *out)
{
    uint64_t n;
    if (take_u64(r, what, &n))
        return -1;
    const unsigned char *p = take(r, n, what);
    if (!p)
        return -1;
    *out = (struct gguf_text){ (const char *)p, (size_t)n };
    return 0;
}

/* ---- values ---- */

static const struct {
    const char *name;
    unsigned size; /* 0: not fixed */
} types[GGUF_TYPES] = {
    [GGUF_U8] = { "u8", 1 },     [GGUF_I8] = { "i8", 1 },   [GGUF_U16] = { "u16", 2 },
    [GGUF_I16] = { "i16", 2 },   [GGUF_U32] = { "u32", 4 }, [GGUF_I32] = { "i32", 4 },
    [GGUF_F32] = { "f32", 4 },   [GGUF_BOOL] = { "bool", 1 }, [GGUF_STRING] = { "string", 0 },
    [GGUF_ARRAY] = { "array", 0 }, [GGUF_U64] = { "u64", 8 }, [GGUF_I64] = { "i64", 8 },
    [GGUF_F64] = { "f64", 8 },
};

static int take_value(struct reader *r, struct gguf_value *v)
{
    char quoted[64];
    r->key = (struct gguf_text){ 0 };
    if (take_text(r, "a key", &v->key))
        return -1;
    r->key = v->key;
    if (take_u32(r, "the type of a value", &v->type))
        return -1;
    v->count = 1;
    if (v->type == GGUF_ARRAY) {
        v->array = true;
        if (take_u32(r, "the type of an array", &v->type) ||
            take_u64(r, "the length of an array", &v->count))
            return -1;
    }
    if (v->type >= GGUF_TYPES || v->type == GGUF_ARRAY)
        return cb_error("%s: key '%s': values of type %u are not read", r->name,
                        printable(v->key, quoted), v->type);
    v->at = r->data + r->at;
    if (v->type == GGUF_STRING) {
        for (uint64_t i = 0; i < v->count; i++) {
            struct gguf_text text;
            if (take_text(r, "a text", &text))
                return -1;
        }
        return 0;
    }
    uint64_t bytes;
    if (__builtin_mul_overflow(v->count, (uint64_t)types[v->type].size, &bytes))
        bytes = UINT64_MAX;
    return take(r, bytes, "a value") ? 0 : -1;
}

static int compare(struct gguf_text a, struct gguf_text b)
{
    const size_t n = a.length < b.length ? a.length : b.length;
    const int c = n ? memcmp(a.text, b.text, n) : 0;
    return c ? c : (a.length > b.length) - (a.length < b.length);
}

static int by_key(const void *a, const void *b)
{
    return compare(((const struct gguf_value *)a)->key, ((const struct gguf_value *)b)->key);
}

const struct gguf_value *gguf_find(const struct gguf *g, const char *key)
{
    const struct gguf_value want = { .key = { key, strlen(key) } };
    return g->values ? bsearch(&want, g->value, (size_t)g->values, sizeof want, by_key) : NULL;
}

static int wrong_type(const struct gguf *g, const struct gguf_value *v, const char *want)
{
    char quoted[64];
    return cb_error("%s: key '%s': %s%s, not %s", g->name, printable(v->key, quoted),
                    v->array ? "array of " : "", types[v->type].name, want);
}

/* An integer of any width; false if it is none or does not fit a long. */
static bool integer(const struct gguf_value *v, long *out)
{
    union { uint8_t u8; int8_t i8; uint16_t u16; int16_t i16; uint32_t u32; int32_t i32;
            uint64_t u64; int64_t i64; } n;
    if (v->array)
        return false;
    memcpy(&n, v->at, types[v->type].size);
    switch (v->type) {
    case GGUF_U8: *out = n.u8; return true;
    case GGUF_I8: *out = n.i8; return true;
    case GGUF_U16: *out = n.u16; return true;
    case GGUF_I16: *out = n.i16; return true;
    case GGUF_U32: *out = n.u32; return true;
    case GGUF_I32: *out = n.i32; return true;
    case GGUF_U64: *out = n.u64 > LONG_MAX ? LONG_MAX : (long)n.u64; return true;
    case GGUF_I64: *out = n.i64; return true;
    default: return false;
    }
}

int gguf_long(const struct gguf *g, const char *key, long min, long max, long *out)
{
    const struct gguf_value *v = gguf_find(g, key);
    long n;
    if (!v)
        return 0;
    if (!integer(v, &n))
        return wrong_type(g, v, "an integer");
    if (n < min || n > max)
        return cb_error("%s: key '%s': %ld is not between %ld and %ld", g->name, key, n, min, max);
    *out = n;
    return 1;
}

int gguf_real(const struct gguf *g, const char *key, double *out)
{
    const struct gguf_value *v = gguf_find(g, key);
    long n;
    if (!v)
        return 0;
    if (!v->array && v->type == GGUF_F32) {
        float f;
        memcpy(&f, v->at, sizeof f);
        *out = f;
    } else if (!v->array && v->type == GGUF_F64) {
        memcpy(out, v->at, sizeof *out);
    } else if (integer(v, &n)) {
        *out = (double)n;
    } else {
        return wrong_type(g, v, "a number");
    }
    return isfinite(*out) ? 1 : cb_error("%s: key '%s': not finite", g->name, key);
}

int gguf_bool(const struct gguf *g, const char *key, bool *out)
{
    const struct gguf_value *v = gguf_find(g, key);
    if (!v)
        return 0;
    if (v->array || v->type != GGUF_BOOL)
        return wrong_type(g, v, "bool");
    *out = *v->at != 0;
    return 1;
}

int gguf_string(const struct gguf *g, const char *key, char *out, size_t size)
{
    const struct gguf_value *v = gguf_find(g, key);
    if (!v)
        return 0;
    if (v->array || v->type != GGUF_STRING)
        return wrong_type(g, v, "a string");
    const unsigned char *at = v->at;
    const struct gguf_text t = gguf_next_text(&at);
    if (t.length >= size)
        return cb_error("%s: key '%s': a text of %zu bytes is not expected", g->name, key,
                        t.length);
    for (size_t i = 0; i < t.length; i++)
        if (t.text[i] < ' ' || t.text[i] > '~')
            return cb_error("%s: key '%s': characters that do not print", g->name, key);
    if (t.length)
        memcpy(out, t.text, t.length);
    out[t.length] = 0;
    return 1;
}

struct gguf_text gguf_next_text(const unsigned char **at)
{
    uint64_t n;
    memcpy(&n, *at, sizeof n);
    const struct gguf_text t = { (const char *)*at + sizeof n, (size_t)n };
    *at += sizeof n + n;
    return t;
}

/* ---- tensors ---- */

static int take_tensor(struct reader *r, struct named_tensor *t, uint64_t *offset)
{
    static const struct {
        uint32_t code;
        enum tensor_dtype dtype;
    } stored[] = { { 0, TENSOR_F32 }, { 1, TENSOR_F16 }, { 3, TENSOR_Q4_1 }, { 8, TENSOR_Q8_0 },
                   { 30, TENSOR_BF16 } };
    struct gguf_text name;
    char quoted[64];
    uint32_t dims, code;
    if (take_text(r, "the name of a tensor", &name))
        return -1;
    if (!name.length || name.length >= sizeof t->name || memchr(name.text, 0, name.length))
        return cb_error("%s: byte %llu: a name of %zu bytes, '%s', for a tensor", r->name,
                        (unsigned long long)(r->at - name.length), name.length,
                        printable(name, quoted));
    memcpy(t->name, name.text, name.length);
    if (take_u32(r, "the dimensions of a tensor", &dims))
        return -1;
    if (dims < 1 || dims > 4)
        return cb_error("%s: tensor '%s': %u dimensions", r->name, printable(name, quoted), dims);
    t->dims = (int)dims;
    for (int i = t->dims - 1; i >= 0; i--) {
        uint64_t n;
        if (take_u64(r, "the size of a tensor", &n))
            return -1;
        if (n < 1 || n > INT64_MAX)
            return cb_error("%s: tensor '%s': a size of %llu", r->name, printable(name, quoted),
                            (unsigned long long)n);
        t->shape[i] = (int64_t)n;
    }
    if (take_u32(r, "the type of a tensor", &code) ||
        take_u64(r, "the offset of a tensor", offset))
        return -1;
    for (size_t i = 0; i < sizeof stored / sizeof *stored; i++)
        if (stored[i].code == code)
            t->dtype = stored[i].dtype;
    if (t->dtype == TENSOR_NONE)
        return cb_error("%s: tensor '%s': type %u is none of F32, F16, BF16, Q4_1, Q8_0", r->name,
                        printable(name, quoted), code);
    return 0;
}

/* Points the tensors into the data, which starts at byte start. */
static int place(struct reader *r, struct gguf *g, const uint64_t *offset, uint64_t start,
                 uint64_t alignment)
{
    for (int i = 0; i < g->tensors.count; i++) {
        struct named_tensor *t = &g->tensors.tensor[i];
        const uint64_t room = start < r->size ? r->size - start : 0;
        uint64_t bytes;
        if (tensor_list_bytes(r->name, t, &bytes))
            return -1;
        if (offset[i] % alignment)
            return cb_error("%s: tensor '%s': offset %llu is no multiple of %llu", r->name,
                            t->name, (unsigned long long)offset[i], (unsigned long long)alignment);
        if (offset[i] > room || bytes > room - offset[i])
            return cb_error("%s: tensor '%s': %llu bytes at offset %llu, but the data has %llu",
                            r->name, t->name, (unsigned long long)bytes,
                            (unsigned long long)offset[i], (unsigned long long)room);
        t->data = r->data + start + offset[i];
    }
    return 0;
}

static int parse_values(struct reader *r, struct gguf *g, uint64_t keys)
{
    enum { LEAST = 8 + 4 + 1 }; /* bytes of a key with its value */
    if (keys > (r->size - r->at) / LEAST || keys > INT_MAX)
        return cb_error("%s: byte 16: %llu keys do not fit into the file", r->name,
                        (unsigned long long)keys);
    g->value = data_calloc((size_t)keys, sizeof *g->value);
    if (!g->value)
        return cb_error("%s: no memory for %llu keys", r->name, (unsigned long long)keys);
    for (; (uint64_t)g->values < keys; g->values++)
        if (take_value(r, &g->value[g->values]))
            return -1;
    r->key = (struct gguf_text){ 0 };
    if (keys)
        qsort(g->value, (size_t)keys, sizeof *g->value, by_key);
    for (int i = 1; i < g->values; i++) {
        char quoted[64];
        if (!by_key(&g->value[i - 1], &g->value[i]))
            return cb_error("%s: key '%s' twice", r->name, printable(g->value[i].key, quoted));
    }
    return 0;
}

int gguf_parse(const char *name, const void *data, size_t size, struct gguf *out)
{
    enum { LEAST = 8 + 1 + 4 + 8 + 4 + 8 }; /* bytes of a tensor's entry */
    struct reader r = { .name = name, .data = data, .size = size };
    uint32_t version;
    uint64_t tensors, keys, *offset = NULL;
    long alignment = 32;
    int status = -1;
    *out = (struct gguf){ .name = name };
    if (size < 24 || memcmp(data, "GGUF", 4))
        return cb_error("%s: byte 0: not a GGUF file", name);
    r.at = 4;
    if (take_u32(&r, "the version", &version) || take_u64(&r, "the tensors", &tensors) ||
        take_u64(&r, "the keys", &keys))
        return -1;
    if (version != 2 && version != 3)
        return cb_error("%s: byte 4: GGUF version %u; 2 and 3 are read", name, version);
    if (parse_values(&r, out, keys))
        goto done;
    if (tensors > (size - r.at) / LEAST || tensors > INT_MAX) {
        cb_error("%s: byte 8: %llu tensors do not fit into the file", name,
                 (unsigned long long)tensors);
        goto done;
    }
    offset = data_malloc((size_t)tensors, sizeof *offset);
    if (!offset) {
        cb_error("%s: no memory for %llu tensors", name, (unsigned long long)tensors);
        goto done;
    }
    for (uint64_t i = 0; i < tensors; i++) {
        struct named_tensor *t = tensor_list_add(&out->tensors, name);
        if (!t || take_tensor(&r, t, &offset[i]))
            goto done;
    }
    if (gguf_long(out, "general.alignment", 1, 1 << 20, &alignment) < 0)
        goto done;
    if (alignment & (alignment - 1)) {
        cb_error("%s: key 'general.alignment': %ld is no power of two", name, alignment);
        goto done;
    }
    const uint64_t mask = (uint64_t)alignment - 1;
    status = place(&r, out, offset, (r.at + mask) & ~mask, mask + 1);
done:
    data_free(offset);
    if (status)
        gguf_free(out);
    return status;
}

void gguf_free(struct gguf *g)
{
    data_free(g->value);
    tensor_list_free(&g->tensors);
    *g = (struct gguf){ 0 };
}

/* ---- models ---- */

static const struct checkpoint_names names = {
    .embedding = "token_embd.weight",
    .norm = "output_norm.weight",
    .output = "output.weight",
    .rope_factors = "rope_freqs.weight",
    .slot = { [SLOT_ATTN_NORM] = "blk.%d.attn_norm.weight",
              [SLOT_Q] = "blk.%d.attn_q.weight",
              [SLOT_K] = "blk.%d.attn_k.weight",
              [SLOT_V] = "blk.%d.attn_v.weight",
              [SLOT_O] = "blk.%d.attn_output.weight",
              [SLOT_FFN_NORM] = "blk.%d.ffn_norm.weight",
              [SLOT_GATE] = "blk.%d.ffn_gate.weight",
              [SLOT_UP] = "blk.%d.ffn_up.weight",
              [SLOT_DOWN] = "blk.%d.ffn_down.weight",
              [SLOT_Q_BIAS] = "blk.%d.attn_q.bias",
              [SLOT_K_BIAS] = "blk.%d.attn_k.bias",
              [SLOT_V_BIAS] = "blk.%d.attn_v.bias" },
};

/* A key of the architecture, "llama.block_count". */
static int number(const struct gguf *g, const char *arch, const char *rest, bool required,
                  int *out)
{
    char key[96];
    long n;
    snprintf(key, sizeof key, "%s.%s", arch, rest);
    const int found = gguf_long(g, key, 0, INT_MAX, &n);
    if (!found && required)
        return cb_error("%s: key '%s' is missing", g->name, key);
    if (found > 0)
        *out = (int)n;
    return found;
}

static int real(const struct gguf *g, const char *arch, const char *rest, double *out)
{
    char key[96];
    snprintf(key, sizeof key, "%s.%s", arch, rest);
    return gguf_real(g, key, out);
}

static const struct named_tensor *tensor(const struct gguf *g, const char *name)
{
    for (int i = 0; i < g->tensors.count; i++)
        if (!strcmp(g->tensors.tensor[i].name, name))
            return &g->tensors.tensor[i];
    return NULL;
}

static int scaling(const struct gguf *g, const char *arch, struct llama_config *c)
{
    char key[96], type[32] = "none";
    snprintf(key, sizeof key, "%s.rope.scaling.type", arch);
    if (gguf_string(g, key, type, sizeof type) < 0)
        return -1;
    if (!strcmp(type, "linear")) {
        c->rope_scaling = ROPE_LINEAR;
        snprintf(key, sizeof key, "%s.rope.scaling.factor", arch);
        const int found = gguf_real(g, key, &c->rope_factor);
        if (found <= 0)
            return found ? -1 : cb_error("%s: key '%s' is missing", g->name, key);
    } else if (strcmp(type, "none")) {
        return cb_error("%s: key '%s': rope scaling '%s' is not known", g->name, key, type);
    } else if (real(g, arch, "rope.scale_linear", &c->rope_factor) < 0) { /* older writers */
        return -1;
    } else if (c->rope_factor != 0 && c->rope_factor != 1) {
        c->rope_scaling = ROPE_LINEAR;
    }
    return 0;
}

static int configure(const struct gguf *g, struct llama_config *c)
{
    char arch[32];
    int rotary = 0, length = 0;
    const int found = gguf_string(g, "general.architecture", arch, sizeof arch);
    if (found <= 0)
        return found ? -1 : cb_error("%s: key 'general.architecture' is missing", g->name);
    if (strcmp(arch, "llama") && strcmp(arch, "qwen2"))
        return cb_error("%s: key 'general.architecture': '%s' is neither llama nor qwen2",
                        g->name, arch);
    *c = (struct llama_config){ .rope_theta = 10000, .rope_halves = !strcmp(arch, "qwen2"),
                                .tied = !tensor(g, names.output),
                                .qkv_bias = tensor(g, "blk.0.attn_q.bias") != NULL };
    if (number(g, arch, "embedding_length", true, &c->dim) < 0 ||
        number(g, arch, "feed_forward_length", true, &c->hidden) < 0 ||
        number(g, arch, "block_count", true, &c->layers) < 0 ||
        number(g, arch, "attention.head_count", true, &c->heads) < 0 ||
        number(g, arch, "context_length", true, &c->context) < 0)
        return -1;
    c->kv_heads = c->heads;
    if (number(g, arch, "attention.head_count_kv", false, &c->kv_heads) < 0 ||
        number(g, arch, "attention.sliding_window", false, &c->window) < 0 ||
        number(g, arch, "attention.key_length", false, &length) < 0 ||
        number(g, arch, "rope.dimension_count", false, &rotary) < 0 ||
        real(g, arch, "rope.freq_base", &c->rope_theta) < 0 || scaling(g, arch, c))
        return -1;
    const int eps = real(g, arch, "attention.layer_norm_rms_epsilon", &c->norm_eps);
    if (eps <= 0)
        return eps ? -1 : cb_error("%s: key '%s.attention.layer_norm_rms_epsilon' is missing",
                                   g->name, arch);
    if (c->heads > 0 && !length && c->dim % c->heads)
        return cb_error("%s: %d heads do not divide width %d", g->name, c->heads, c->dim);
    c->head_dim = length ? length : c->heads > 0 ? c->dim / c->heads : 0;
    if (rotary && rotary != c->head_dim)
        return cb_error("%s: key '%s.rope.dimension_count': %d of a head's %d elements", g->name,
                        arch, rotary, c->head_dim);
    if (number(g, arch, "expert_count", false, &length) > 0 && length)
        return cb_error("%s: key '%s.expert_count': mixtures of experts are not read", g->name,
                        arch);
    const struct named_tensor *t = tensor(g, names.embedding);
    if (!t || t->dims != 2)
        return cb_error("%s: tensor '%s' is missing or not a matrix", g->name, names.embedding);
    c->vocab = t->shape[0] > INT_MAX ? INT_MAX : (int)t->shape[0];
    return checkpoint_check_config(g->name, c);
}

int gguf_checkpoint(const char *name, const void *data, size_t size, struct checkpoint *out)
{
    struct gguf g;
    *out = (struct checkpoint){ 0 };
    if (gguf_parse(name, data, size, &g))
        return -1;
    int status = configure(&g, &out->config);
    if (!status)
        status = checkpoint_assign(name, &g.tensors, &names, out);
    data_text(out->format, sizeof out->format, "gguf");
    gguf_free(&g);
    if (status)
        checkpoint_free(out);
    return status;
}
