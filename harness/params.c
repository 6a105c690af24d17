/* params.c - tables of parameters against JSON. */
#include "params.h"

#include <errno.h>
#include <math.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "error.h"

static void *at(const struct cb_param *p, void *params)
{
    return (char *)params + p->offset;
}

static const void *at_const(const struct cb_param *p, const void *params)
{
    return (const char *)params + p->offset;
}

static int set_number(const char *op, const struct cb_param *p, void *params, double v)
{
    if ((p->low != 0 || p->high != 0) && !(v >= p->low && v <= p->high))
        return cb_error("%s: '%s' = %g is not in %g .. %g", op, p->name, v, p->low, p->high);
    if (p->type == CB_INT) {
        if (v < -2147483648.0 || v > 2147483647.0)
            return cb_error("%s: '%s' = %g does not fit an integer", op, p->name, v);
        *(int *)at(p, params) = (int)v;
    } else {
        *(double *)at(p, params) = v;
    }
    return 0;
}

static int set_choice(const char *op, const struct cb_param *p, void *params, const char *text)
{
    char all[256] = "";
    for (int i = 0; p->choices[i]; i++) {
        if (!strcmp(p->choices[i], text)) {
            *(int *)at(p, params) = i;
            return 0;
        }
        size_t n = strlen(all);
        snprintf(all + n, sizeof all - n, "%s%s", i ? ", " : "", p->choices[i]);
    }
    return cb_error("%s: '%s' = '%s' is none of %s", op, p->name, text, all);
}

static int set_text(const char *op, const struct cb_param *p, void *params, const char *text)
{
    size_t room = p->type == CB_PATH ? CB_PATH_MAX : CB_TEXT_MAX;
    if (strlen(text) >= room)
        return cb_error("%s: '%s' is longer than %zu characters", op, p->name, room - 1);
    memcpy(at(p, params), text, strlen(text) + 1);
    return 0;
}

static int set(const char *op, const struct cb_param *p, void *params, const json_t *v)
{
    switch (p->type) {
    case CB_INT:
        if (!json_is_integer(v))
            return cb_error("%s: '%s' must be an integer", op, p->name);
        return set_number(op, p, params, (double)json_integer_value(v));
    case CB_REAL:
        if (!json_is_number(v))
            return cb_error("%s: '%s' must be a number", op, p->name);
        return set_number(op, p, params, json_number_value(v));
    case CB_CHOICE:
    case CB_TEXT:
    case CB_PATH:
        if (!json_is_string(v))
            return cb_error("%s: '%s' must be a text", op, p->name);
        return p->type == CB_CHOICE ? set_choice(op, p, params, json_string_value(v))
                                    : set_text(op, p, params, json_string_value(v));
    }
    return -1;
}

int cb_params_from_json(const struct cb_op *op, const json_t *object, void *params)
{
    const char *key;
    json_t *value;
    if (!json_is_object(object))
        return cb_error("%s: a problem must be an object", op->name);
    memset(params, 0, op->params_size);
    for (const struct cb_param *p = op->params; p->name; p++) {
        if (p->type == CB_INT || p->type == CB_CHOICE)
            *(int *)at(p, params) = (int)p->fallback;
        else if (p->type == CB_REAL)
            *(double *)at(p, params) = p->fallback;
        if (p->required && !json_object_get(object, p->name))
            return cb_error("%s needs parameter '%s'", op->name, p->name);
    }
    json_object_foreach((json_t *)object, key, value)
    {
        const struct cb_param *p = op->params;
        while (p->name && strcmp(p->name, key))
            p++;
        if (!p->name)
            return cb_error("%s has no parameter '%s'", op->name, key);
        if (set(op->name, p, params, value))
            return -1;
    }
    return 0;
}

json_t *cb_params_to_json(const struct cb_op *op, const void *params)
{
    json_t *object = json_object();
    for (const struct cb_param *p = op->params; object && p->name; p++) {
        const void *v = at_const(p, params);
        json_t *value = p->type == CB_INT    ? json_integer(*(const int *)v)
                        : p->type == CB_REAL ? json_real(*(const double *)v)
                        : p->type == CB_CHOICE ? json_string(p->choices[*(const int *)v])
                                               : json_string(v);
        if (json_object_set_new(object, p->name, value)) {
            json_decref(object);
            return NULL;
        }
    }
    return object;
}

void cb_params_label(const struct cb_op *op, const void *params, char *out, size_t size)
{
    size_t n = 0;
    out[0] = 0;
    for (const struct cb_param *p = op->params; p->name && n < size; p++) {
        const void *v = at_const(p, params);
        const char *text = v, *slash;
        n += (size_t)snprintf(out + n, size - n, "%s%s=", n ? "," : "", p->name);
        if (n >= size)
            return;
        if (p->type == CB_INT)
            n += (size_t)snprintf(out + n, size - n, "%d", *(const int *)v);
        else if (p->type == CB_REAL)
            n += (size_t)snprintf(out + n, size - n, "%g", *(const double *)v);
        else if (p->type == CB_CHOICE)
            n += (size_t)snprintf(out + n, size - n, "%s", p->choices[*(const int *)v]);
        else {
            if (p->type == CB_PATH && (slash = strrchr(text, '/')))
                text = slash + 1;
            n += (size_t)snprintf(out + n, size - n, "%s", text);
        }
    }
}

/* ---- policies: the same tables, an operator without functions ---- */

#define REAL(field, l, h) { #field, CB_REAL, offsetof(struct cb_policy, field), NAN, l, h, NULL, true, "" }
#define INTEGER(field, l, h) { #field, CB_INT, offsetof(struct cb_policy, field), 0, l, h, NULL, true, "" }
#define OPTIONAL(field, l, h) { #field, CB_REAL, offsetof(struct cb_policy, field), 0, l, h, NULL, false, "" }
static const struct cb_param policy_params[] = {
    INTEGER(invocations, 1, 1000),
    REAL(warmup_first_s, 0, 600),
    REAL(warmup_max_s, 0, 600),
    REAL(warmup_case_s, 0, 600),
    INTEGER(rounds_discarded, 0, 100),
    INTEGER(rounds_min, 6, CB_ROUNDS_MAX),
    INTEGER(rounds_max, 6, CB_ROUNDS_MAX),
    INTEGER(samples_per_round, 1, 32),
    REAL(eps, 1e-6, 1),
    REAL(t_max_s, 0, 86400),
    { "settled_s", CB_REAL, offsetof(struct cb_policy, settled_s), 2, 0, 600, NULL, false, "" },
    REAL(window_us, 1, 1e7),
    INTEGER(executions_max, 1, 65536),
    OPTIONAL(far, 0, 1e9),
    { "far_every", CB_INT, offsetof(struct cb_policy, far_every), 1, 1, 1000, NULL, false, "" },
    { "far_rounds", CB_INT, offsetof(struct cb_policy, far_rounds), 6, 1, CB_ROUNDS_MAX, NULL, false, "" },
    OPTIONAL(remote, 0, 1e9),
    OPTIONAL(remote_us, 0, 1e9),
    { "remote_rounds", CB_INT, offsetof(struct cb_policy, remote_rounds), 3, 1, CB_ROUNDS_MAX, NULL, false, "" },
    { "far_once", CB_INT, offsetof(struct cb_policy, far_once), 0, 0, 1, NULL, false, "" },
    { "converge_within", CB_REAL, offsetof(struct cb_policy, converge_within), 1.5, 1, 1e9, NULL, false, "" },
    REAL(delta, 0, 1),
    REAL(flush_l2, 1, 100),
    REAL(rotate_l2, 1, 100),
    OPTIONAL(timeout_s, 0, 86400),
    OPTIONAL(cooldown_s, 0, 3600),
    { 0 },
};
static const struct cb_op policy_op = {
    .name = "policy", .params = policy_params, .params_size = sizeof(struct cb_policy)
};

static int policy_check(const struct cb_policy *p)
{
    if (p->rounds_max < p->rounds_min)
        return cb_error("policy: rounds_max %d is below rounds_min %d", p->rounds_max, p->rounds_min);
    if (p->far > 0 && p->far < 1)
        return cb_error("policy: far %g would make the fastest row a far one", p->far);
    if (p->far > 0 && p->rounds_min < p->far_every * (p->far_rounds - 1) + 1)
        return cb_error("policy: rounds_min %d gives a far row fewer than far_rounds %d rounds",
                        p->rounds_min, p->far_rounds);
    return 0;
}

int cb_policy_from_json(const json_t *object, const char *name, struct cb_policy *out)
{
    if (cb_params_from_json(&policy_op, object, out))
        return -1;
    snprintf(out->name, sizeof out->name, "%s", name);
    return policy_check(out);
}

json_t *cb_policy_to_json(const struct cb_policy *p)
{
    json_t *object = cb_params_to_json(&policy_op, p);
    if (object)
        json_object_set_new(object, "name", json_string(p->name));
    return object;
}

int cb_policy_set(struct cb_policy *p, const char *key, const char *value)
{
    for (const struct cb_param *x = policy_params; x->name; x++)
        if (!strcmp(x->name, key)) {
            char *end;
            errno = 0;
            double v = strtod(value, &end);
            if (end == value || *end || errno || (x->type == CB_INT && v != floor(v)))
                return cb_error("policy: '%s' = '%s' is not %s", key, value,
                                x->type == CB_INT ? "an integer" : "a number");
            return set_number("policy", x, p, v) ? -1 : policy_check(p);
        }
    return cb_error("policy has no '%s'", key);
}

/* ---- members ---- */

const char *cb_json_text(const json_t *object, const char *key)
{
    const char *s = json_string_value(json_object_get(object, key));
    return s ? s : "";
}

int cb_json_known_keys(const json_t *object, const char *const *known)
{
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)object, key, value)
    {
        int i = 0;
        while (known[i] && strcmp(known[i], key))
            i++;
        if (!known[i])
            return cb_error("there is no key '%s'", key);
    }
    return 0;
}

/* ---- files ---- */

json_t *cb_json_read(const char *path)
{
    json_error_t e;
    FILE *f = fopen(path, "rb");
    if (!f) {
        cb_error("%s: cannot be opened: %s", path, strerror(errno));
        return NULL;
    }
    json_t *document = json_loadf(f, JSON_REJECT_DUPLICATES, &e);
    bool unread = ferror(f) != 0; /* a folder */
    fclose(f);
    if (!document && unread)
        cb_error("%s: cannot be read", path);
    else if (!document && !e.text[0])
        cb_error("%s: no memory to read it", path);
    else if (!document)
        cb_error("%s:%d: %s", path, e.line, e.text);
    return document;
}

int cb_json_write(const char *path, const json_t *document, size_t flags)
{
    char fresh[4096];
    if ((size_t)snprintf(fresh, sizeof fresh, "%s.new", path) >= sizeof fresh)
        return cb_error("%.80s...: the path is too long", path);
    FILE *f = fopen(fresh, "w");
    if (!f)
        return cb_error("%s: cannot be written: %s", path, strerror(errno));
    errno = 0;
    int status = json_dumpf(document, f, flags) || fputc('\n', f) == EOF || fflush(f) ||
                 fsync(fileno(f));
    int reason = errno;
    if (fclose(f) || status) {
        remove(fresh);
        return cb_error("%s: not written whole: %s", path, strerror(reason ? reason : EIO));
    }
    if (rename(fresh, path)) {
        reason = errno;
        remove(fresh);
        return cb_error("%s: cannot be replaced: %s", path, strerror(reason));
    }
    return 0;
}
