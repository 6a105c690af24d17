/* bind.c - see bind.h. */
#include "bind.h"

#include <stdio.h>
#include <stdlib.h>

#include "../../harness/error.h"

void op_figure(struct cb_figure *f, const char *name, const char *unit, double value)
{
    *f = (struct cb_figure){ .value = value, .low = value, .high = value };
    snprintf(f->name, sizeof f->name, "%s", name);
    snprintf(f->unit, sizeof f->unit, "%s", unit);
}

const struct op_impl *op_row_at(const void *const *table, int count, size_t size, int i)
{
    for (int t = 0; t < count; t++)
        for (const char *row = table[t]; ((const struct op_impl *)row)->name; row += size)
            if (i-- == 0)
                return (const struct op_impl *)row;
    return NULL;
}

bool op_is_built(bool has_run, const char **why)
{
    *why = has_run ? NULL : "not built";
    return has_run;
}

static void *take(void *context, size_t bytes)
{
    struct op_pool *pool = context;
    void *p;
    if (pool->count == pool->room) {
        int room = pool->room ? 2 * pool->room : 8;
        void **more = realloc(pool->taken, (size_t)room * sizeof *more);
        if (!more)
            return NULL;
        pool->taken = more;
        pool->room = room;
    }
    if (cb_alloc(pool->device, bytes, &p))
        return NULL;
    pool->taken[pool->count++] = p;
    pool->bytes += bytes;
    return p;
}

struct op_memory op_pool_memory(struct op_pool *pool)
{
    return (struct op_memory){ take, pool };
}

void op_pool_free(struct op_pool *pool)
{
    for (int i = 0; i < pool->count; i++)
        cb_free(pool->device, pool->taken[i]);
    free(pool->taken);
    *pool = (struct op_pool){ .device = pool->device };
}

int op_states_open(struct op_states *s, struct cb_device *d, int count, void (*teardown)(void *))
{
    *s = (struct op_states){ .pool.device = d, .teardown = teardown };
    s->state = calloc((size_t)count, sizeof *s->state);
    s->count = s->state ? count : 0;
    return s->state ? 0 : cb_error("no memory for %d operand sets", count);
}

void op_states_close(struct op_states *s)
{
    for (int i = 0; s->teardown && i < s->count; i++)
        s->teardown(s->state[i]);
    op_pool_free(&s->pool);
    free(s->state);
    *s = (struct op_states){ 0 };
}

int op_result(enum op_status s, const char *name, const char *what)
{
    if (s == OP_OK)
        return 0;
    return cb_error("%s%s: %s: %s", s == OP_ENOMEM ? "oom: " : "", name, what, op_status_name(s));
}

static int set_up_all(struct op_bound *b, size_t args_size, op_set_up_fn *set_up)
{
    const struct op_impl *i = b->impl;
    for (int s = 0; s < b->states.count; s++) {
        const struct op_memory memory = op_pool_memory(&b->states.pool);
        void *args = args_size ? (char *)b->args + (size_t)s * args_size : NULL;
        if (op_result(set_up(b, s, args, &memory, &b->states.state[s]), i->name, "set-up"))
            return -1;
    }
    return 0;
}

int op_bind(struct cb_context *c, void *instance, const struct op_impl *i, int sets,
            size_t args_size, op_set_up_fn *set_up, void (*teardown)(void *), void **out)
{
    struct op_bound *b = calloc(1, sizeof *b);
    *out = NULL;
    if (!b)
        return cb_error("no memory to bind %s", i->name);
    b->in = instance;
    b->impl = i;
    b->stream = cb_device_stream(c->device);
    int status = op_states_open(&b->states, c->device, sets, teardown);
    if (!status && args_size && !(b->args = calloc((size_t)sets, args_size)))
        status = cb_error("no memory to bind %s", i->name);
    if (!status && set_up)
        status = set_up_all(b, args_size, set_up);
    if (status) {
        op_unbind(b);
        return -1;
    }
    *out = b;
    return 0;
}

void op_unbind(void *bound)
{
    struct op_bound *b = bound;
    if (!b)
        return;
    op_states_close(&b->states);
    free(b->args);
    free(b);
}

int op_bind_row(void *instance, const struct op_impl *i, const void *table, size_t size,
                void **bound)
{
    struct op_row *b = malloc(sizeof *b);
    if (!b)
        return cb_error("no memory for row %s", i->name);
    *b = (struct op_row){ instance, (int)((size_t)((const char *)i - (const char *)table) / size) };
    *bound = b;
    return 0;
}

enum op_status op_ready_always(void *instance, const struct op_impl *i, const char **why)
{
    (void)instance, (void)i;
    *why = NULL;
    return OP_OK;
}

int op_bind_self(struct cb_context *c, void *instance, const struct op_impl *i, void **bound)
{
    (void)c, (void)i;
    *bound = instance;
    return 0;
}

void op_unbind_self(void *bound)
{
    (void)bound; /* the instance itself */
}

int op_set_of(int weights, int ins)
{
    return weights > ins ? weights : ins;
}

int op_launched(const struct op_bound *b, enum op_status s)
{
    return op_result(s, ((const struct op_impl *)b->impl)->name, "launch");
}

int op_sets_open(struct op_sets *s, int count)
{
    s->set = calloc((size_t)count, sizeof *s->set);
    s->count = s->set ? count : 0;
    return s->set ? 0 : cb_error("no memory for %d operand sets", count);
}

void op_sets_close(struct cb_device *d, struct op_sets *s)
{
    for (int i = 0; i < s->count; i++)
        cb_free(d, s->set[i]);
    free(s->set);
    *s = (struct op_sets){ 0 };
}
