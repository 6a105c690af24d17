/* tokens.c - see tokens.h. */
#include <stdlib.h>

#include "tokens.h"

void encoder_tokens_strip(struct encoder_tokens *t)
{
    free(t->from);
    free(t->to);
    free(t->of);
    free(t->part);
    free(t->item);
    t->from = t->to = t->of = NULL;
    t->part = NULL;
    t->item = NULL;
}

void encoder_tokens_free(struct encoder_tokens *t)
{
    encoder_tokens_strip(t);
    *t = (struct encoder_tokens){ 0 };
}

static int items_of(int rows)
{
    return (rows + ENCODER_ITEM_ROWS - 1) / ENCODER_ITEM_ROWS;
}

/* parts and tokens of out are counted. */
static enum op_status allocate(struct encoder_tokens *t)
{
    const size_t tokens = (size_t)t->tokens, parts = (size_t)t->parts;
    t->from = malloc(tokens * sizeof *t->from);
    t->to = malloc(tokens * sizeof *t->to);
    t->of = malloc(tokens * sizeof *t->of);
    t->part = malloc(parts * sizeof *t->part);
    t->item = malloc((parts + tokens / ENCODER_ITEM_ROWS + 1) * sizeof *t->item);
    return t->from && t->to && t->of && t->part && t->item ? OP_OK : OP_ENOMEM;
}

/* The next part: rows of slots first .. first + valid - 1; of all slots the first `queries` are
 * queries. */
static void append(struct encoder_tokens *t, int part, int token, int length, int valid,
                   const int32_t *slot, int first, int queries)
{
    t->part[part] = (struct encoder_part){ token, length, valid };
    for (int i = 0; i < length; i++) {
        const int row = i >= valid ? -1 : slot ? slot[first + i] : first + i;
        t->from[token + i] = row;
        t->to[token + i] = first + i < queries ? row : -1;
        t->of[token + i] = part;
    }
    for (int i = 0; i < items_of(valid); i++) {
        const int at = i * ENCODER_ITEM_ROWS, left = valid - at;
        t->item[t->items++] = (struct encoder_item){
            token + at, left < ENCODER_ITEM_ROWS ? left : ENCODER_ITEM_ROWS, token, valid
        };
    }
}

enum op_status encoder_tokens_groups(const struct group_attn_problem *p,
                                     struct encoder_tokens *out)
{
    *out = (struct encoder_tokens){ .tokens = p->slots, .parts = p->slots / p->group,
                                    .buckets = 1 };
    const enum op_status status = allocate(out);
    if (status) {
        encoder_tokens_free(out);
        return status;
    }
    for (int i = 0; i < out->parts; i++)
        append(out, i, i * p->group, p->group, p->group, NULL, i * p->group, p->n);
    out->bucket[0] = (struct encoder_bucket){ 0, out->parts, 0, p->group };
    return OP_OK;
}

enum op_status encoder_tokens_of(const struct encoder_problem *p, enum encoder_scheme scheme,
                                 const struct encoder_frame *host, int layer,
                                 struct encoder_tokens *out)
{
    struct encoder_parts parts;
    enum op_status status = encoder_parts_of(p, scheme, host, layer, &parts);
    *out = (struct encoder_tokens){ .tokens = parts.slots, .parts = parts.count };
    if (!status)
        status = allocate(out);
    for (int i = 0; !status && i < parts.count; i++) {
        const int first = parts.begin[i], length = parts.begin[i + 1] - first;
        append(out, i, first, length, length, parts.slot, first, p->layer.n);
    }
    if (!status && scheme == ENCODER_GROUPS) {
        out->buckets = 1;
        out->bucket[0] = (struct encoder_bucket){ 0, parts.count, 0, p->layer.group };
    }
    encoder_parts_free(&parts);
    if (status)
        encoder_tokens_free(out);
    return status;
}

/* ---- padded windows ---- */

static const int levels[ENCODER_BUCKETS_MAX - 1] = { 30, 60, 100 }; /* of SST at inference */

static int bucket_of(int rows)
{
    int b = 0;
    while (b < ENCODER_BUCKETS_MAX - 1 && rows >= levels[b])
        b++;
    return b;
}

static int length_of(int bucket, int area)
{
    return bucket < ENCODER_BUCKETS_MAX - 1 && levels[bucket] < area ? levels[bucket] : area;
}

/* Counts parts and tokens; buckets without parts stay, with none. */
static void count(const struct encoder_parts *parts, int area, struct encoder_tokens *out)
{
    for (int i = 0; i < parts->count; i++)
        out->bucket[bucket_of(parts->begin[i + 1] - parts->begin[i])].parts++;
    for (int b = 0; b < ENCODER_BUCKETS_MAX; b++) {
        struct encoder_bucket *k = &out->bucket[b];
        *k = (struct encoder_bucket){ out->parts, k->parts, out->tokens, length_of(b, area) };
        out->parts += k->parts;
        out->tokens += k->parts * k->length;
    }
    out->buckets = ENCODER_BUCKETS_MAX;
}

enum op_status encoder_tokens_padded(const struct encoder_problem *p,
                                     const struct encoder_frame *host, int layer,
                                     struct encoder_tokens *out)
{
    struct encoder_parts parts;
    int met[ENCODER_BUCKETS_MAX] = { 0 };
    enum op_status status = encoder_parts_of(p, ENCODER_WINDOWS, host, layer, &parts);
    *out = (struct encoder_tokens){ 0 };
    if (!status) {
        count(&parts, p->window * p->window, out);
        status = allocate(out);
    }
    for (int i = 0; !status && i < parts.count; i++) {
        const int first = parts.begin[i], rows = parts.begin[i + 1] - first;
        const struct encoder_bucket *k = &out->bucket[bucket_of(rows)];
        const int nth = met[bucket_of(rows)]++;
        append(out, k->part + nth, k->token + nth * k->length, k->length, rows, parts.slot, first,
               p->layer.n);
    }
    encoder_parts_free(&parts);
    if (status)
        encoder_tokens_free(out);
    return status;
}
