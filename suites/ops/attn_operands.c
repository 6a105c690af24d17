/*
 * attn_operands.c - queries and paged caches of attn.
 *
 * Keys and values are normal halves in pages, and what the other schemes make of them.  Pages
 * of a sequence lie scattered over the pool, as they do in a server after a while.  Tokens
 * behind a sequence's end hold the largest half, so that a kernel that counts one is seen.
 */
#include <stdlib.h>
#include <string.h>

#include "../../harness/error.h"
#include "attn_part.h"

/* Normal numbers of the harness end at 2 sqrt(3). */
static const float STATIC_SCALE = 3.4641016f / 127;
static const half_bits BEHIND = 0x7bff; /* 65504 */

static bool on_gpu(const struct attn_operands *o)
{
#ifdef WITH_CUDA
    return cb_device_info(o->device)->sm > 0;
#else
    (void)o;
    return false;
#endif
}

size_t attn_out_count(const struct attn_problem *p)
{
    return (size_t)p->batch * (size_t)p->heads * (size_t)p->head_dim;
}

static int pages_of(const struct attn_operands *o, int b)
{
    return (o->length[b] + o->p.page - 1) / o->p.page;
}

int attn_operands_open(struct attn_operands *o)
{
    struct attn_problem *p = &o->p;
    const int room = (int)((long)p->length * o->made.spread / 100);
    o->length = malloc((size_t)p->batch * sizeof *o->length);
    if (!o->length)
        return cb_error("no memory for %d lengths", p->batch);
    p->tokens = 0;
    o->pages = 0;
    for (int b = 0; b < p->batch; b++) {
        uint32_t word[4];
        cb_philox(o->made.seed, 0, 0, (uint64_t)b, word);
        const int less = room ? (int)(word[0] % ((unsigned)room + 1)) : 0;
        o->length[b] = b == 0 || less >= p->length ? p->length : p->length - less;
        p->tokens += o->length[b];
        o->pages += pages_of(o, b);
    }
    return 0;
}

static int make(struct attn_operands *o, struct op_sets *t, int count, size_t bytes)
{
    if (op_sets_open(t, count))
        return -1;
    for (int s = 0; s < count; s++)
        if (cb_alloc(o->device, bytes, &t->set[s]))
            return -1;
    return 0;
}

/* Number in the pool of page i of all sequences' pages: a step that shares no divisor with
 * their number walks over all of them. */
static int scattered(const struct attn_operands *o, int i)
{
    for (long step = (long)(o->pages * 0.618) + 1;; step++) {
        long a = step, b = o->pages;
        while (b) {
            const long rest = a % b;
            a = b;
            b = rest;
        }
        if (a == 1)
            return (int)(i * step % o->pages);
    }
}

static size_t page_bytes(const struct attn_operands *o, enum attn_scheme s)
{
    return attn_page_bytes(s, o->p.kv_heads, o->p.head_dim, o->p.page);
}

/* Tokens behind the ends. */
static int write_behind(const struct attn_operands *o, void *pool)
{
    const size_t count = (size_t)o->p.page * (size_t)o->p.head_dim;
    half_bits *const rows = malloc(count * sizeof *rows);
    int status = rows ? 0 : cb_error("no memory for a page"), first = 0;
    for (size_t i = 0; rows && i < count; i++)
        rows[i] = BEHIND;
    for (int b = 0; !status && b < o->p.batch; b++) {
        const int used = o->length[b] % o->p.page;
        first += pages_of(o, b);
        char *const page =
            (char *)pool + (size_t)scattered(o, first - 1) * page_bytes(o, ATTN_KV16);
        for (int head = 0; used && !status && head < o->p.kv_heads; head++)
            status = cb_upload(o->device,
                               page + attn_data_at(ATTN_KV16, o->p.head_dim, o->p.page, head, used),
                               rows, (size_t)(o->p.page - used) * (size_t)o->p.head_dim * 2);
    }
    free(rows);
    return status;
}

static int make_halves(struct attn_operands *o, int sets)
{
    const long rows = (long)o->pages * o->p.kv_heads * o->p.page;
    for (int which = 0; which < 2; which++) {
        struct op_sets *const pool = &o->pool[ATTN_KV16][which];
        if (make(o, pool, sets, (size_t)o->pages * page_bytes(o, ATTN_KV16)))
            return -1;
        for (int s = 0; s < sets; s++)
            if (cb_random(o->device, pool->set[s], CB_F16, CB_NORMAL, o->made.seed,
                          which ? ATTN_TENSOR_V : ATTN_TENSOR_K, (uint32_t)s, rows, o->p.head_dim,
                          false) ||
                write_behind(o, pool->set[s]))
                return -1;
    }
    return 0;
}

static enum op_status quantise(const struct attn_operands *o, enum attn_scheme s, int which,
                               const void *from, void *to)
{
#ifdef WITH_CUDA
    if (on_gpu(o))
        return attn_quantise_cuda(&o->p, s, from, o->pages, o->scale_device, which, to,
                                  cb_device_stream(o->device));
#endif
    return on_gpu(o) ? OP_EDEVICE
                     : attn_quantise(&o->p, s, from, o->pages, o->scale_device, which, to);
}

static int make_codes(struct attn_operands *o, enum attn_scheme scheme, int sets)
{
    for (int which = 0; which < 2; which++) {
        struct op_sets *const pool = &o->pool[scheme][which];
        if (make(o, pool, sets, (size_t)o->pages * page_bytes(o, scheme)))
            return -1;
        for (int s = 0; s < sets; s++)
            if (op_result(
                    quantise(o, scheme, which, o->pool[ATTN_KV16][which].set[s], pool->set[s]),
                    which ? "values" : "keys", "codes"))
                return -1;
    }
    return 0;
}

/* Entries behind a sequence's pages repeat its last one. */
static int make_table(struct attn_operands *o, enum attn_scheme scheme, int sets)
{
    const size_t width = (size_t)attn_table_pages(&o->p);
    const size_t count = (size_t)o->p.batch * 2 * width;
    const void **const table = malloc(count * sizeof *table);
    int status = table ? make(o, &o->table[scheme], sets, count * sizeof *table)
                       : cb_error("no memory for a page table");
    for (int s = 0; !status && s < sets; s++) {
        for (int b = 0, first = 0; b < o->p.batch; first += pages_of(o, b++))
            for (size_t i = 0; i < 2 * width; i++) {
                const int last = pages_of(o, b) - 1, at = (int)(i % width);
                const int page = scattered(o, first + (at < last ? at : last));
                table[(size_t)b * 2 * width + i] = (const char *)o->pool[scheme][i / width].set[s] +
                                                   (size_t)page * page_bytes(o, scheme);
            }
        status = cb_upload(o->device, o->table[scheme].set[s], table, count * sizeof *table);
    }
    free(table);
    return status;
}

int attn_operands_make(struct attn_operands *o, unsigned schemes, int weight_sets, int input_sets)
{
    const float scale[2] = { STATIC_SCALE, STATIC_SCALE };
    const size_t out = 2 * attn_out_count(&o->p), lengths = (size_t)o->p.batch * sizeof *o->length;
    if (cb_alloc(o->device, lengths, &o->length_device) ||
        cb_upload(o->device, o->length_device, o->length, lengths) ||
        cb_alloc(o->device, sizeof scale, &o->scale_device) ||
        cb_upload(o->device, o->scale_device, scale, sizeof scale) ||
        make(o, &o->q, input_sets, out) || make(o, &o->out, input_sets, out))
        return -1;
    for (int s = 0; s < input_sets; s++)
        if (cb_random(o->device, o->q.set[s], CB_F16, CB_NORMAL, o->made.seed, ATTN_TENSOR_Q,
                      (uint32_t)s, (long)o->p.batch * o->p.heads, o->p.head_dim, false))
            return -1;
    if (make_halves(o, weight_sets) || make_table(o, ATTN_KV16, weight_sets))
        return -1;
    for (int s = ATTN_KV8; s < ATTN_SCHEMES; s++)
        if (schemes & 1u << s && (make_codes(o, (enum attn_scheme)s, weight_sets) ||
                                  make_table(o, (enum attn_scheme)s, weight_sets)))
            return -1;
    return cb_sync(o->device);
}

void attn_operands_close(struct attn_operands *o)
{
    op_sets_close(o->device, &o->q);
    op_sets_close(o->device, &o->out);
    for (int s = 0; s < ATTN_SCHEMES; s++) {
        op_sets_close(o->device, &o->pool[s][0]);
        op_sets_close(o->device, &o->pool[s][1]);
        op_sets_close(o->device, &o->table[s]);
    }
    cb_free(o->device, o->length_device);
    cb_free(o->device, o->scale_device);
    free(o->length);
    *o = (struct attn_operands){ 0 };
}

struct attn_args attn_operands_at(const struct attn_operands *o, enum attn_scheme s, int weights,
                                  int inputs)
{
    const struct op_sets *const table = &o->table[s];
    return (struct attn_args){ .q = o->q.set[inputs % o->q.count],
                               .out = o->out.set[inputs % o->out.count],
                               .length = o->length_device,
                               .page = table->count ? table->set[weights % table->count] : NULL,
                               .scale = s == ATTN_KV8_STATIC ? o->scale_device : NULL };
}
