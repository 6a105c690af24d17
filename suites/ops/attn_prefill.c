/*
 * attn_prefill.c - prefill attention that fills the cache, bound to the harness.
 *
 * Attention is compared on up to SAMPLE tokens, at steps that meet every place in a tile; the
 * cache on all of them, to the bit.
 */
#include "../../kernels/attn/prefill.h"

#include <math.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "../../harness/error.h"
#include "bind.h"
#include "ops.h"

enum { TENSOR_Q = 1, TENSOR_K = 2, TENSOR_V = 3, SAMPLE = 2048 };

struct prefill_params {
    int batch, heads, kv_heads, head_dim, length, page;
};

#define AT(field) offsetof(struct prefill_params, field)
static const struct cb_param params[] = {
    { "batch", CB_INT, AT(batch), 0, 1, 65535, NULL, true, "sequences" },
    { "heads", CB_INT, AT(heads), 0, 1, 1024, NULL, true, "query heads" },
    { "kv_heads", CB_INT, AT(kv_heads), 0, 1, 1024, NULL, true, "heads of keys and values" },
    { "head_dim", CB_INT, AT(head_dim), 128, 32, 512, NULL, false, "elements of a head" },
    { "length", CB_INT, AT(length), 0, 16, 1 << 16, NULL, true, "tokens of every sequence" },
    { "page", CB_INT, AT(page), 64, 16, 1024, NULL, false, "tokens of a page" },
    { 0 },
};

/* One set of operands and results. */
struct set {
    void *q, *k, *v, *out;
    void *pool[ATTN_SCHEMES][2], *table[ATTN_SCHEMES];
};

struct instance {
    struct attn_problem p;
    struct cb_device *device;
    uint64_t seed;
    unsigned schemes; /* bits of those that a row of the case uses */
    struct set *set;  /* [sets] */
    int sets;
    int *token, tokens;   /* to be compared; host */
    void *token_device;
    struct attn_wanted wanted, on_device;
    void *halves;         /* pages of one side of the cache */
    unsigned char *cache[ATTN_SCHEMES][2]; /* what it should hold; host */
};

static const struct op_impl *impl_at(int i)
{
    const void *const table[] = { prefill_references, prefill_kernels };
    return op_row_at(table, 2, sizeof(struct prefill_impl), i);
}

static bool uses(const struct instance *in, int scheme)
{
    return in->schemes & 1u << scheme;
}

static int page_count(const struct attn_problem *p)
{
    return p->batch * (p->length / p->page);
}

static size_t pool_bytes(const struct attn_problem *p, int scheme)
{
    return (size_t)page_count(p) *
           attn_page_bytes((enum attn_scheme)scheme, p->kv_heads, p->head_dim, p->page);
}

static size_t out_bytes(const struct attn_problem *p)
{
    return 2 * (size_t)p->batch * (size_t)p->length * (size_t)p->heads * (size_t)p->head_dim;
}

static size_t side_bytes(const struct attn_problem *p)
{
    return out_bytes(p) / (size_t)p->heads * (size_t)p->kv_heads;
}

static void close_instance(void *instance)
{
    struct instance *in = instance;
    if (!in)
        return;
    for (int i = 0; i < in->sets; i++) {
        struct set *const s = &in->set[i];
        void *const all[] = { s->q, s->k, s->v, s->out };
        for (size_t k = 0; k < sizeof all / sizeof *all; k++)
            cb_free(in->device, all[k]);
        for (int k = 0; k < ATTN_SCHEMES; k++) {
            cb_free(in->device, s->pool[k][0]);
            cb_free(in->device, s->pool[k][1]);
            cb_free(in->device, s->table[k]);
        }
    }
    void *const device[] = { in->token_device, in->halves, in->on_device.want,
                             in->on_device.spread, in->on_device.score };
    for (size_t k = 0; k < sizeof device / sizeof *device; k++)
        cb_free(in->device, device[k]);
    for (int k = 0; k < ATTN_SCHEMES; k++) {
        free(in->cache[k][0]);
        free(in->cache[k][1]);
    }
    free(in->set);
    free(in->token);
    free(in->wanted.want);
    free(in->wanted.spread);
    free(in);
}

/* An odd step meets all places of a tile of a power of two. */
static int choose_tokens(struct instance *in)
{
    const int all = in->p.batch * in->p.length;
    const int step = all <= SAMPLE ? 1 : all / SAMPLE | 1;
    in->token = malloc((size_t)(all / step + 2) * sizeof *in->token);
    if (!in->token)
        return cb_error("no memory for the tokens to compare");
    for (int t = 0; t < all; t += step)
        in->token[in->tokens++] = t;
    if (in->token[in->tokens - 1] != all - 1)
        in->token[in->tokens++] = all - 1;
    return 0;
}

static int open_problem(struct cb_context *c, const void *given, void **out)
{
    const struct prefill_params *q = given;
    *out = NULL;
    if (q->heads % q->kv_heads || q->head_dim % 32 || q->page % 16 || q->length % q->page)
        return cb_error("kv_heads must divide heads, 32 head_dim, 16 page and page length");
    struct instance *in = calloc(1, sizeof *in);
    if (!in)
        return cb_error("no memory for a problem");
    in->p = (struct attn_problem){ q->batch,  q->heads, q->kv_heads, q->head_dim,
                                   q->length, q->page,  (double)q->batch * q->length };
    in->device = c->device;
    in->seed = c->seed;
    if (choose_tokens(in)) {
        close_instance(in);
        return -1;
    }
    *out = in;
    return 0;
}

static int inputs(void *instance, struct cb_input *out)
{
    const struct attn_problem *p = &((struct instance *)instance)->p;
    static const char *const names[] = { "Q", "K", "V" };
    for (int i = 0; i < 3; i++) {
        out[i] = (struct cb_input){ .dtype = "f16", .gen = "normal", .source = "generated",
                                    .shape = { p->batch, p->length, i ? p->kv_heads : p->heads,
                                               p->head_dim },
                                    .tensor_id = TENSOR_Q + i };
        memcpy(out[i].name, names[i], 2);
    }
    return 3;
}

static enum op_status ready(void *instance, const struct op_impl *i, const char **why)
{
    struct instance *in = instance;
    const struct prefill_impl *impl = (const struct prefill_impl *)i;
    if (!op_is_built(impl->run != NULL, why))
        return OP_EUNSUPPORTED;
    enum op_status status = impl->supports ? impl->supports(&in->p, why) : OP_OK;
    if (status == OP_OK)
        in->schemes |= 1u << impl->scheme;
    return status;
}

static void set_bytes(void *instance, double *weights, double *ins, double *outs)
{
    const struct instance *in = instance;
    *weights = 0;
    *ins = (double)out_bytes(&in->p) + 2.0 * (double)side_bytes(&in->p);
    *outs = (double)out_bytes(&in->p) + attn_cache_bytes(&in->p, ATTN_KV4);
}

static struct cb_work work(void *instance, const struct op_impl *i)
{
    const struct attn_problem *p = &((struct instance *)instance)->p;
    const struct prefill_impl *impl = (const struct prefill_impl *)i;
    const double pairs = p->tokens * (p->length + 1.0) / 2;
    struct cb_work w = { .flops = 4 * pairs * p->heads * p->head_dim,
                         .peak = "tensor_fp16",
                         .accumulate = CB_F32 };
    w.bytes_min = 2.0 * (double)out_bytes(p) + 2.0 * (double)side_bytes(p) +
                  attn_cache_bytes(p, impl->scheme);
    w.bytes_model = w.bytes_min + (impl->extra_bytes ? impl->extra_bytes(p) : 0);
    w.tensor_ops = w.flops;
    return w;
}

/* ---- operands ---- */

static int make_table(struct instance *in, struct set *s, int scheme)
{
    const struct attn_problem *p = &in->p;
    const int width = attn_table_pages(p), pages = p->length / p->page;
    const size_t count = (size_t)p->batch * 2 * (size_t)width;
    const size_t bytes = pool_bytes(p, scheme) / (size_t)page_count(p);
    char **const table = malloc(count * sizeof *table);
    if (!table)
        return cb_error("no memory for a page table");
    for (int b = 0; b < p->batch; b++)
        for (int i = 0; i < 2 * width; i++) {
            const int at = i % width < pages ? i % width : pages - 1;
            table[(size_t)b * 2 * (size_t)width + (size_t)i] =
                (char *)s->pool[scheme][i / width] + (size_t)(b * pages + at) * bytes;
        }
    int status = cb_alloc(in->device, count * sizeof *table, &s->table[scheme]);
    if (!status)
        status = cb_upload(in->device, s->table[scheme], table, count * sizeof *table);
    free(table);
    return status;
}

static int make_set(struct instance *in, struct set *s, uint32_t stream)
{
    const struct attn_problem *p = &in->p;
    const long tokens = (long)p->batch * p->length;
    const long wide = (long)p->heads * p->head_dim, narrow = (long)p->kv_heads * p->head_dim;
    if (cb_alloc(in->device, out_bytes(p), &s->q) || cb_alloc(in->device, side_bytes(p), &s->k) ||
        cb_alloc(in->device, side_bytes(p), &s->v) || cb_alloc(in->device, out_bytes(p), &s->out) ||
        cb_random(in->device, s->q, CB_F16, CB_NORMAL, in->seed, TENSOR_Q, stream, tokens, wide,
                  false) ||
        cb_random(in->device, s->k, CB_F16, CB_NORMAL, in->seed, TENSOR_K, stream, tokens, narrow,
                  false) ||
        cb_random(in->device, s->v, CB_F16, CB_NORMAL, in->seed, TENSOR_V, stream, tokens, narrow,
                  false))
        return -1;
    for (int k = 0; k < ATTN_SCHEMES; k++)
        if (uses(in, k) && (cb_alloc(in->device, pool_bytes(p, k), &s->pool[k][0]) ||
                            cb_alloc(in->device, pool_bytes(p, k), &s->pool[k][1]) ||
                            make_table(in, s, k)))
            return -1;
    return 0;
}

static int make_expectation(struct instance *in)
{
    const size_t rows = (size_t)in->tokens * (size_t)in->p.heads, real = sizeof(double);
    const size_t out = rows * (size_t)in->p.head_dim * real, tokens = (size_t)in->tokens;
    in->wanted.want = malloc(out);
    in->wanted.spread = malloc(out);
    bool whole = in->wanted.want && in->wanted.spread;
    for (int k = 0; k < ATTN_SCHEMES; k++)
        for (int which = 0; which < 2 && uses(in, k); which++) {
            in->cache[k][which] = malloc(pool_bytes(&in->p, k));
            whole = whole && in->cache[k][which];
        }
    if (!whole)
        return cb_error("no memory for the reference");
    struct attn_wanted *const d = &in->on_device;
    return cb_alloc(in->device, out, (void **)&d->want) ||
                   cb_alloc(in->device, out, (void **)&d->spread) ||
                   cb_alloc(in->device, rows * (size_t)in->p.length * real, (void **)&d->score) ||
                   cb_alloc(in->device, pool_bytes(&in->p, ATTN_KV16), &in->halves) ||
                   cb_alloc(in->device, tokens * sizeof *in->token, &in->token_device) ||
                   cb_upload(in->device, in->token_device, in->token, tokens * sizeof *in->token)
               ? -1
               : 0;
}

static int prepare(struct cb_context *c, void *instance, int weight_sets, int input_sets)
{
    struct instance *in = instance;
    (void)c, (void)weight_sets;
    in->set = calloc((size_t)input_sets, sizeof *in->set);
    if (!in->set)
        return cb_error("no memory for %d operand sets", input_sets);
    in->sets = input_sets;
    for (int i = 0; i < input_sets; i++)
        if (make_set(in, &in->set[i], (uint32_t)i))
            return -1;
    return make_expectation(in) || cb_sync(in->device) ? -1 : 0;
}

static struct prefill_args args_at(const struct instance *in, enum attn_scheme scheme, int set)
{
    const struct set *s = &in->set[set];
    return (struct prefill_args){ s->q, s->k, s->v, s->out, s->table[scheme] };
}

/* ---- rows ---- */

static enum op_status set_up(struct op_bound *b, int set, void *args,
                             const struct op_memory *memory, void **state)
{
    const struct instance *in = b->in;
    const struct prefill_impl *impl = b->impl;
    struct prefill_args *a = args;
    *a = args_at(in, impl->scheme, set);
    return impl->setup ? impl->setup(&in->p, a, memory, b->stream, state) : OP_OK;
}

static int bind(struct cb_context *c, void *instance, const struct op_impl *i, void **out)
{
    return op_bind(c, instance, i, ((struct instance *)instance)->sets, sizeof(struct prefill_args),
                   set_up, ((const struct prefill_impl *)i)->teardown, out);
}

static int run(void *bound, int weights, int ins)
{
    const struct op_bound *b = bound;
    const struct instance *in = b->in;
    const struct prefill_impl *impl = b->impl;
    const struct prefill_args *args = b->args;
    (void)weights;
    return op_launched(b, impl->run(&in->p, &args[ins], b->states.state[ins], b->stream));
}

static int outputs(void *bound, int weights, int ins, struct cb_region *out, int max)
{
    const struct op_bound *b = bound;
    const struct instance *in = b->in;
    const enum attn_scheme scheme = ((const struct prefill_impl *)b->impl)->scheme;
    const struct set *s = &in->set[ins];
    const size_t pool = pool_bytes(&in->p, scheme);
    (void)weights, (void)max;
    out[0] = (struct cb_region){ s->out, out_bytes(&in->p) };
    out[1] = (struct cb_region){ s->pool[scheme][0], pool };
    out[2] = (struct cb_region){ s->pool[scheme][1], pool };
    return 3;
}

/* ---- what should come out ---- */

static bool on_gpu(const struct instance *in)
{
#ifdef WITH_CUDA
    return cb_device_info(in->device)->sm > 0;
#else
    (void)in;
    return false;
#endif
}

/* One side in pages of halves, host memory, from [batch][length][kv_heads][head_dim]. */
static void to_pages(const struct attn_problem *p, const half_bits *from, unsigned char *to)
{
    const size_t row = (size_t)p->head_dim, page = pool_bytes(p, ATTN_KV16) / (size_t)page_count(p);
#pragma omp parallel for schedule(static)
    for (int t = 0; t < p->batch * p->length; t++)
        for (int head = 0; head < p->kv_heads; head++)
            memcpy(to + (size_t)(t / p->page) * page +
                       attn_data_at(ATTN_KV16, p->head_dim, p->page, head, t % p->page),
                   from + ((size_t)t * (size_t)p->kv_heads + (size_t)head) * row, 2 * row);
}

static int expect_side(struct instance *in, const void *side, int which)
{
    const struct attn_problem *p = &in->p;
    const size_t bytes = side_bytes(p);
    half_bits *const plain = malloc(bytes);
    unsigned char *const pages = malloc(bytes);
    int status = plain && pages ? cb_download(in->device, plain, side, bytes)
                                : cb_error("no memory for the reference");
    if (!status)
        to_pages(p, plain, pages);
    for (int k = 0; k < ATTN_SCHEMES && !status; k++) {
        if (!uses(in, k))
            continue;
        if (k == ATTN_KV16)
            memcpy(in->cache[k][which], pages, bytes);
        else
            status = op_result(attn_quantise(p, (enum attn_scheme)k, pages, page_count(p), NULL,
                                             which, in->cache[k][which]),
                               "cache", "codes");
    }
    free(plain);
    free(pages);
    return status;
}

static int expect(struct cb_context *c, void *instance, int weights, int ins)
{
    struct instance *in = instance;
    const struct prefill_args a = args_at(in, ATTN_KV16, ins);
    const size_t out =
        (size_t)in->tokens * (size_t)in->p.heads * (size_t)in->p.head_dim * sizeof(double);
    enum op_status s = OP_EDEVICE;
    (void)c, (void)weights;
#ifdef WITH_CUDA
    if (on_gpu(in))
        s = prefill_ref_cuda(&in->p, &a, in->token_device, in->tokens, &in->on_device,
                             cb_device_stream(in->device));
#endif
    if (!on_gpu(in))
        s = prefill_ref(&in->p, &a, in->token_device, in->tokens, &in->on_device);
    return op_result(s, "reference", "launch") || cb_sync(in->device) ||
                   cb_download(in->device, in->wanted.want, in->on_device.want, out) ||
                   cb_download(in->device, in->wanted.spread, in->on_device.spread, out) ||
                   expect_side(in, a.k, 0) || expect_side(in, a.v, 1)
               ? -1
               : 0;
}

/* Bytes of the cache that are not what they should be, counted as bad elements. */
static int check_cache(const struct op_bound *b, int set, struct cb_accuracy *r1)
{
    const struct instance *in = b->in;
    const enum attn_scheme scheme = ((const struct prefill_impl *)b->impl)->scheme;
    const size_t bytes = pool_bytes(&in->p, scheme);
    unsigned char *const got = malloc(bytes);
    int status = got ? 0 : cb_error("no memory for the cache");
    for (int which = 0; which < 2 && !status; which++) {
        status = cb_download(in->device, got, in->set[set].pool[scheme][which], bytes);
        for (size_t i = 0; !status && i < bytes; i++)
            r1->bad += got[i] != in->cache[scheme][which][i];
    }
    free(got);
    return status;
}

static int check(struct cb_context *c, void *bound, int weights, int ins, struct cb_accuracy *r1,
                 struct cb_accuracy *r2, double *limit)
{
    const struct op_bound *b = bound;
    const struct instance *in = b->in;
    const size_t row = (size_t)in->p.heads * (size_t)in->p.head_dim;
    half_bits *const got = malloc(out_bytes(&in->p));
    (void)c, (void)weights, (void)r2;
    *limit = 2e-3;
    int status = got ? cb_download(in->device, got, in->set[ins].out, out_bytes(&in->p))
                     : cb_error("no memory for a result");
    for (size_t i = 0; !status && i < (size_t)in->tokens * row; i++) {
        const size_t at = (size_t)in->token[i / row] * row + i % row;
        const double want = in->wanted.want[i], size = fmax(fabs(want), 0x1p-14);
        /* weights are rounded to half: terms err independently, as in attn_expect.c */
        cb_accuracy_add(r1, (long)at, half_to_float(got[at]), want,
                        4 * 0x1p-11 * (size + 2 * in->wanted.spread[i]));
    }
    cb_accuracy_finish(r1);
    free(got);
    return status ? -1 : check_cache(b, ins, r1);
}

const struct cb_op op_attn_prefill = {
    .name = "attn_prefill", .title = "attention of a prompt that fills the cache",
    .params = params, .params_size = sizeof(struct prefill_params),
    .impl = impl_at, .open = open_problem, .inputs = inputs, .ready = ready, .work = work,
    .set_bytes = set_bytes, .prepare = prepare, .bind = bind, .run = run, .outputs = outputs,
    .expect = expect, .check = check, .unbind = op_unbind, .close = close_instance,
};
