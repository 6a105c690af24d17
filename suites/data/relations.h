/*
 * relations.h - graphs whose edges have kinds: inputs of relational graph convolution.
 *
 *     start   0     3   5 ...          edges of relation r: start[r] .. start[r+1] - 1,
 *     src     . . . . . ...            ascending by (dst, src), none twice in a relation
 *     dst     . . . . . ...
 *
 * A graph is named by a spec:
 *     mutag bgs am biokg aifb wordnet          a preset: generated with the sizes of that graph
 *     aifb_triples                             the file aifb_stripped.nt.gz where shared.h looks, in
 *                                              relational
 *     gen:relations,nodes=N,edges=E,relations=R[,zipf=Z][,skew=S][,hubs=P][,seed=K]
 *     a path ending in .nt (N-Triples) or .edges (edge list), both also .gz
 *
 * Functions return 0, or -1 after cb_error; a failed call leaves *out all zero.
 */
#ifndef SUITES_DATA_RELATIONS_H
#define SUITES_DATA_RELATIONS_H

#include <stdbool.h>
#include <stddef.h>

struct relations {
    char name[64], source[16], gen[96]; /* as of struct matrix */
    int nodes, relations;
    long edges;      /* < 2^31 */
    int *start;      /* [relations+1] */
    int *src, *dst;  /* [edges] */
};

int relations_load(const char *spec, struct relations *out);
/* Whether the file that a spec names is here; if not, why[size] says what is missing. */
bool relations_available(const char *spec, char *why, size_t size);
void relations_free(struct relations *r); /* accepts NULL and { 0 }; leaves { 0 } */

/*
 * N-Triples: "subject predicate object ." a line; IRIs <...>, blank nodes _:name, literals "..."
 * with \ escapes and @language or ^^<type>; comments start with #.  A node is a term of subject
 * or object, by its whole text; a relation is a predicate.  Both are numbered as they first
 * appear.  A triple given twice counts once.
 */
int relations_ntriples_parse(const char *name, const char *text, size_t size,
                             struct relations *out);

/*
 * Edge list: "source target [relation]" a line, whole numbers from 0, the same number of columns
 * throughout; comments start with # or %.  Nodes: the largest + 1.  Edges given twice count once.
 */
int relations_edges_parse(const char *name, const char *text, size_t size, struct relations *out);

/* What relational convolution runs on: every relation, the inverse of every one, and self loops
 * as the last: 2 R + 1 relations. */
int relations_with_inverse(const struct relations *r, struct relations *out);

/* For the readers: from edges in any order; those given twice count once. */
int relations_make(const char *name, int nodes, int relations, long n, const int *relation,
                   const int *src, const int *dst, struct relations *out);
/* The generator (relgen.c); spec without "gen:", or a preset's name. */
int relations_generate(const char *spec, struct relations *out);
const char *relations_preset(int i); /* NULL past the end */

#endif
