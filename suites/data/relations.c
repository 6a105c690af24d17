/* relations.c - what every graph of relations can do, and what a spec names. */
#include "relations.h"

#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../../harness/error.h"
#include "alloc.h"
#include "build.h"
#include "shared.h"

void relations_free(struct relations *r)
{
    if (!r)
        return;
    data_free(r->start);
    data_free(r->src);
    data_free(r->dst);
    *r = (struct relations){ 0 };
}

static int relations_new(const char *name, int nodes, int relations, long edges,
                         struct relations *out)
{
    *out = (struct relations){ .nodes = nodes, .relations = relations, .edges = edges };
    out->start = data_calloc((size_t)relations + 1, sizeof *out->start);
    out->src = data_malloc((size_t)edges, sizeof *out->src);
    out->dst = data_malloc((size_t)edges, sizeof *out->dst);
    if (out->start && out->src && out->dst)
        return 0;
    relations_free(out);
    return cb_error("%s: no memory for %ld edges", name, edges);
}

struct edge {
    int relation, dst, src;
};

static int by_place(const void *a, const void *b)
{
    const struct edge *x = a, *y = b;
    if (x->relation != y->relation)
        return x->relation < y->relation ? -1 : 1;
    if (x->dst != y->dst)
        return x->dst < y->dst ? -1 : 1;
    return (x->src > y->src) - (x->src < y->src);
}

int relations_make(const char *name, int nodes, int relations, long n, const int *relation,
                   const int *src, const int *dst, struct relations *out)
{
    *out = (struct relations){ 0 };
    if (n < 1 || n > INT_MAX)
        return cb_error("%s: %ld edges", name, n);
    struct edge *e = data_malloc((size_t)n, sizeof *e);
    long *end = data_calloc((size_t)relations + 1, sizeof *end);
    if (!e || !end) {
        data_free(e);
        data_free(end);
        return cb_error("%s: no memory for %ld edges", name, n);
    }
    for (long i = 0; i < n; i++)
        end[relation[i] + 1]++;
    for (int r = 0; r < relations; r++)
        end[r + 1] += end[r];
    for (long i = 0; i < n; i++) /* afterwards end[r] is that of relation r */
        e[end[relation[i]]++] = (struct edge){ relation[i], dst[i], src[i] };
#pragma omp parallel for schedule(dynamic, 1)
    for (int r = 0; r < relations; r++) {
        const long first = r ? end[r - 1] : 0;
        qsort(e + first, (size_t)(end[r] - first), sizeof *e, by_place);
    }
    data_free(end);
    long kept = 0;
    for (long i = 0; i < n; i++)
        if (!i || by_place(&e[i], &e[kept - 1]))
            e[kept++] = e[i];
    int status = relations_new(name, nodes, relations, kept, out);
    for (long i = 0; !status && i < kept; i++) {
        out->start[e[i].relation + 1]++;
        out->src[i] = e[i].src;
        out->dst[i] = e[i].dst;
    }
    for (int r = 0; !status && r < relations; r++)
        out->start[r + 1] += out->start[r];
    data_free(e);
    return status;
}

int relations_with_inverse(const struct relations *r, struct relations *out)
{
    const long all = 2 * r->edges + r->nodes;
    *out = (struct relations){ 0 };
    if (all > INT_MAX)
        return cb_error("%s: more than %d edges with inverses", r->name, INT_MAX);
    int *kind = data_malloc((size_t)all, sizeof *kind),
        *src = data_malloc((size_t)all, sizeof *src);
    int *dst = data_malloc((size_t)all, sizeof *dst), status = -1;
    if (!kind || !src || !dst) {
        cb_error("%s: no memory for %ld edges", r->name, all);
        goto done;
    }
    long n = 0;
    for (int k = 0; k < r->relations; k++)
        for (int i = r->start[k]; i < r->start[k + 1]; i++, n += 2) {
            kind[n] = k;
            kind[n + 1] = r->relations + k;
            src[n] = dst[n + 1] = r->src[i];
            dst[n] = src[n + 1] = r->dst[i];
        }
    for (int i = 0; i < r->nodes; i++, n++) {
        kind[n] = 2 * r->relations;
        src[n] = dst[n] = i;
    }
    status = relations_make(r->name, r->nodes, 2 * r->relations + 1, all, kind, src, dst, out);
    if (!status) {
        memcpy(out->name, r->name, sizeof out->name);
        memcpy(out->source, r->source, sizeof out->source);
        memcpy(out->gen, r->gen, sizeof out->gen);
    }
done:
    data_free(kind);
    data_free(src);
    data_free(dst);
    return status;
}

/* ---- specs ---- */

typedef int parse_fn(const char *name, const char *text, size_t size, struct relations *out);

static const struct {
    const char *suffix;
    parse_fn *parse;
} formats[] = {
    { ".nt", relations_ntriples_parse },   { ".nt.gz", relations_ntriples_parse },
    { ".edges", relations_edges_parse },   { ".edges.gz", relations_edges_parse },
};

static int load_file(const char *path, parse_fn *parse, struct relations *out)
{
    char *text;
    size_t size;
    if (data_read(path, &text, &size))
        return -1;
    int status = parse(path, text, size, out);
    data_free(text);
    if (status)
        return -1;
    const char *slash = strrchr(path, '/'), *base = slash ? slash + 1 : path;
    data_text(out->name, sizeof out->name, base);
    data_text(out->gen, sizeof out->gen, base);
    data_text(out->source, sizeof out->source, "user");
    return 0;
}

static const struct {
    const char *name, *file;
} known[] = { { "aifb_triples", "aifb_stripped.nt.gz" } };

/* The path of a known name; other specs are their own path, of a file or of nothing. */
static const char *path_of(const char *spec, char path[DATA_PATH])
{
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (!strcmp(spec, known[i].name))
            return data_find("relational", known[i].file, path) ? path : known[i].file;
    return spec;
}

static bool is_made(const char *spec)
{
    for (int i = 0; relations_preset(i); i++)
        if (!strcmp(spec, relations_preset(i)))
            return true;
    return !strncmp(spec, "gen:", 4);
}

bool relations_available(const char *spec, char *why, size_t size)
{
    char path[DATA_PATH];
    const bool good = is_made(spec) || !access(path_of(spec, path), R_OK);
    if (size)
        snprintf(why, size, "%s%s", good ? "" : "no file ", good ? "" : path_of(spec, path));
    return good;
}

int relations_load(const char *spec, struct relations *out)
{
    char path[DATA_PATH];
    const char *file = path_of(spec, path);
    *out = (struct relations){ 0 };
    if (is_made(spec))
        return relations_generate(strncmp(spec, "gen:", 4) ? spec : spec + 4, out);
    for (size_t i = 0; i < sizeof formats / sizeof *formats; i++) {
        size_t n = strlen(file), s = strlen(formats[i].suffix);
        if (n > s && !strcmp(file + n - s, formats[i].suffix))
            return load_file(file, formats[i].parse, out);
    }
    return cb_error("%s: no generated graph of that name, and as a file its name would have to end "
                    "in .nt, .nt.gz, .edges or .edges.gz", spec);
}
