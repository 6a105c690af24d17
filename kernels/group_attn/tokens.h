/*
 * tokens.h - rows of a layer as products and attention take them: part by part, some padded.
 *
 *   part      0          1              2
 *   tokens    a b c d e  f g h . .  |  i . .        . padding, in tokens as in memory
 *   bucket    0                     |  1            parts of a bucket are equally long
 *
 * Groups and exact windows have no padding.  Padded windows are sorted into buckets by how many
 * rows they have; a window in a bucket of length L has L tokens, of which `valid` are rows.
 *
 * Attention in tiles works on items: up to ENCODER_ITEM_ROWS queries of one part with its keys.
 */
#ifndef KERNELS_GROUP_ATTN_TOKENS_H
#define KERNELS_GROUP_ATTN_TOKENS_H

#include "group_attn.h"

OP_BEGIN

enum { ENCODER_BUCKETS_MAX = 4, ENCODER_ITEM_ROWS = 32 };

struct encoder_part {
    int32_t first, length, valid; /* first token, tokens, tokens that are rows */
};

struct encoder_item {
    int32_t query, queries; /* tokens */
    int32_t key, keys;
};

struct encoder_bucket {
    int part, parts;   /* first one, count */
    int token, length; /* first one, of each part */
};

struct encoder_tokens {
    int tokens, parts, items, buckets; /* buckets 0: parts are not equally long */
    int32_t *from; /* [tokens] row of x; -1: padding */
    int32_t *to;   /* [tokens] row of y; -1: padding, or a row that is a key only */
    int32_t *of;   /* [tokens] part */
    struct encoder_part *part; /* [parts] */
    struct encoder_item *item; /* [items] */
    struct encoder_bucket bucket[ENCODER_BUCKETS_MAX];
};

/* Rows of layer l without padding.  OP_EINVAL, OP_ENOMEM. */
enum op_status encoder_tokens_of(const struct encoder_problem *p, enum encoder_scheme scheme,
                                 const struct encoder_frame *host, int layer,
                                 struct encoder_tokens *out);
/* Windows padded as SST does: fewer than 30 rows to 30, fewer than 60 to 60, fewer than 100 to
 * 100, others to the window's area; never beyond its area. */
enum op_status encoder_tokens_padded(const struct encoder_problem *p,
                                     const struct encoder_frame *host, int layer,
                                     struct encoder_tokens *out);
/* Equal groups alone: tokens are slots. */
enum op_status encoder_tokens_groups(const struct group_attn_problem *p,
                                     struct encoder_tokens *out);
void encoder_tokens_strip(struct encoder_tokens *t); /* frees the arrays, keeps counts */
void encoder_tokens_free(struct encoder_tokens *t); /* accepts { 0 } */

OP_END
#endif
