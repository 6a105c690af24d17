/*
 * tokenizer.c - text to tokens and back.
 *
 * A text starts as symbols, one per character or byte, in a chain.  Of all neighbours
 * that may be joined, the pair with the best score, or the lowest rank of a merge, goes
 * first, the leftmost of equals; a heap holds the pairs, and one that has been overtaken
 * by another join is dropped when it comes up.
 */
#include "tokenizer.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "../../harness/error.h"
#include "alloc.h"
#include "build.h"
#include "unicode.h"

struct tokenizer_merge {
    int left, right; /* tokens; left -1: a free place */
    int joined;
    int rank;
};

/* ---- building ---- */

void tokenizer_begin(struct tokenizer *t, const char *name)
{
    const char *slash = strrchr(name, '/');
    *t = (struct tokenizer){ .bos = -1, .eos = -1, .unknown = -1 };
    data_text(t->name, sizeof t->name, slash ? slash + 1 : name);
    for (int i = 0; i < 256; i++)
        t->byte_token[i] = -1;
}

static int no_memory(const struct tokenizer *t)
{
    return cb_error("%s: no memory for %d tokens", t->name, t->count);
}

/* "<0x0A>" is the byte 10. */
static int byte_of(const char *text, size_t length)
{
    static const char digits[] = "0123456789ABCDEF";
    if (length != 6 || memcmp(text, "<0x", 3) || text[5] != '>' || !text[3] || !text[4])
        return -1;
    const char *high = strchr(digits, text[3]), *low = strchr(digits, text[4]);
    return high && low ? (int)(high - digits) * 16 + (int)(low - digits) : -1;
}

int tokenizer_add(struct tokenizer *t, const char *text, size_t length, float score,
                  enum token_kind kind)
{
    if (t->count == t->room) {
        if (t->count >= 1 << 24)
            return cb_error("%s: more than %d tokens", t->name, 1 << 24);
        const int room = t->room ? 2 * t->room : 512;
        struct token *more = data_realloc(t->token, (size_t)room, sizeof *more);
        if (!more)
            return no_memory(t);
        t->token = more;
        t->room = room;
    }
    if (length > UINT_MAX / 2)
        return cb_error("%s: token %d has %zu bytes", t->name, t->count, length);
    if (!t->text || length > t->text_room - t->text_used) {
        const size_t room = 2 * t->text_room + length + 4096;
        char *more = data_realloc(t->text, room, 1);
        if (!more)
            return no_memory(t);
        t->text = more;
        t->text_room = room;
    }
    const int byte = t->bytes || kind == TOKEN_CONTROL ? -1 : byte_of(text, length);
    if (kind == TOKEN_BYTE && byte < 0)
        kind = TOKEN_CONTROL; /* says it is a byte, and is none */
    char single = (char)byte;
    if (byte >= 0) {
        kind = TOKEN_BYTE;
        text = &single;
        length = 1;
        t->byte_token[byte] = t->count;
    }
    t->token[t->count++] = (struct token){ .at = t->text_used, .length = (unsigned)length,
                                           .score = score, .kind = (unsigned char)kind };
    if (length)
        memcpy(t->text + t->text_used, text, length);
    t->text_used += length;
    return 0;
}

static uint64_t hash(const char *text, size_t length)
{
    uint64_t h = length;
    for (size_t i = 0; i < length; i++)
        h = (h ^ (unsigned char)text[i]) * 0x9e3779b97f4a7c15; /* odd, from the golden ratio */
    return data_mix(h);
}

static size_t power_of_two(size_t n)
{
    size_t size = 16;
    while (size < n)
        size *= 2;
    return size;
}

static size_t place(const struct tokenizer *t, const char *text, size_t length)
{
    size_t i = hash(text, length) & (t->by_text_size - 1);
    for (; t->by_text[i] >= 0; i = (i + 1) & (t->by_text_size - 1)) {
        const struct token *k = &t->token[t->by_text[i]];
        if (k->length == length && (!length || !memcmp(t->text + k->at, text, length)))
            break;
    }
    return i;
}

int tokenizer_seal(struct tokenizer *t)
{
    t->by_text_size = power_of_two(2 * (size_t)t->count);
    t->by_text = data_malloc(t->by_text_size, sizeof *t->by_text);
    if (!t->by_text)
        return no_memory(t);
    for (size_t i = 0; i < t->by_text_size; i++)
        t->by_text[i] = -1;
    for (int i = 0; i < t->count; i++) {
        const struct token *k = &t->token[i];
        if ((k->kind != TOKEN_TEXT && k->kind != TOKEN_USER) || !k->length)
            continue;
        t->longest = k->length > t->longest ? k->length : t->longest;
        if (k->kind == TOKEN_USER && k->length > t->longest_user)
            t->longest_user = k->length;
        const size_t p = place(t, t->text + k->at, k->length);
        if (t->by_text[p] < 0) /* of equal texts the first counts */
            t->by_text[p] = i;
    }
    return 0;
}

int tokenizer_find(const struct tokenizer *t, const char *text, size_t length)
{
    return t->by_text[place(t, text, length)];
}

int tokenizer_merges(struct tokenizer *t, size_t count)
{
    if (count > 1 << 26)
        return cb_error("%s: %zu merges", t->name, count);
    t->merge_size = power_of_two(2 * count);
    t->merge = data_malloc(t->merge_size, sizeof *t->merge);
    if (!t->merge) {
        t->merge_size = 0;
        return cb_error("%s: no memory for %zu merges", t->name, count);
    }
    for (size_t i = 0; i < t->merge_size; i++)
        t->merge[i].left = -1;
    return 0;
}

static size_t merge_place(const struct tokenizer *t, int left, int right)
{
    size_t i = data_mix((uint64_t)(uint32_t)left << 32 | (uint32_t)right) & (t->merge_size - 1);
    while (t->merge[i].left >= 0 && (t->merge[i].left != left || t->merge[i].right != right))
        i = (i + 1) & (t->merge_size - 1);
    return i;
}

int tokenizer_merge(struct tokenizer *t, int left, int right)
{
    const struct token *a = &t->token[left], *b = &t->token[right];
    const size_t length = (size_t)a->length + b->length;
    char few[64], *text = length <= sizeof few ? few : data_malloc(length, 1);
    if (!text)
        return no_memory(t);
    memcpy(text, t->text + a->at, a->length);
    memcpy(text + a->length, t->text + b->at, b->length);
    const int joined = tokenizer_find(t, text, length);
    if (text != few)
        data_free(text);
    if (joined < 0)
        return cb_error("%s: merge %zu: its result is no token", t->name, t->merges);
    const size_t p = merge_place(t, left, right);
    if (t->merge[p].left < 0)
        t->merge[p] = (struct tokenizer_merge){ left, right, joined, (int)t->merges };
    t->merges++;
    return 0;
}

void tokenizer_free(struct tokenizer *t)
{
    if (!t)
        return;
    data_free(t->token);
    data_free(t->text);
    data_free(t->by_text);
    data_free(t->merge);
    *t = (struct tokenizer){ 0 };
}

const char *tokenizer_text(const struct tokenizer *t, int token, size_t *length)
{
    *length = t->token[token].length;
    return t->text + t->token[token].at;
}

/* ---- joining ---- */

struct symbol {
    const char *text;
    size_t length;   /* 0: joined to the one before */
    int token;       /* -1: none */
    int before, next; /* in the chain; -1 at its ends */
    bool fixed;      /* defined by the user: not joined */
};

struct pair {
    double order;    /* lower goes first */
    int left, right; /* symbols */
    size_t length;   /* of both: no longer true after another join */
    int joined;
};

struct joiner {
    const struct tokenizer *t;
    struct symbol *symbol;
    int symbols, symbol_room;
    struct pair *heap;
    int pairs, pair_room;
    int *out;
    int count, room;
};

static bool goes_first(const struct pair *a, const struct pair *b)
{
    return a->order != b->order ? a->order < b->order : a->left < b->left;
}

/* Room for n elements in all; doubles. */
static int make_room(void **p, int *room, int n, size_t size)
{
    if (n <= *room)
        return 0;
    const int more = n > INT_MAX / 2 ? n : 2 * n + 64;
    void *q = data_realloc(*p, (size_t)more, size);
    if (!q)
        return cb_error("no memory for %d symbols", more);
    *p = q;
    *room = more;
    return 0;
}

static int push(struct joiner *j, struct pair pair)
{
    void *heap = j->heap;
    if (make_room(&heap, &j->pair_room, j->pairs + 1, sizeof *j->heap))
        return -1;
    j->heap = heap;
    int i = j->pairs++;
    for (; i && goes_first(&pair, &j->heap[(i - 1) / 2]); i = (i - 1) / 2)
        j->heap[i] = j->heap[(i - 1) / 2];
    j->heap[i] = pair;
    return 0;
}

static struct pair pop(struct joiner *j)
{
    const struct pair top = j->heap[0], last = j->heap[--j->pairs];
    int i = 0;
    for (int child; (child = 2 * i + 1) < j->pairs; i = child) {
        if (child + 1 < j->pairs && goes_first(&j->heap[child + 1], &j->heap[child]))
            child++;
        if (!goes_first(&j->heap[child], &last))
            break;
        j->heap[i] = j->heap[child];
    }
    j->heap[i] = last;
    return top;
}

/* Puts two neighbours into the heap if they may be joined. */
static int offer(struct joiner *j, int left, int right)
{
    if (left < 0 || right < 0)
        return 0;
    const struct tokenizer *t = j->t;
    const struct symbol *a = &j->symbol[left], *b = &j->symbol[right];
    struct pair pair = { .left = left, .right = right, .length = a->length + b->length };
    if (a->fixed || b->fixed)
        return 0;
    if (t->by_merges) {
        if (!t->merge_size || a->token < 0 || b->token < 0)
            return 0;
        const struct tokenizer_merge *m = &t->merge[merge_place(t, a->token, b->token)];
        if (m->left < 0)
            return 0;
        pair.order = m->rank;
        pair.joined = m->joined;
    } else {
        pair.joined = tokenizer_find(t, a->text, pair.length); /* they lie side by side */
        if (pair.joined < 0)
            return 0;
        pair.order = -(double)t->token[pair.joined].score;
    }
    return push(j, pair);
}

static int join(struct joiner *j)
{
    for (int i = 0; i + 1 < j->symbols; i++)
        if (offer(j, i, i + 1))
            return -1;
    while (j->pairs) {
        const struct pair p = pop(j);
        struct symbol *a = &j->symbol[p.left], *b = &j->symbol[p.right];
        if (!a->length || !b->length || a->next != p.right || a->length + b->length != p.length)
            continue;
        a->length = p.length;
        a->token = p.joined;
        a->next = b->next;
        b->length = 0;
        if (a->next >= 0)
            j->symbol[a->next].before = p.left;
        if (offer(j, a->before, p.left) || offer(j, p.left, a->next))
            return -1;
    }
    return 0;
}

static int emit(struct joiner *j, int token)
{
    void *out = j->out;
    if (j->count == INT_MAX || make_room(&out, &j->room, j->count + 1, sizeof *j->out))
        return -1;
    j->out = out;
    j->out[j->count++] = token;
    return 0;
}

/* The token of one symbol, or those of its bytes; *unknown says whether the last symbol was. */
static int emit_symbol(struct joiner *j, const struct symbol *s, bool *unknown)
{
    const struct tokenizer *t = j->t;
    const bool before = *unknown;
    *unknown = s->token < 0;
    if (s->token >= 0)
        return emit(j, s->token);
    if (t->unknown_once && t->byte_token[0] < 0)
        return before ? 0 : emit(j, t->unknown);
    for (size_t i = 0; i < s->length; i++) {
        const int byte = (unsigned char)s->text[i];
        const int token = t->byte_token[byte] >= 0 ? t->byte_token[byte] : t->unknown;
        if (token < 0)
            return cb_error("%s: byte 0x%02x of the text has no token", t->name, (unsigned)byte);
        if (emit(j, token))
            return -1;
    }
    return 0;
}

/* The longest token defined by the user that the text begins with; its bytes, or 0. */
static size_t user_token(const struct tokenizer *t, const char *text, size_t size, int *token)
{
    size_t n = t->longest_user < size ? t->longest_user : size;
    for (; n; n--)
        if ((*token = tokenizer_find(t, text, n)) >= 0 && t->token[*token].kind == TOKEN_USER)
            break;
    return n;
}

/* One symbol more; -1 after cb_error. */
static int add_symbol(struct joiner *j, const char *text, size_t n, int token, bool fixed)
{
    const int i = j->symbols;
    void *symbol = j->symbol;
    if (i == INT_MAX || make_room(&symbol, &j->symbol_room, i + 1, sizeof *j->symbol))
        return -1;
    j->symbol = symbol;
    j->symbol[j->symbols++] = (struct symbol){ .text = text, .length = n, .before = i - 1,
                                               .next = i + 1, .token = token, .fixed = fixed };
    return 0;
}

/* ---- unigram ---- */

/* The best way to a place in the text. */
struct best {
    float score;
    int token;       /* the last one on it; -1: unknown */
    unsigned length; /* its bytes; 0: no way leads here */
};

static void try_way(struct best *to, float score, int token, size_t length)
{
    if (!to->length || score > to->score)
        *to = (struct best){ score, token, (unsigned)length };
}

/* Ways on from a place, to which the best one is known. */
static void go_on(const struct tokenizer *t, const char *text, size_t size, size_t at,
                  struct best *best)
{
    uint32_t c;
    const size_t single = utf8_next(text + at, size - at, &c);
    const size_t most = t->longest < size - at ? t->longest : size - at;
    bool known = false;
    for (size_t n = single; n <= most; n += utf8_next(text + at + n, size - at - n, &c)) {
        const int token = tokenizer_find(t, text + at, n);
        if (token >= 0) {
            const struct token *k = &t->token[token];
            const float score = k->kind == TOKEN_USER
                                    ? (float)((double)((float)n * t->score_max) - 0.1)
                                    : k->score;
            try_way(&best[at + n], best[at].score + score, token, n);
            known = known || n == single;
        }
        if (n == size - at)
            break;
    }
    if (!known)
        try_way(&best[at + single], best[at].score + t->score_min - 10, -1, single);
}

static int cut_word(struct joiner *j, const char *text, size_t size)
{
    struct best *best = data_calloc(size + 1, sizeof *best);
    int status = best ? 0 : cb_error("no memory for %zu bytes", size);
    uint32_t c;
    for (size_t at = 0; !status && at < size; at += utf8_next(text + at, size - at, &c))
        go_on(j->t, text, size, at, best);
    j->symbols = 0;
    for (size_t at = size; !status && at > 0; at -= best[at].length)
        status = add_symbol(j, text + at - best[at].length, best[at].length, best[at].token, true);
    data_free(best);
    bool unknown = false;
    for (int i = j->symbols - 1; !status && i >= 0; i--)
        status = emit_symbol(j, &j->symbol[i], &unknown);
    return status;
}

static int encode_word(struct joiner *j, const char *text, size_t size)
{
    const struct tokenizer *t = j->t;
    const int whole = t->whole_words ? tokenizer_find(t, text, size) : -1;
    if (whole >= 0)
        return emit(j, whole);
    if (t->by_unigram)
        return cut_word(j, text, size);
    j->symbols = 0;
    for (size_t at = 0, n; at < size; at += n) {
        uint32_t c;
        int token;
        const size_t fixed = user_token(t, text + at, size - at, &token);
        n = fixed ? fixed : t->bytes ? 1 : utf8_next(text + at, size - at, &c);
        if (add_symbol(j, text + at, n, fixed ? token : tokenizer_find(t, text + at, n), fixed > 0))
            return -1;
    }
    j->symbol[j->symbols - 1].next = -1;
    if (join(j))
        return -1;
    bool unknown = false;
    for (int i = 0; i >= 0; i = j->symbol[i].next)
        if (emit_symbol(j, &j->symbol[i], &unknown))
            return -1;
    return 0;
}

/* A text with what the tokenizer asks for: a space in front, no spaces that say nothing, spaces
 * for U+2581. */
static char *prepared(const struct tokenizer *t, const char *text, size_t *size)
{
    static const char blank[3] = "\xe2\x96\x81";
    const size_t first = t->space_first;
    char *out = data_malloc(*size + 1, 1);
    size_t n = first, read = 0;
    bool space = t->trim;
    if (!out) {
        cb_error("no memory for %zu bytes", *size);
        return NULL;
    }
    out[0] = ' '; /* if n is 0, the next one takes its place */
    while (t->trim && read < *size && text[read] == ' ')
        read++;
    if (t->trim && read == *size)
        n = 0; /* nothing but spaces is nothing */
    while (read < *size) {
        const bool is_blank = t->blank_is_space && *size - read >= sizeof blank &&
                              !memcmp(text + read, blank, sizeof blank);
        const bool is_space = text[read] == ' ';
        if (!(space && is_space))
            out[n++] = is_blank ? ' ' : text[read];
        space = t->trim && is_space;
        read += is_blank ? sizeof blank : 1;
    }
    while (t->trim && n > 0 && out[n - 1] == ' ')
        n--;
    *size = n;
    return out;
}

int tokenizer_encode(const struct tokenizer *t, const char *text, size_t size, bool start,
                     int **out, int *count)
{
    struct joiner j = { .t = t };
    char *spaced = NULL;
    int status = -1;
    *out = NULL;
    *count = 0;
    if (start && t->add_bos && t->bos >= 0 && emit(&j, t->bos))
        goto done;
    if ((t->space_first || t->trim || t->blank_is_space) && size) {
        if (!(spaced = prepared(t, text, &size)))
            goto done;
        text = spaced;
    }
    for (size_t at = 0, n; at < size; at += n) {
        n = tokenizer_word(t->split, text + at, size - at);
        if (encode_word(&j, text + at, n))
            goto done;
    }
    status = 0;
done:
    data_free(spaced);
    data_free(j.symbol);
    data_free(j.heap);
    if (status) {
        data_free(j.out);
        return -1;
    }
    *out = j.out;
    *count = j.count;
    return 0;
}

int tokenizer_decode(const struct tokenizer *t, const int *token, int count, char **out,
                     size_t *size)
{
    size_t n = 0, at = 0;
    *out = NULL;
    *size = 0;
    for (int i = 0; i < count; i++) {
        if (token[i] < 0 || token[i] >= t->count)
            return cb_error("%s: token %d at %d; the vocabulary has %d", t->name, token[i], i,
                            t->count);
        n += t->token[token[i]].kind == TOKEN_CONTROL ? 0 : t->token[token[i]].length;
    }
    char *text = data_malloc(n + 1, 1);
    if (!text)
        return cb_error("no memory for %zu bytes", n);
    for (int i = 0; i < count; i++) {
        const struct token *k = &t->token[token[i]];
        if (k->kind == TOKEN_CONTROL)
            continue;
        memcpy(text + at, t->text + k->at, k->length);
        at += k->length;
    }
    if (t->space_first && n && text[0] == ' ')
        memmove(text, text + 1, --n);
    text[n] = 0;
    *out = text;
    *size = n;
    return 0;
}
