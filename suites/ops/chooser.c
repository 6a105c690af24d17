/* chooser.c - see chooser.h. */
#include "chooser.h"

#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../../harness/error.h"
#include "../../harness/params.h"
#include "../home.h"

enum { NODES_MAX = 1 << 20 };

const char *const chooser_four[CHOOSER_FOUR + 1] = { "nnz", "mat_size", "std_row", "n", NULL };

/* A row-major one, or one of vectors, that itself chooses nothing. */
static const struct spmm_impl *row_named(const char *name)
{
    const struct spmm_impl *i = spmm_find(name);
    if (!i) {
        cb_error("spmm has no row '%s'", name);
        return NULL;
    }
    if ((i->base.layout && strcmp(i->base.layout, "row")) || i->base.flags & OP_CHOOSES) {
        cb_error("'%s' cannot be chosen: a row-major row that chooses nothing is needed", name);
        return NULL;
    }
    return i;
}

/* ---- the trees of a row ---- */

static int read_node(const json_t *trait, const json_t *number, size_t i, int traits,
                     struct spmm_choice_node *out)
{
    const json_t *t = json_array_get(trait, i), *v = json_array_get(number, i);
    if (!json_is_integer(t) || json_integer_value(t) < -1 || json_integer_value(t) >= traits)
        return cb_error("trait[%zu]: must be a whole number from -1 to %d", i, traits - 1);
    if (!json_is_number(v) || !isfinite(json_number_value(v)))
        return cb_error("number[%zu]: must be a number", i);
    const int split = json_integer_value(t) >= 0;
    *out = (struct spmm_choice_node){
        .number = (float)json_number_value(v),
        .trait = (unsigned char)(split ? json_integer_value(t) : 0),
        .left = (unsigned char)split,
    };
    return 0;
}

/* Nodes in pre-order: a node that follows a leaf is the right child of the innermost split
 * without one, or the root of the next tree.  *trees: roots written; *depth: at least
 * that of these. */
static int read_trees(const json_t *trait, const json_t *number, int traits, int base,
                      struct spmm_choice_node *node, int *tree, int *trees, int *depth)
{
    int count = (int)json_array_size(trait), open = 0, status = 0;
    int *waiting = malloc(2 * ((size_t)count + 1) * sizeof *waiting);
    if (!waiting)
        return cb_error("no memory for trees");
    int *level = waiting + count + 1; /* splits above each node */
    for (int i = 0; !status && i < count; i++) {
        level[i] = 0;
        if (i && node[i - 1].left) {
            level[i] = level[i - 1] + 1;
        } else if (open) {
            int parent = waiting[--open];
            if (i - parent > USHRT_MAX)
                status = cb_error("trait[%d]: the tree is too large", i);
            node[parent].right = (unsigned short)(i - parent);
            level[i] = level[parent] + 1;
        } else {
            tree[(*trees)++] = base + i;
        }
        if (level[i] > *depth)
            *depth = level[i];
        if (!status)
            status = read_node(trait, number, (size_t)i, traits, &node[i]);
        if (!status && node[i].left)
            waiting[open++] = i;
    }
    if (!status && open)
        status = cb_error("trait: the last tree is not complete");
    free(waiting);
    return status;
}

static int check_lists(const json_t *row)
{
    static const char *const known[] = { "trait", "number", NULL };
    const json_t *trait = json_object_get(row, "trait"), *number = json_object_get(row, "number");
    if (!json_is_object(row))
        return cb_error("must be an object");
    if (cb_json_known_keys(row, known))
        return -1;
    if (!json_is_array(trait) || !json_is_array(number))
        return cb_error("%s: must be a list", json_is_array(trait) ? "number" : "trait");
    if (json_array_size(trait) != json_array_size(number))
        return cb_error("number: has %zu elements, trait %zu", json_array_size(number),
                        json_array_size(trait));
    return json_array_size(trait) > NODES_MAX ? cb_error("trait: too long") : 0;
}

/* ---- the document ---- */

/* Whether the names are those of a list of `count`. */
static int check_traits(const json_t *traits, const char *const *names, size_t count)
{
    for (size_t t = 0; t < count || t < json_array_size(traits); t++) {
        const char *text = json_string_value(json_array_get(traits, t));
        if (t >= count || !text || strcmp(text, names[t]))
            return cb_error("traits[%zu]: must be '%s'", t, t < count ? names[t] : "(nothing)");
    }
    return 0;
}

static int read_head(const json_t *j, struct chooser *out)
{
    static const char *const known[] = { "schema", "schema_version", "about", "trained_on", "gpu",
                                         "cases", "matrices", "seed", "lightgbm", "numpy",
                                         "python", "traits", "rows", NULL };
    const char *schema = json_string_value(json_object_get(j, "schema"));
    const char *version = json_string_value(json_object_get(j, "schema_version"));
    const json_t *traits = json_object_get(j, "traits"), *rows = json_object_get(j, "rows");
    if (!json_is_object(j))
        return cb_error("must be an object");
    if (!schema || strcmp(schema, "claimbench/spmm_choice"))
        return cb_error("schema: is not 'claimbench/spmm_choice'");
    if (!version || strncmp(version, "1.", 2))
        return cb_error("schema_version: '%s' cannot be read, only 1.x.y", version ? version : "");
    if (cb_json_known_keys(j, known))
        return -1;
    const char *first = json_string_value(json_array_get(traits, 0));
    out->by_four = first && !strcmp(first, chooser_four[0]);
    if (out->by_four ? check_traits(traits, chooser_four, CHOOSER_FOUR)
                     : check_traits(traits, spmm_trait_names, SPMM_TRAITS))
        return -1;
    if (!json_is_object(rows))
        return cb_error("rows: must be an object");
    if (!json_object_size(rows) || json_object_size(rows) > SPMM_CHOOSE_ROWS)
        return cb_error("rows: %zu are not from 1 to %d", json_object_size(rows),
                        SPMM_CHOOSE_ROWS);
    return 0;
}

static int read_rows(json_t *rows, struct chooser *out)
{
    struct spmm_chooser *m = &out->model;
    const char *key;
    json_t *j;
    int nodes = 0, trees = 0;
    json_object_foreach(rows, key, j)
    {
        if (check_lists(j))
            return cb_error_in("rows: %s", key);
        nodes += (int)json_array_size(json_object_get(j, "trait"));
    }
    struct spmm_choice_node *node = malloc(((size_t)nodes + 1) * (sizeof *node + sizeof(int)));
    if (!node)
        return cb_error("no memory for the trees");
    int *tree = (int *)(node + nodes + 1);
    out->arrays = node;
    m->node = node;
    m->tree = tree;
    nodes = 0;
    json_object_foreach(rows, key, j)
    {
        const json_t *trait = json_object_get(j, "trait");
        m->row[m->rows] = row_named(key);
        m->first[m->rows] = trees;
        if (!m->row[m->rows])
            return cb_error_in("rows");
        if (read_trees(trait, json_object_get(j, "number"),
                       out->by_four ? CHOOSER_FOUR : SPMM_TRAITS, nodes, node + nodes, tree, &trees,
                       &m->depth))
            return cb_error_in("rows: %s", key);
        nodes += (int)json_array_size(trait);
        m->first[++m->rows] = trees;
    }
    return 0;
}

int chooser_parse(json_t *document, const char *name, struct chooser *out)
{
    *out = (struct chooser){ .document = document };
    if (!read_head(document, out) && !read_rows(json_object_get(document, "rows"), out))
        return 0;
    cb_error_in("%s", name);
    chooser_free(out);
    return -1;
}

int chooser_load(const char *path, struct chooser *out)
{
    json_t *document = cb_json_read(path);
    *out = (struct chooser){ 0 };
    return document ? chooser_parse(document, path, out) : -1;
}

void chooser_free(struct chooser *c)
{
    free(c->arrays);
    json_decref(c->document);
    *c = (struct chooser){ 0 };
}

static int shipped(const char *file, int by_four, struct chooser *kept, const struct chooser **out)
{
    char path[4200];
    *out = NULL;
    if (!kept->document) {
        home_path(file, path, sizeof path);
        if (access(path, F_OK))
            return 0;
        if (chooser_load(path, kept))
            return -1;
        if (kept->by_four != by_four) {
            chooser_free(kept);
            return cb_error("%s: traits: must be %s", path, by_four ? "nnz, ..." : "m, ...");
        }
    }
    *out = kept;
    return 0;
}

int chooser_shipped(const struct chooser **out)
{
    static struct chooser kept;
    return shipped("suites/daspmm/choice.json", 0, &kept, out);
}

int chooser_paper(const struct chooser **out)
{
    static struct chooser kept;
    return shipped("suites/daspmm/choice_paper.json", 1, &kept, out);
}
