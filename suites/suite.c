/* suite.c - experiments.json into structs; every name in it is checked. */
#include "suite.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../harness/error.h"
#include "../harness/params.h"

enum { IMPL_MAX = 256, GROUP_DEPTH_MAX = 8 };

const struct cb_op *suite_op(const char *name)
{
    for (int i = 0; suite_ops[i]; i++)
        if (!strcmp(suite_ops[i]->name, name))
            return suite_ops[i];
    return NULL;
}

/* ---- groups ---- */

struct names {
    const struct op_impl *impl[IMPL_MAX + 1];
    int count;
};

static int add_impl(struct names *n, const struct op_impl *i)
{
    for (int k = 0; k < n->count; k++)
        if (n->impl[k] == i)
            return 0;
    if (n->count == IMPL_MAX)
        return cb_error("more than %d implementations", IMPL_MAX);
    n->impl[n->count++] = i;
    return 0;
}

static const struct op_impl *find_impl(const struct cb_op *op, const char *name)
{
    const struct op_impl *i;
    for (int k = 0; (i = op->impl(k)); k++)
        if (!strcmp(i->name, name))
            return i;
    return NULL;
}

static int add_named(const json_t *groups, const struct cb_op *op, const char *name, int depth,
                     struct names *out);

static bool is_role(const char *name)
{
    for (int r = OP_REFERENCE; r <= OP_ABLATION; r++)
        if (!strcmp(op_role_name((enum op_role)r), name))
            return true;
    return false;
}

/* Every group, used or not; whether its rows exist depends on the operator. */
static int check_groups(const json_t *groups)
{
    static const char *const known[] = { "members", "prefix", "role", "layout", "note", NULL };
    const char *name, *key;
    json_t *g, *value;
    if (groups && !json_is_object(groups))
        return cb_error("'groups' must be an object");
    json_object_foreach((json_t *)groups, name, g)
    {
        const char *role = json_string_value(json_object_get(g, "role"));
        if (!json_is_object(g))
            return cb_error("group '%s' must be an object", name);
        if (cb_json_known_keys(g, known))
            return cb_error_in("group '%s'", name);
        json_object_foreach(g, key, value)
            if (strcmp(key, "members") ? !json_is_string(value) : !json_is_array(value))
                return cb_error("group '%s': '%s' must be a %s", name, key,
                                strcmp(key, "members") ? "text" : "list");
        if (role && !is_role(role))
            return cb_error("group '%s': there is no role '%s'", name, role);
    }
    return 0;
}

static int add_group(const json_t *groups, const struct cb_op *op, const char *name, int depth,
                     struct names *out)
{
    const json_t *g = json_object_get(groups, name);
    const char *prefix = json_string_value(json_object_get(g, "prefix"));
    const char *role = json_string_value(json_object_get(g, "role"));
    const char *layout = json_string_value(json_object_get(g, "layout"));
    const json_t *members = json_object_get(g, "members");
    const struct op_impl *i;
    struct names part = { .count = 0 };
    size_t k;
    json_t *m;
    if (!json_is_object(g))
        return cb_error("there is no group '%s'", name);
    if (depth > GROUP_DEPTH_MAX)
        return cb_error("group '%s' contains itself", name);
    if (!prefix && !role && !json_is_array(members))
        return cb_error("group '%s' needs members, prefix or role", name);
    json_array_foreach((json_t *)members, k, m)
        if (!json_is_string(m) || add_named(groups, op, json_string_value(m), depth + 1, &part))
            return json_is_string(m) ? cb_error_in("group '%s'", name)
                                     : cb_error("group '%s': a member is no text", name);
    for (int n = 0; (prefix || role) && (i = op->impl(n)); n++)
        if ((!prefix || !strncmp(i->name, prefix, strlen(prefix))) &&
            (!role || !strcmp(op_role_name(i->role), role)) && add_impl(&part, i))
            return -1;
    for (int n = 0; n < part.count; n++)
        if ((!layout || !part.impl[n]->layout || !strcmp(part.impl[n]->layout, layout)) &&
            add_impl(out, part.impl[n]))
            return -1;
    return 0;
}

static int add_named(const json_t *groups, const struct cb_op *op, const char *name, int depth,
                     struct names *out)
{
    if (name[0] == '@')
        return add_group(groups, op, name + 1, depth, out);
    const struct op_impl *i = find_impl(op, name);
    return i ? add_impl(out, i) : cb_error("%s has no implementation '%s'", op->name, name);
}

static const struct op_impl **listed(const struct names *n)
{
    const struct op_impl **list = calloc((size_t)n->count + 1, sizeof *list);
    if (!list)
        cb_error("no memory for a list of implementations");
    else
        memcpy(list, n->impl, (size_t)n->count * sizeof *list);
    return list;
}

const struct op_impl **suite_group(const struct suite *s, const struct cb_op *op, const char *name)
{
    struct names n = { .count = 0 };
    return add_group(s->groups, op, name, 0, &n) ? NULL : listed(&n);
}

/* ---- experiments ---- */

struct filling {
    const struct suite *suite;
    struct experiment *e;
    int room;
    const json_t *caches; /* list of the experiment's cache states */
    json_t *seen;         /* ids so far: grids may overlap, full contains reproduce */
};

static int add_case(struct filling *f, const void *params, const char *cache)
{
    struct experiment *e = f->e;
    char label[CB_ID_MAX];
    if (e->case_count == f->room) {
        f->room = f->room ? 2 * f->room : 32;
        struct suite_case *more = realloc(e->cases, (size_t)f->room * sizeof *more);
        if (!more)
            return cb_error("no memory for cases");
        e->cases = more;
    }
    struct suite_case *c = &e->cases[e->case_count];
    *c = (struct suite_case){ 0 };
    if (cb_cache_parse(cache, &c->cache))
        return -1;
    cb_params_label(e->op, params, label, sizeof label);
    int n = snprintf(c->id, sizeof c->id, "%s/%s/%s/%s%s%s", f->suite->name, e->id, label,
                     e->op->untimed ? "untimed" : cache, e->regime == CB_BURST ? "/" : "",
                     e->regime == CB_BURST ? "burst" : "");
    if (n < 0 || (size_t)n >= sizeof c->id)
        return cb_error("the id of a case is longer than %d characters", CB_ID_MAX - 1);
    if (json_object_get(f->seen, c->id))
        return 0;
    c->params = malloc(e->op->params_size);
    if (!c->params || json_object_set_new(f->seen, c->id, json_true())) {
        free(c->params);
        return cb_error("no memory for cases");
    }
    memcpy(c->params, params, e->op->params_size);
    e->case_count++;
    return 0;
}

static int emit_case(void *arg, json_t *params, const char *cache)
{
    struct filling *f = arg;
    void *p = malloc(f->e->op->params_size);
    if (!p)
        return cb_error("no memory for cases");
    int status = cb_params_from_json(f->e->op, params, p);
    if (!status && cache)
        status = add_case(f, p, cache);
    for (size_t i = 0; !status && !cache && i < json_array_size(f->caches); i++) {
        const char *c = json_string_value(json_array_get(f->caches, i));
        status = c ? add_case(f, p, c) : cb_error("'cache' must be a text or a list of texts");
    }
    free(p);
    return status;
}

static int add_problems(struct suite *s, struct experiment *e, const json_t *j, const char *profile)
{
    json_t *caches = json_object_get(j, "cache") ? suite_values(json_object_get(j, "cache"), NULL)
                                                 : json_pack("[s]", "hot");
    const json_t *problems = json_object_get(j, "problems"),
                 *lists = json_object_get(s->document, "lists");
    struct filling f = { s, e, 0, caches, json_object() };
    const char *key;
    json_t *value;
    int status = 0;
    if (!caches)
        status = json_object_get(j, "cache") ? cb_error_in("'cache'")
                                             : cb_error("no memory for cases");
    else if (!f.seen)
        status = cb_error("no memory for cases");
    if (!status && !json_is_object(problems))
        status = cb_error("needs 'problems' by profile");
    json_object_foreach((json_t *)problems, key, value)
        if (!status && strcmp(key, "smoke") && strcmp(key, "reproduce") && strcmp(key, "full"))
            status = cb_error("problems: '%s' is none of smoke, reproduce, full", key);
    /* "full" runs what "reproduce" runs, and more */
    const char *part[] = { !strcmp(profile, "full") ? "reproduce" : profile,
                           !strcmp(profile, "full") ? "full" : NULL };
    for (int i = 0; i < 2; i++) {
        const json_t *grids = part[i] ? json_object_get(problems, part[i]) : NULL;
        if (!status && grids && suite_expand(grids, lists, emit_case, &f))
            status = cb_error_in("%s", part[i]);
    }
    json_decref(caches);
    json_decref(f.seen);
    return status;
}

static int text_of(const json_t *j, const char *key, bool required, char *out, size_t size)
{
    const json_t *v = json_object_get(j, key);
    out[0] = 0;
    if (!v || json_is_null(v))
        return required ? cb_error("needs '%s'", key) : 0;
    if (!json_is_string(v))
        return cb_error("'%s' must be a text", key);
    if (json_string_length(v) >= size)
        return cb_error("'%s' is longer than %zu characters", key, size - 1);
    memcpy(out, json_string_value(v), json_string_length(v) + 1);
    return 0;
}

static int list_of_texts(const json_t *j, const char *key)
{
    const json_t *list = json_object_get(j, key), *one;
    size_t i;
    if (list && !json_is_array(list))
        return cb_error("'%s' must be a list of texts", key);
    json_array_foreach(list, i, one)
        if (!json_is_string(one))
            return cb_error("'%s' must be a list of texts", key);
    return 0;
}

static int load_experiment(struct suite *s, const json_t *j, const char *profile, struct experiment *e)
{
    static const char *const known[] = { "id", "title", "where", "op", "metric", "baseline",
                                         "columns", "figure", "regime", "cache", "aa",
                                         "implementations", "problems", "note", "tables", "views",
                                         "axis", "sums", "worst", "series", "baselines", "groups",
                                         "plots", NULL };
    char op[48], regime[16], aa[64], axis[64];
    struct names n = { .count = 0 };
    size_t i;
    json_t *m;
    e->aa = -1;
    e->json = j;
    if (!json_is_object(j))
        return cb_error("must be an object");
    if (text_of(j, "id", true, e->id, sizeof e->id))
        return -1;
    if (strspn(e->id, "abcdefghijklmnopqrstuvwxyz0123456789_") != strlen(e->id) || !e->id[0])
        return cb_error("'id' = '%s' may hold a-z, 0-9 and _ only", e->id);
    if (cb_json_known_keys(j, known) || text_of(j, "title", true, e->title, sizeof e->title) ||
        text_of(j, "where", false, e->where, sizeof e->where) ||
        text_of(j, "op", true, op, sizeof op) ||
        text_of(j, "metric", true, e->metric, sizeof e->metric) ||
        text_of(j, "baseline", false, e->baseline, sizeof e->baseline) ||
        text_of(j, "figure", false, e->figure, sizeof e->figure) ||
        text_of(j, "regime", false, regime, sizeof regime) || text_of(j, "aa", false, aa, sizeof aa))
        return -1;
    if (regime[0] && cb_regime_parse(regime, &e->regime))
        return -1;
    e->op = suite_op(op);
    if (!e->op)
        return cb_error("there is no operator '%s'", op);
    if (!json_is_array(json_object_get(j, "implementations")))
        return cb_error("needs a list 'implementations'");
    if (text_of(j, "axis", false, axis, sizeof axis) || list_of_texts(j, "sums") ||
        list_of_texts(j, "worst"))
        return -1;
    json_array_foreach(json_object_get(j, "implementations"), i, m)
    {
        if (!json_is_string(m))
            return cb_error("implementations: %zu is no text", i);
        if (add_named(s->groups, e->op, json_string_value(m), 0, &n))
            return cb_error_in("implementations");
    }
    if (!n.count)
        return cb_error("names no implementation");
    e->impl = listed(&n);
    if (!e->impl)
        return -1;
    for (int k = 0; k < n.count && aa[0]; k++)
        if (!strcmp(n.impl[k]->name, aa))
            e->aa = k;
    if (aa[0] && e->aa < 0)
        return cb_error("'aa' = '%s' is not among its implementations", aa);
    if (e->baseline[0] && !json_object_get(s->groups, e->baseline) && !find_impl(e->op, e->baseline))
        return cb_error("'baseline' = '%s' is neither an implementation of %s nor a group", e->baseline, op);
    return add_problems(s, e, j, profile);
}

int suite_parse(json_t *document, const char *name, const char *profile, struct suite *out)
{
    static const char *const known[] = { "suite", "title", "arxiv", "lists", "groups",
                                         "experiments", "note", NULL };
    struct suite s = { .document = json_incref(document) };
    const json_t *list = json_object_get(document, "experiments");
    int status = 0;
    *out = (struct suite){ 0 };
    if (!json_is_object(document))
        status = cb_error("must be an object");
    else if (cb_json_known_keys(document, known) || text_of(document, "suite", true, s.name, sizeof s.name) ||
             text_of(document, "title", true, s.title, sizeof s.title) ||
             text_of(document, "arxiv", false, s.arxiv, sizeof s.arxiv))
        status = -1;
    else if (json_object_get(document, "lists") &&
             !json_is_object(json_object_get(document, "lists")))
        status = cb_error("'lists' must be an object");
    else if (!json_is_array(list))
        status = cb_error("needs a list 'experiments'");
    else
        status = check_groups(json_object_get(document, "groups"));
    s.groups = json_object_get(document, "groups");
    if (!status) {
        s.experiments = calloc(json_array_size(list) + 1, sizeof *s.experiments);
        if (!s.experiments)
            status = cb_error("no memory for experiments");
    }
    for (size_t i = 0; !status && i < json_array_size(list); i++) {
        struct experiment *e = &s.experiments[s.experiment_count++];
        status = load_experiment(&s, json_array_get(list, i), profile, e);
        if (status)
            e->id[0] ? cb_error_in("%s", e->id) : cb_error_in("experiment %zu", i);
        for (int k = 0; !status && k + 1 < s.experiment_count; k++)
            if (!strcmp(s.experiments[k].id, e->id))
                status = cb_error("%s: there are two experiments of that id", e->id);
    }
    if (status) {
        suite_free(&s);
        return cb_error_in("%s", name);
    }
    *out = s;
    return 0;
}

static bool has_parameter(const json_t *experiment, const char *name)
{
    const char *op_name = json_string_value(json_object_get(experiment, "op"));
    const struct cb_op *op = op_name ? suite_op(op_name) : NULL;
    for (const struct cb_param *p = op ? op->params : NULL; p && p->name; p++)
        if (!strcmp(p->name, name))
            return true;
    return false;
}

/* Into every grid of the experiments that know the parameter; how many know it. */
static int give(json_t *document, const char *name, json_t *value)
{
    json_t *experiment, *grids, *grid;
    const char *profile;
    size_t e, g;
    int count = 0;
    json_array_foreach(json_object_get(document, "experiments"), e, experiment)
    {
        if (!has_parameter(experiment, name))
            continue;
        count++;
        json_object_foreach(json_object_get(experiment, "problems"), profile, grids)
            json_array_foreach(grids, g, grid)
                json_object_set(grid, name, value);
    }
    return count;
}

int suite_load_with(const char *folder, const char *profile, const json_t *given,
                    struct suite *out)
{
    char path[4096];
    const char *name;
    json_t *value;
    *out = (struct suite){ 0 };
    snprintf(path, sizeof path, "%s/experiments.json", folder);
    json_t *document = cb_json_read(path);
    int status = document ? 0 : -1;
    json_object_foreach((json_t *)given, name, value)
        if (!status && !give(document, name, value))
            status = cb_error("%s: no experiment has a parameter '%s'", path, name);
    if (!status)
        status = suite_parse(document, path, profile, out);
    json_decref(document);
    return status;
}

int suite_load(const char *folder, const char *profile, struct suite *out)
{
    return suite_load_with(folder, profile, NULL, out);
}

void suite_free(struct suite *s)
{
    for (int i = 0; i < s->experiment_count; i++) {
        struct experiment *e = &s->experiments[i];
        for (int c = 0; c < e->case_count; c++)
            free(e->cases[c].params);
        free(e->cases);
        free(e->impl);
    }
    free(s->experiments);
    json_decref(s->document);
    *s = (struct suite){ 0 };
}
