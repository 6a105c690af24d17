/*
 * chooser.h - choice.json of a suite, read into what kernels/spmm/choose.h uses.
 *
 *   { "schema": "claimbench/spmm_choice", "schema_version": "1.0.0", ...,
 *     "traits": ["m", "k", ...],        in the order of spmm_trait_names, or the four of DA-SpMM,
 *                                       chooser_four
 *     "rows": { "own_row": {            what is chosen among, and its trees
 *         "trait": [3, 0, -1, ...],     nodes in pre-order, one tree after the other, -1: a leaf
 *         "number": [8, 3.5, 0.02, ...] } } }   split: left up to it; leaf: what it adds
 */
#ifndef SUITES_OPS_CHOOSER_H
#define SUITES_OPS_CHOOSER_H

#include <jansson.h>

#include "../../kernels/spmm/choose.h"

struct chooser {
    json_t *document;
    struct spmm_chooser model;
    void *arrays; /* of model; owned */
    int by_four;  /* its traits are chooser_four */
};

enum { CHOOSER_FOUR = 4 };
extern const char *const chooser_four[CHOOSER_FOUR + 1]; /* as select.h has them; ended by NULL */

/* 0 or -1, the message naming file and key; a failure leaves *out all zero. */
int chooser_load(const char *path, struct chooser *out);
/* The same from a document in memory, called `name` in messages; takes it over, also
 * on failure. */
int chooser_parse(json_t *document, const char *name, struct chooser *out);
void chooser_free(struct chooser *c); /* accepts { 0 } */

/* HOME/suites/daspmm/choice.json, the model of daspmm_select, and choice_paper.json, by four
 * numbers; read once and kept.  *out is NULL where the file is absent.  0 or -1. */
int chooser_shipped(const struct chooser **out);
int chooser_paper(const struct chooser **out);

#endif
