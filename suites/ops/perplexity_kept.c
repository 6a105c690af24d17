/* perplexity_kept.c - see perplexity_kept.h.  A process runs one case at a time. */
#include "perplexity_kept.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "../../harness/error.h"

struct entry {
    struct entry *next;
    char key[KEPT_KEY];
    struct kept_row row;
};

static struct entry *rows;

struct numbers {
    struct numbers *next;
    char key[KEPT_KEY];
    size_t count;
    double value[];
};

static struct numbers *searched;

static struct {
    char key[KEPT_KEY]; /* "": nothing */
    double *loss;
    struct quant_reference reference;
} original;

static double *copy(const double *x, int count)
{
    double *c = malloc((size_t)count * sizeof *c);
    if (c)
        memcpy(c, x, (size_t)count * sizeof *c);
    return c;
}

const struct kept_row *kept_row(const char *key)
{
    for (const struct entry *e = rows; e; e = e->next)
        if (!strcmp(e->key, key))
            return &e->row;
    return NULL;
}

void kept_row_add(const char *key, int windows, const struct kept_row *row)
{
    struct entry *e = strlen(key) < KEPT_KEY && !kept_row(key) ? malloc(sizeof *e) : NULL;
    if (!e)
        return;
    *e = (struct entry){ .next = rows, .row = *row };
    strcpy(e->key, key);
    e->row.loss = copy(row->loss, windows);
    e->row.kl = copy(row->kl, windows);
    if (e->row.loss && e->row.kl) {
        rows = e;
        return;
    }
    free(e->row.loss);
    free(e->row.kl);
    free(e);
}

double *kept_numbers(const char *key, size_t count)
{
    for (struct numbers *n = searched; n; n = n->next)
        if (n->count == count && !strcmp(n->key, key))
            return n->value;
    const size_t bytes = sizeof(struct numbers) + count * sizeof(double);
    struct numbers *n = strlen(key) < KEPT_KEY ? malloc(bytes) : NULL;
    if (!n) {
        cb_error("no memory for %zu numbers", count);
        return NULL;
    }
    n->next = searched;
    n->count = count;
    strcpy(n->key, key);
    for (size_t i = 0; i < count; i++)
        n->value[i] = NAN;
    searched = n;
    return n->value;
}

static void drop_original(void)
{
    quant_reference_free(&original.reference);
    free(original.loss);
    original.loss = NULL;
    original.key[0] = 0;
}

bool kept_original_take(const char *key, int windows, double *loss, struct quant_reference *out)
{
    if (!*key || strcmp(original.key, key))
        return false;
    memcpy(loss, original.loss, (size_t)windows * sizeof *loss);
    *out = original.reference;
    original.reference = (struct quant_reference){ 0 };
    drop_original();
    return true;
}

void kept_original_give(const char *key, int windows, const double *loss,
                        struct quant_reference *r)
{
    if (r->device || strlen(key) >= KEPT_KEY) /* memory of a device ends with the case */
        return;
    drop_original();
    if (!(original.loss = copy(loss, windows)))
        return;
    strcpy(original.key, key);
    original.reference = *r;
    *r = (struct quant_reference){ 0 };
}
