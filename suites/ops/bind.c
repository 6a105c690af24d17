/* bind.c - see bind.h. */
#include "bind.h"

#include <stdlib.h>

#include "../../harness/error.h"

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
