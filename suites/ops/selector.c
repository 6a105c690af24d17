/* selector.c - see selector.h. */
#include "selector.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../../harness/error.h"
#include "../../harness/params.h"
#include "../../harness/sha.h"
#include "../home.h"

enum { NODES_MAX = 1 << 20 };

static const char *const features[SPMM_SELECT_FEATURES] = { "nnz", "mat_size", "std_row", "n" };

static const json_t *list_at(const json_t *object, const char *key)
{
    const json_t *list = json_object_get(object, key);
    if (json_is_array(list) && json_array_size(list) <= NODES_MAX)
        return list;
    cb_error("%s: %s", key,
             !list ? "missing" : json_is_array(list) ? "too long" : "must be a list");
    return NULL;
}

/* A row that may be chosen: a row-major one that itself chooses nothing. */
static const struct spmm_impl *row_named(const json_t *name)
{
    const char *text = json_string_value(name);
    const struct spmm_impl *i = text ? spmm_find(text) : NULL;
    if (!i) {
        cb_error("spmm has no row '%s'", text ? text : "(no text)");
        return NULL;
    }
    if (!i->base.layout || strcmp(i->base.layout, "row") || i->base.flags & OP_CHOOSES) {
        cb_error("'%s' cannot be chosen: a row-major row that chooses nothing is needed", text);
        return NULL;
    }
    return i;
}

/* ---- one tree ---- */

static int read_cuts(const json_t *j, const json_t *cuts[SPMM_SELECT_FEATURES])
{
    for (int f = 0; f < SPMM_SELECT_FEATURES; f++) {
        size_t i;
        json_t *v;
        double last = 0;
        if (!(cuts[f] = list_at(j, features[f])))
            return -1;
        json_array_foreach(cuts[f], i, v)
        {
            if (!json_is_number(v))
                return cb_error("%s[%zu]: must be a number", features[f], i);
            if (i && !(json_number_value(v) > last))
                return cb_error("%s[%zu]: must be above the one before", features[f], i);
            last = json_number_value(v);
        }
    }
    return 0;
}

/* Whole number from low to high; high < low: nothing is allowed. */
static int whole(const json_t *list, const char *key, size_t i, int low, int high, int *out)
{
    const json_t *v = json_array_get(list, i);
    if (!json_is_integer(v))
        return cb_error("%s[%zu]: must be a whole number", key, i);
    if (json_integer_value(v) < low || json_integer_value(v) > high)
        return cb_error("%s[%zu]: %lld is not from %d to %d", key, i, json_integer_value(v), low,
                        high);
    *out = (int)json_integer_value(v);
    return 0;
}

/* Nodes in pre-order with the right children found: a right child follows the leaf
 * that ends the left subtree, so the innermost split without one gets it. */
static int read_nodes(const json_t *feature, const json_t *cut,
                      const json_t *const cuts[SPMM_SELECT_FEATURES], struct spmm_selector *tree,
                      signed char *of, double *threshold, int *next)
{
    int nodes = (int)json_array_size(feature), open = 0, status = 0;
    int *waiting = malloc(((size_t)nodes + 1) * sizeof *waiting);
    if (!waiting)
        return cb_error("no memory for a tree");
    for (int i = 0; !status && i < nodes; i++) {
        int f, c = 0;
        bool full = i && !open; /* the tree was complete before this node */
        if (i && !full && of[i - 1] < 0)
            next[waiting[--open]] = i;
        if (full)
            status = cb_error("feature[%d]: follows a tree that is complete", i);
        else if (!(status = whole(feature, "feature", (size_t)i, -1, SPMM_SELECT_FEATURES - 1, &f)))
            status = whole(cut, "cut", (size_t)i, 0,
                           f < 0 ? tree->rows - 1 : (int)json_array_size(cuts[f]) - 1, &c);
        if (status)
            break;
        of[i] = (signed char)f;
        threshold[i] = f < 0 ? 0 : json_number_value(json_array_get(cuts[f], (size_t)c));
        next[i] = c;
        if (f >= 0)
            waiting[open++] = i;
    }
    if (!status && (open || of[nodes - 1] >= 0))
        status = cb_error("feature: the tree is not complete");
    free(waiting);
    return status;
}

static int read_model(const json_t *j, struct selector_model *out)
{
    static const char *const known[] = { "cases", "trees", "static", "nnz", "mat_size", "std_row",
                                         "n", "feature", "cut", NULL };
    const json_t *cuts[SPMM_SELECT_FEATURES], *feature, *cut;
    if (!json_is_object(j))
        return cb_error("must be an object");
    if (cb_json_known_keys(j, known) || read_cuts(j, cuts) || !(feature = list_at(j, "feature")) ||
        !(cut = list_at(j, "cut")))
        return -1;
    size_t nodes = json_array_size(feature);
    if (!nodes || json_array_size(cut) != nodes)
        return cb_error("cut: has %zu numbers, feature %zu", json_array_size(cut), nodes);
    out->fixed = row_named(json_object_get(j, "static"));
    if (!out->fixed)
        return cb_error_in("static");
    double *threshold = malloc(nodes * (sizeof *threshold + sizeof(int) + 1));
    if (!threshold)
        return cb_error("no memory for a tree");
    int *next = (int *)(threshold + nodes);
    signed char *of = (signed char *)(next + nodes);
    out->arrays = threshold;
    out->tree.nodes = (int)nodes;
    out->tree.threshold = threshold;
    out->tree.next = next;
    out->tree.feature = of;
    return read_nodes(feature, cut, cuts, &out->tree, of, threshold, next);
}

/* ---- the document ---- */

static int read_head(const json_t *j, struct spmm_selector *common)
{
    static const char *const known[] = {
        "schema", "schema_version", "about", "run",   "gpu",    "cases", "rounds", "seed",
        "lightgbm", "sklearn",      "numpy", "python", "features", "rows", "models", NULL };
    const char *schema = json_string_value(json_object_get(j, "schema"));
    const char *version = json_string_value(json_object_get(j, "schema_version"));
    const json_t *named, *rows;
    if (!json_is_object(j))
        return cb_error("must be an object");
    if (!schema || strcmp(schema, "claimbench/spmm_select"))
        return cb_error("schema: is not 'claimbench/spmm_select'");
    if (!version || strncmp(version, "1.", 2))
        return cb_error("schema_version: '%s' cannot be read, only 1.x.y", version ? version : "");
    if (cb_json_known_keys(j, known) || !(named = list_at(j, "features")) || !(rows = list_at(j, "rows")))
        return -1;
    for (size_t f = 0; f < SPMM_SELECT_FEATURES || f < json_array_size(named); f++) {
        const char *text = json_string_value(json_array_get(named, f));
        if (f >= SPMM_SELECT_FEATURES || !text || strcmp(text, features[f]))
            return cb_error("features: must be nnz, mat_size, std_row, n");
    }
    size_t count = json_array_size(rows);
    if (!count || count > SPMM_SELECT_ROWS)
        return cb_error("rows: %zu are not from 1 to %d", count, SPMM_SELECT_ROWS);
    common->rows = (int)count;
    for (size_t i = 0; i < count; i++)
        if (!(common->row[i] = row_named(json_array_get(rows, i))))
            return cb_error_in("rows[%zu]", i);
    return json_is_object(json_object_get(j, "models")) ? 0 : cb_error("models: must be an object");
}

int selector_parse(json_t *document, const char *name, struct selector *out)
{
    struct spmm_selector common = { 0 };
    const char *key;
    json_t *j, *models;
    *out = (struct selector){ .document = document };
    if (read_head(document, &common))
        goto fail;
    models = json_object_get(document, "models");
    if (!(out->model = calloc(json_object_size(models) + 1, sizeof *out->model))) {
        cb_error("no memory for the models");
        goto fail;
    }
    json_object_foreach(models, key, j)
    {
        struct selector_model *m = &out->model[out->count++];
        m->name = key;
        m->tree = common;
        if (read_model(j, m)) {
            cb_error_in("models: %s", key);
            goto fail;
        }
    }
    return 0;
fail:
    cb_error_in("%s", name);
    selector_free(out);
    return -1;
}

int selector_load(const char *path, struct selector *out)
{
    char sha256[65];
    json_t *document;
    *out = (struct selector){ 0 };
    if (cb_sha256_file(path, sha256) || !(document = cb_json_read(path)) ||
        selector_parse(document, path, out))
        return -1;
    memcpy(out->sha256, sha256, sizeof out->sha256);
    return 0;
}

void selector_free(struct selector *s)
{
    for (int i = 0; i < s->count; i++)
        free(s->model[i].arrays);
    free(s->model);
    json_decref(s->document);
    *s = (struct selector){ 0 };
}

/* ---- which model ---- */

const struct selector_model *selector_find(const struct selector *s, const char *name)
{
    for (int i = 0; i < s->count; i++)
        if (!strcmp(s->model[i].name, name))
            return &s->model[i];
    return NULL;
}

void selector_family(const char *gen, char *out, size_t size)
{
    /* dense blocks, on the diagonal or anywhere, are one kind of matrix */
    if (!strncmp(gen, "block", 5))
        gen = "block";
    snprintf(out, size, "%.*s", (int)strcspn(gen, ","), gen);
}

const struct selector_model *selector_unseen(const struct selector *s, const char *gen)
{
    char family[64];
    const struct selector_model *m;
    selector_family(gen, family, sizeof family);
    m = selector_find(s, family);
    return m ? m : selector_find(s, "all");
}

int selector_shipped(const struct selector **out)
{
    static struct selector kept;
    char path[4200];
    *out = NULL;
    if (!kept.document) {
        home_path("suites/daspmm/model.json", path, sizeof path);
        if (access(path, F_OK))
            return 0;
        if (selector_load(path, &kept))
            return -1;
    }
    *out = &kept;
    return 0;
}
