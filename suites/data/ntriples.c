/* ntriples.c - N-Triples and edge lists to graphs of relations. */
#include <limits.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "../../harness/error.h"
#include "alloc.h"
#include "build.h"
#include "relations.h"
#include "text.h"

/* ---- terms by their text ---- */

struct term {
    const char *at;
    size_t size;
};

/* Terms numbered as they come; open addressing, at most half full. */
struct terms {
    struct term *term; /* [room / 2] */
    int *slot;         /* [room] number of a term, -1: free */
    int count, room;
};

static uint64_t hash_of(const char *at, size_t size)
{
    uint64_t h = size;
    for (; size; size -= size < 8 ? size : 8) {
        uint64_t word = 0;
        memcpy(&word, at, size < 8 ? size : 8);
        at += size < 8 ? size : 8;
        h = data_mix(h ^ word);
    }
    return h;
}

static void terms_free(struct terms *t)
{
    data_free(t->term);
    data_free(t->slot);
}

static int slot_of(const struct terms *t, const char *at, size_t size)
{
    unsigned mask = (unsigned)t->room - 1, i = (unsigned)hash_of(at, size) & mask;
    for (;; i = (i + 1) & mask) {
        const int n = t->slot[i];
        if (n < 0 || (t->term[n].size == size && !memcmp(t->term[n].at, at, size)))
            return (int)i;
    }
}

static int terms_grow(struct terms *t)
{
    const int room = t->room ? 2 * t->room : 1024;
    struct term *term = data_realloc(t->term, (size_t)room / 2, sizeof *term);
    if (term)
        t->term = term;
    int *slot = data_malloc((size_t)room, sizeof *slot);
    if (!term || !slot || room > 1 << 29) {
        data_free(slot);
        return -1;
    }
    memset(slot, 0xff, (size_t)room * sizeof *slot);
    data_free(t->slot);
    t->slot = slot;
    t->room = room;
    for (int n = 0; n < t->count; n++)
        t->slot[slot_of(t, t->term[n].at, t->term[n].size)] = n;
    return 0;
}

/* The number of a term, new or known; -1: no memory. */
static int term_number(struct terms *t, const char *at, size_t size)
{
    if (t->count >= t->room / 2 && terms_grow(t))
        return -1;
    const int i = slot_of(t, at, size);
    if (t->slot[i] < 0) {
        t->term[t->count] = (struct term){ at, size };
        t->slot[i] = t->count++;
    }
    return t->slot[i];
}

/* ---- edges as they come ---- */

struct edges {
    long n, room;
    int *relation, *src, *dst;
};

static void edges_free(struct edges *e)
{
    data_free(e->relation);
    data_free(e->src);
    data_free(e->dst);
}

static int edges_add(struct edges *e, int relation, int src, int dst)
{
    if (e->n == e->room) {
        const long room = e->room ? 2 * e->room : 4096;
        int **const list[] = { &e->relation, &e->src, &e->dst };
        for (int i = 0; i < 3; i++) {
            int *p = data_realloc(*list[i], (size_t)room, sizeof *p);
            if (!p)
                return -1;
            *list[i] = p;
        }
        e->room = room;
    }
    e->relation[e->n] = relation;
    e->src[e->n] = src;
    e->dst[e->n++] = dst;
    return 0;
}

/* ---- N-Triples ---- */

static void blanks(struct text *t)
{
    while (t->at < t->stop && (*t->at == ' ' || *t->at == '\t' || *t->at == '\r'))
        t->at++;
}

static bool take_iri(struct text *t)
{
    const char *end = memchr(t->at, '>', (size_t)(t->stop - t->at));
    if (!end || *t->at != '<')
        return false;
    t->at = end + 1;
    return true;
}

static void take_name(struct text *t)
{
    while (t->at < t->stop && *t->at != ' ' && *t->at != '\t')
        t->at++;
}

/* "..." with escapes, then @language or ^^<type>. */
static bool take_literal(struct text *t)
{
    t->at++;
    while (t->at < t->stop && *t->at != '"')
        t->at += *t->at == '\\' && t->at + 1 < t->stop ? 2 : 1;
    if (t->at >= t->stop)
        return false;
    t->at++;
    if (t->at < t->stop && *t->at == '@') {
        take_name(t);
    } else if (t->stop - t->at > 2 && t->at[0] == '^' && t->at[1] == '^') {
        t->at += 2;
        return take_iri(t);
    }
    return true;
}

/* The next term; what: for the message. */
static int take_term(struct text *t, const char *what, bool literal, struct term *out)
{
    char word[40];
    blanks(t);
    const char *from = t->at;
    bool good = false;
    if (from < t->stop && *from == '<') {
        good = take_iri(t);
    } else if (t->stop - from > 2 && from[0] == '_' && from[1] == ':') {
        take_name(t);
        good = true;
    } else if (literal && from < t->stop && *from == '"') {
        good = take_literal(t);
    }
    *out = (struct term){ from, (size_t)(t->at - from) };
    if (good)
        return 0;
    t->at = from;
    return text_error(t, "%s: %s is no %s", what, text_quote(t, word),
                      literal ? "IRI, blank node or literal that ends"
                              : "IRI or blank node that ends");
}

/* One line into nodes, predicates and edges. */
static int take_triple(struct text *t, struct terms *nodes, struct terms *kinds, struct edges *e)
{
    char word[40];
    struct term s, p, o;
    if (take_term(t, "subject", false, &s) || take_term(t, "predicate", false, &p) ||
        take_term(t, "object", true, &o))
        return -1;
    if (*p.at != '<')
        return text_error(t, "predicate: not an IRI");
    blanks(t);
    if (t->at == t->stop || *t->at != '.')
        return text_error(t, "%s where the full stop should be", text_quote(t, word));
    t->at++;
    blanks(t);
    if (t->at < t->stop && *t->at != '#')
        return text_error(t, "%s after the full stop", text_quote(t, word));
    const int from = term_number(nodes, s.at, s.size), kind = term_number(kinds, p.at, p.size);
    const int to = term_number(nodes, o.at, o.size);
    if (from < 0 || kind < 0 || to < 0 || edges_add(e, kind, from, to))
        return text_error(t, "no memory for more terms or triples");
    return 0;
}

int relations_ntriples_parse(const char *name, const char *text, size_t size,
                             struct relations *out)
{
    struct text t;
    struct terms nodes = { 0 }, kinds = { 0 };
    struct edges e = { 0 };
    int status = text_open(&t, name, text, size);
    *out = (struct relations){ 0 };
    while (!status && text_line(&t)) {
        blanks(&t);
        if (t.at < t.stop && *t.at != '#')
            status = take_triple(&t, &nodes, &kinds, &e);
    }
    if (!status && !e.n)
        status = cb_error("%s: no triples", name);
    if (!status)
        status = relations_make(name, nodes.count, kinds.count, e.n, e.relation, e.src, e.dst, out);
    terms_free(&nodes);
    terms_free(&kinds);
    edges_free(&e);
    return status;
}

/* ---- edge lists ---- */

enum { NODES_MAX = 1 << 28, RELATIONS_MAX = 1 << 16 };

static int take_number(struct text *t, const char *what, long max, int *largest, int *out)
{
    char word[40];
    long v;
    if (!text_long(t, &v))
        return text_error(t, "%s: %s is not a whole number", what, text_quote(t, word));
    if (v < 0 || v >= max)
        return text_error(t, "%s: %ld is not in 0 .. %ld", what, v, max - 1);
    *out = (int)v;
    *largest = *out > *largest ? *out : *largest;
    return 0;
}

int relations_edges_parse(const char *name, const char *text, size_t size, struct relations *out)
{
    struct text t;
    struct edges e = { 0 };
    int columns = 0, node = -1, kind = 0, status = text_open(&t, name, text, size);
    *out = (struct relations){ 0 };
    while (!status && text_line_of_data(&t)) {
        int src, dst, relation = 0;
        if (*t.at == '#')
            continue;
        status = take_number(&t, "source", NODES_MAX, &node, &src) ||
                 take_number(&t, "target", NODES_MAX, &node, &dst) ? -1 : 0;
        if (status)
            break;
        const int now = text_at_end(&t) ? 2 : 3;
        if (now == 3 && take_number(&t, "relation", RELATIONS_MAX, &kind, &relation))
            status = -1;
        else if (!text_at_end(&t))
            status = text_error(&t, "more than three columns");
        else if (columns && now != columns)
            status = text_error(&t, "%d columns after lines of %d", now, columns);
        else if (edges_add(&e, relation, src, dst))
            status = text_error(&t, "no memory for more edges");
        columns = now;
    }
    if (!status && !e.n)
        status = cb_error("%s: no edges", name);
    if (!status)
        status = relations_make(name, node + 1, kind + 1, e.n, e.relation, e.src, e.dst, out);
    edges_free(&e);
    return status;
}
