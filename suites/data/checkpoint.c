/* checkpoint.c - what the formats of checkpoints have in common. */
#include "checkpoint.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <math.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../../harness/error.h"
#include "../../kernels/common/half.h"
#include "alloc.h"
#include "build.h"
#include "gguf.h"
#include "llama2c.h"
#include "safetensors.h"

/* ---- elements ---- */

enum { BLOCK = 32 };

static const struct {
    const char *name;
    int elements; /* of a block */
    size_t bytes;
} dtypes[] = {
    [TENSOR_NONE] = { "none", 1, 0 },      [TENSOR_F32] = { "F32", 1, 4 },
    [TENSOR_F16] = { "F16", 1, 2 },        [TENSOR_BF16] = { "BF16", 1, 2 },
    [TENSOR_Q4_1] = { "Q4_1", BLOCK, 20 }, [TENSOR_Q8_0] = { "Q8_0", BLOCK, 34 },
};

const char *tensor_dtype_name(enum tensor_dtype dtype)
{
    return dtypes[dtype].name;
}

size_t tensor_row_bytes(enum tensor_dtype dtype, int cols)
{
    if (cols <= 0 || cols % dtypes[dtype].elements)
        return 0;
    return (size_t)cols / (size_t)dtypes[dtype].elements * dtypes[dtype].bytes;
}

static float half_at(const unsigned char *p)
{
    half_bits h;
    memcpy(&h, p, sizeof h);
    return half_to_float(h);
}

static void decode_q4_1(const unsigned char *p, int cols, float *out)
{
    for (int c = 0; c < cols; c += BLOCK, p += 20) {
        const float d = half_at(p), m = half_at(p + 2);
        for (int j = 0; j < BLOCK / 2; j++) {
            out[c + j] = (float)(p[4 + j] & 15) * d + m;
            out[c + j + BLOCK / 2] = (float)(p[4 + j] >> 4) * d + m;
        }
    }
}

static void decode_q8_0(const unsigned char *p, int cols, float *out)
{
    for (int c = 0; c < cols; c += BLOCK, p += 34) {
        const float d = half_at(p);
        for (int j = 0; j < BLOCK; j++)
            out[c + j] = (float)(int8_t)p[2 + j] * d;
    }
}

static void decode_row(enum tensor_dtype dtype, const unsigned char *p, int cols, float *out)
{
    switch (dtype) {
    case TENSOR_F32:
        memcpy(out, p, (size_t)cols * sizeof *out);
        break;
    case TENSOR_F16:
        for (int c = 0; c < cols; c++)
            out[c] = half_at(p + 2 * (size_t)c);
        break;
    case TENSOR_BF16: /* the upper half of an FP32 */
        for (int c = 0; c < cols; c++) {
            uint16_t upper;
            memcpy(&upper, p + 2 * (size_t)c, sizeof upper);
            out[c] = half_bits_float((uint32_t)upper << 16);
        }
        break;
    case TENSOR_Q4_1:
        decode_q4_1(p, cols, out);
        break;
    case TENSOR_Q8_0:
        decode_q8_0(p, cols, out);
        break;
    case TENSOR_NONE:
        memset(out, 0, (size_t)cols * sizeof *out);
        break;
    }
}

void tensor_rows(const struct tensor *t, int first, int count, float *out)
{
    const size_t row = tensor_row_bytes(t->dtype, t->cols);
    const unsigned char *data = t->data;
#pragma omp parallel for if ((long)count * t->cols > 1 << 16)
    for (int i = 0; i < count; i++)
        decode_row(t->dtype, data + (size_t)(first + i) * row, t->cols,
                   out + (size_t)i * (size_t)t->cols);
}

/* ---- slots ---- */

static const struct {
    const char *name;
    bool vector, bias;
} slots[SLOTS] = {
    [SLOT_ATTN_NORM] = { "attn_norm", true, false },
    [SLOT_Q] = { "q", false, false },
    [SLOT_K] = { "k", false, false },
    [SLOT_V] = { "v", false, false },
    [SLOT_O] = { "o", false, false },
    [SLOT_FFN_NORM] = { "ffn_norm", true, false },
    [SLOT_GATE] = { "gate", false, false },
    [SLOT_UP] = { "up", false, false },
    [SLOT_DOWN] = { "down", false, false },
    [SLOT_Q_BIAS] = { "q_bias", true, true },
    [SLOT_K_BIAS] = { "k_bias", true, true },
    [SLOT_V_BIAS] = { "v_bias", true, true },
};

const char *checkpoint_slot_name(enum checkpoint_slot slot)
{
    return slots[slot].name;
}

void checkpoint_slot_shape(const struct llama_config *c, enum checkpoint_slot slot, int *rows,
                           int *cols)
{
    const int q = c->heads * c->head_dim, kv = c->kv_heads * c->head_dim;
    const int shape[SLOTS][2] = {
        [SLOT_ATTN_NORM] = { 1, c->dim },
        [SLOT_Q] = { q, c->dim },
        [SLOT_K] = { kv, c->dim },
        [SLOT_V] = { kv, c->dim },
        [SLOT_O] = { c->dim, q },
        [SLOT_FFN_NORM] = { 1, c->dim },
        [SLOT_GATE] = { c->hidden, c->dim },
        [SLOT_UP] = { c->hidden, c->dim },
        [SLOT_DOWN] = { c->dim, c->hidden },
        [SLOT_Q_BIAS] = { 1, q },
        [SLOT_K_BIAS] = { 1, kv },
        [SLOT_V_BIAS] = { 1, kv },
    };
    *rows = shape[slot][0];
    *cols = shape[slot][1];
}

/* ---- sums over a checkpoint ---- */

static void add(const struct tensor *t, long *parameters, size_t *bytes)
{
    if (t->dtype == TENSOR_NONE)
        return;
    *parameters += (long)t->rows * t->cols;
    *bytes += (size_t)t->rows * tensor_row_bytes(t->dtype, t->cols);
}

static void sum(const struct checkpoint *c, long *parameters, size_t *bytes)
{
    *parameters = 0;
    *bytes = 0;
    add(&c->embedding, parameters, bytes);
    add(&c->norm, parameters, bytes);
    if (!c->config.tied)
        add(&c->output, parameters, bytes);
    for (int l = 0; l < c->config.layers; l++)
        for (int s = 0; s < SLOTS; s++)
            add(&c->layer[l][s], parameters, bytes);
}

long checkpoint_parameters(const struct checkpoint *c)
{
    long parameters;
    size_t bytes;
    sum(c, &parameters, &bytes);
    return parameters;
}

size_t checkpoint_bytes(const struct checkpoint *c)
{
    long parameters;
    size_t bytes;
    sum(c, &parameters, &bytes);
    return bytes;
}

int checkpoint_sha256(const struct checkpoint *c, char out[65])
{
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned length = 0;
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    int ok = context && EVP_DigestInit_ex(context, EVP_sha256(), NULL);
    for (int i = 0; ok && i < c->files; i++)
        ok = EVP_DigestUpdate(context, c->file[i].data, c->file[i].size);
    ok = ok && EVP_DigestFinal_ex(context, digest, &length) && length == 32;
    EVP_MD_CTX_free(context);
    out[0] = 0;
    for (unsigned i = 0; ok && i < length; i++)
        snprintf(out + 2 * i, 3, "%02x", digest[i]);
    return ok ? 0 : cb_error("%s: SHA-256 failed", c->name);
}

/* ---- files ---- */

int checkpoint_map(const char *path, struct checkpoint_file *out)
{
    struct stat st;
    const size_t length = strlen(path) + 1;
    *out = (struct checkpoint_file){ 0 };
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* a pipe must not hang */
    if (fd < 0)
        return cb_error("%s: %s", path, strerror(errno));
    int status = -1;
    if (fstat(fd, &st)) {
        cb_error("%s: %s", path, strerror(errno));
    } else if (!S_ISREG(st.st_mode)) {
        cb_error("%s: not a regular file", path);
    } else if (st.st_size <= 0) {
        cb_error("%s: empty", path);
    } else {
        void *p = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
        if (p == MAP_FAILED) {
            cb_error("%s: cannot be mapped: %s", path, strerror(errno));
        } else {
            *out = (struct checkpoint_file){ .path = data_malloc(length, 1),
                                             .data = p,
                                             .size = (size_t)st.st_size };
            status = 0;
        }
    }
    close(fd);
    if (!status && !out->path) {
        checkpoint_unmap(out);
        return cb_error("%s: no memory", path);
    }
    if (!status)
        memcpy(out->path, path, length);
    return status;
}

void checkpoint_unmap(struct checkpoint_file *f)
{
    if (f->data)
        munmap((void *)f->data, f->size);
    data_free(f->path);
    *f = (struct checkpoint_file){ 0 };
}

/* ---- lists of tensors ---- */

struct named_tensor *tensor_list_add(struct tensor_list *l, const char *where)
{
    if (l->count == l->room) {
        const int room = l->room ? 2 * l->room : 64;
        struct named_tensor *more =
            l->room > INT_MAX / 2 ? NULL
                                  : data_realloc(l->tensor, (size_t)room, sizeof *l->tensor);
        if (!more) {
            cb_error("%s: no memory for %d tensors", where, room);
            return NULL;
        }
        l->tensor = more;
        l->room = room;
    }
    struct named_tensor *t = &l->tensor[l->count++];
    *t = (struct named_tensor){ 0 };
    return t;
}

void tensor_list_free(struct tensor_list *l)
{
    data_free(l->tensor);
    *l = (struct tensor_list){ 0 };
}

int tensor_list_bytes(const char *where, const struct named_tensor *t, uint64_t *bytes)
{
    const uint64_t elements = (uint64_t)dtypes[t->dtype].elements, size = dtypes[t->dtype].bytes;
    const uint64_t cols = t->dims ? (uint64_t)t->shape[t->dims - 1] : 1;
    uint64_t n = cols / elements * size;
    if (cols % elements)
        return cb_error("%s: tensor '%s': rows of %llu elements are not whole blocks of %s", where,
                        t->name, (unsigned long long)cols, dtypes[t->dtype].name);
    for (int i = 0; i + 1 < t->dims; i++)
        if (__builtin_mul_overflow(n, (uint64_t)t->shape[i], &n) || n > INT64_MAX)
            goto large;
    if (n > INT64_MAX || cols > (uint64_t)INT64_MAX / 8)
        goto large;
    *bytes = n;
    return 0;
large:
    return cb_error("%s: tensor '%s': its shape overflows", where, t->name);
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const struct named_tensor *)a)->name, ((const struct named_tensor *)b)->name);
}

static struct named_tensor *find(const struct tensor_list *l, const char *name)
{
    struct named_tensor key;
    snprintf(key.name, sizeof key.name, "%s", name);
    return l->count ? bsearch(&key, l->tensor, (size_t)l->count, sizeof key, by_name) : NULL;
}

/* The tensor called name, which must have the shape asked for; a vector may be
 * stored with one dimension or two. */
static int take(const char *where, struct tensor_list *l, const char *name, int rows, int cols,
                struct tensor *out)
{
    struct named_tensor *t = find(l, name);
    if (!t)
        return cb_error("%s: tensor '%s' is missing", where, name);
    const int64_t have_cols = t->dims ? t->shape[t->dims - 1] : 1;
    const int64_t have_rows = t->dims > 1 ? t->shape[0] : 1;
    if (t->dims < 1 || t->dims > 2 || have_rows != rows || have_cols != cols)
        return cb_error("%s: tensor '%s': %d dimension%s %lld x %lld, not %d x %d", where, name,
                        t->dims, t->dims == 1 ? "" : "s", (long long)have_rows,
                        (long long)have_cols, rows, cols);
    t->used = true;
    *out = (struct tensor){ .dtype = t->dtype, .rows = rows, .cols = cols, .data = t->data };
    return 0;
}

static bool ends(const char *text, const char *end)
{
    const size_t n = strlen(text), m = strlen(end);
    return n >= m && !strcmp(text + n - m, end);
}

static bool ignored(const char *name, const struct checkpoint_names *names)
{
    for (size_t i = 0; i < sizeof names->ignored / sizeof *names->ignored; i++)
        if (names->ignored[i] && ends(name, names->ignored[i]))
            return true;
    return false;
}

static int take_layers(const char *where, struct tensor_list *l,
                       const struct checkpoint_names *names, struct checkpoint *c)
{
    for (int layer = 0; layer < c->config.layers; layer++)
        for (int s = 0; s < SLOTS; s++) {
            char name[128];
            int rows, cols;
            if (slots[s].bias && !c->config.qkv_bias)
                continue;
            const char *rest = strstr(names->slot[s], "%d");
            snprintf(name, sizeof name, "%.*s%d%s", (int)(rest - names->slot[s]), names->slot[s],
                     layer, rest + 2);
            checkpoint_slot_shape(&c->config, s, &rows, &cols);
            if (take(where, l, name, rows, cols, &c->layer[layer][s]))
                return -1;
        }
    return 0;
}

int checkpoint_assign(const char *where, struct tensor_list *l,
                      const struct checkpoint_names *names, struct checkpoint *c)
{
    const struct llama_config *k = &c->config;
    if (l->count)
        qsort(l->tensor, (size_t)l->count, sizeof *l->tensor, by_name);
    for (int i = 1; i < l->count; i++)
        if (!by_name(&l->tensor[i - 1], &l->tensor[i]))
            return cb_error("%s: tensor '%s' twice", where, l->tensor[i].name);
    /* A config that promises more layers than there are tensors takes no memory. */
    if (k->layers > l->count)
        return cb_error("%s: %d layers, but only %d tensors", where, k->layers, l->count);
    c->layer = data_calloc((size_t)k->layers, sizeof *c->layer);
    if (!c->layer)
        return cb_error("%s: no memory for %d layers", where, k->layers);
    if (take(where, l, names->embedding, k->vocab, k->dim, &c->embedding) ||
        take(where, l, names->norm, 1, k->dim, &c->norm) || take_layers(where, l, names, c))
        return -1;
    struct named_tensor *output = find(l, names->output);
    if (k->tied) {
        c->output = c->embedding;
        if (output)
            output->used = true; /* some writers store it twice */
    } else if (take(where, l, names->output, k->vocab, k->dim, &c->output)) {
        return -1;
    }
    if (names->rope_factors && find(l, names->rope_factors) &&
        take(where, l, names->rope_factors, 1, k->head_dim / 2, &c->rope_factors))
        return -1;
    for (int i = 0; i < l->count; i++)
        if (!l->tensor[i].used && !ignored(l->tensor[i].name, names))
            return cb_error("%s: tensor '%s' is not one of a Llama-family model", where,
                            l->tensor[i].name);
    return 0;
}

/* ---- configs ---- */

int checkpoint_check_config(const char *where, const struct llama_config *c)
{
    /* Beyond any model of this family, and small enough that products of two fit a long. */
    const struct {
        const char *name;
        int value, max;
    } sizes[] = {
        { "vocabulary", c->vocab, 1 << 24 },
        { "model width", c->dim, 1 << 20 },
        { "feed-forward width", c->hidden, 1 << 22 },
        { "number of layers", c->layers, 4096 },
        { "number of heads", c->heads, 1 << 14 },
        { "number of kv heads", c->kv_heads, 1 << 14 },
        { "head size", c->head_dim, 1 << 14 },
        { "context", c->context, 1 << 26 },
    };
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        if (sizes[i].value < 1 || sizes[i].value > sizes[i].max)
            return cb_error("%s: %s %d is not between 1 and %d", where, sizes[i].name,
                            sizes[i].value, sizes[i].max);
    if (c->heads % c->kv_heads)
        return cb_error("%s: %d kv heads do not divide %d heads", where, c->kv_heads, c->heads);
    if (c->head_dim % 2)
        return cb_error("%s: head size %d is odd", where, c->head_dim);
    if ((long)c->heads * c->head_dim > 1 << 22)
        return cb_error("%s: %d heads of %d", where, c->heads, c->head_dim);
    if (c->window < 0)
        return cb_error("%s: attention window %d", where, c->window);
    if (!(c->norm_eps >= 0 && c->norm_eps < 1))
        return cb_error("%s: norm epsilon %g is not in [0, 1)", where, c->norm_eps);
    if (!(c->rope_theta > 1 && c->rope_theta <= 1e12))
        return cb_error("%s: rope base %g is not in (1, 1e12]", where, c->rope_theta);
    if (c->rope_scaling != ROPE_PLAIN && !(c->rope_factor >= 1 && c->rope_factor <= 1e6))
        return cb_error("%s: rope scaling factor %g is not in [1, 1e6]", where, c->rope_factor);
    if (c->rope_scaling == ROPE_LLAMA3 &&
        !(c->rope_low > 0 && c->rope_high > c->rope_low && c->rope_high <= 1e6 &&
          c->rope_original >= 1))
        return cb_error("%s: rope scaling with frequency factors %g and %g, original context %d",
                        where, c->rope_low, c->rope_high, c->rope_original);
    return 0;
}

/* ---- any format ---- */

static int load_single(const char *path,
                       int (*parse)(const char *, const void *, size_t, struct checkpoint *),
                       struct checkpoint *out)
{
    struct checkpoint_file f;
    if (checkpoint_map(path, &f))
        return -1;
    if (parse(path, f.data, f.size, out))
        goto failed;
    out->file = data_malloc(1, sizeof *out->file);
    if (!out->file) {
        cb_error("%s: no memory", path);
        checkpoint_free(out);
        goto failed;
    }
    out->file[0] = f;
    out->files = 1;
    return 0;
failed:
    checkpoint_unmap(&f);
    return -1;
}

static bool starts_gguf(const char *path)
{
    char magic[4] = "";
    FILE *f = fopen(path, "rb");
    bool is = f && fread(magic, 1, sizeof magic, f) == sizeof magic && !memcmp(magic, "GGUF", 4);
    if (f)
        fclose(f);
    return is;
}

int checkpoint_load(const char *path, struct checkpoint *out)
{
    struct stat st;
    int status;
    *out = (struct checkpoint){ 0 };
    if (stat(path, &st))
        return cb_error("%s: %s", path, strerror(errno));
    if (S_ISDIR(st.st_mode) || ends(path, ".safetensors"))
        status = safetensors_load(path, out);
    else if (!S_ISREG(st.st_mode))
        return cb_error("%s: not a regular file", path);
    else if (ends(path, ".gguf") || starts_gguf(path))
        status = load_single(path, gguf_checkpoint, out);
    else if (ends(path, ".bin"))
        status = load_single(path, llama2c_parse, out);
    else
        return cb_error("%s: a checkpoint is a folder, or ends in .bin, .gguf or .safetensors",
                        path);
    if (status)
        return -1;
    size_t end = strlen(path);
    while (end > 1 && path[end - 1] == '/')
        end--;
    size_t start = end;
    while (start > 0 && path[start - 1] != '/')
        start--;
    snprintf(out->name, sizeof out->name, "%.*s", (int)(end - start < 63 ? end - start : 63),
             path + start);
    return 0;
}

void checkpoint_free(struct checkpoint *c)
{
    if (!c)
        return;
    for (int i = 0; i < c->files; i++)
        checkpoint_unmap(&c->file[i]);
    data_free(c->file);
    data_free(c->layer);
    *c = (struct checkpoint){ 0 };
}
