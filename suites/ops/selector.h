/*
 * selector.h - model.json of a suite with a selector, read into what kernels use.
 *
 *   { "schema": "claimbench/spmm_select", "schema_version": "1.0.0", ...,
 *     "features": ["nnz", "mat_size", "std_row", "n"],
 *     "rows": ["rb_sr_rm", ...],                  what is chosen among
 *     "models": { "all": {...}, "FAMILY": {
 *         "cases": 198, "trees": 4000,            it was trained on, with
 *         "static": "eb_sr_rm",                   best single row of those cases
 *         "nnz": [...], "mat_size": [...],        ascending thresholds of each feature
 *         "std_row": [...], "n": [...],
 *         "feature": [3, 0, -1, ...],             nodes in pre-order, -1: a leaf
 *         "cut": [2, 17, 1, ...] } } }            split: index of its threshold; leaf: of its row
 *
 * "all" was trained on every matrix, FAMILY on those of all other families.
 */
#ifndef SUITES_OPS_SELECTOR_H
#define SUITES_OPS_SELECTOR_H

#include <jansson.h>

#include "../../kernels/spmm/select.h"

struct selector_model {
    const char *name;              /* "all" or a family */
    struct spmm_selector tree;
    const struct spmm_impl *fixed; /* the best single row of the training cases */
    void *arrays;                  /* of tree; owned */
};

struct selector {
    json_t *document;
    struct selector_model *model;
    int count;
    char sha256[65]; /* of the file; "" from memory */
};

/* 0 or -1, the message naming file and key; a failure leaves *out all zero. */
int selector_load(const char *path, struct selector *out);
/* The same from a document in memory, called `name` in messages; takes it over, also
 * on failure. */
int selector_parse(json_t *document, const char *name, struct selector *out);
void selector_free(struct selector *s); /* accepts { 0 } */

const struct selector_model *selector_find(const struct selector *s, const char *name);

/* The model to judge a generated matrix by: trained without its family, which its
 * generator names; "all" for every other matrix.  NULL: s has neither. */
const struct selector_model *selector_unseen(const struct selector *s, const char *gen);
/* "block" of "blockdiag,m=65536": families as train.py forms them. */
void selector_family(const char *gen, char *out, size_t size);

/* HOME/suites/daspmm/model.json, read once and kept; *out is NULL where the file is
 * absent.  0 or -1. */
int selector_shipped(const struct selector **out);

#endif
