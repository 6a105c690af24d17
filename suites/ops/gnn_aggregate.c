/* gnn_aggregate.c - an aggregation of a step by a row of spmm: which one, set up, checked. */
#include <math.h>
#include <string.h>

#include "../../harness/error.h"
#include "gnn_part.h"

struct spmm_problem aggregator_problem(const struct adjacency *a, int width)
{
    struct spmm_problem p = { .n = width, .dtype = SPMM_F32 };
    spmm_describe(a->nodes, a->nodes, a->row_ptr, &p);
    return p;
}

/* ---- which rows ---- */

static bool covers(const struct spmm_impl *i, const struct cb_device *d,
                   const struct spmm_problem *p)
{
    const int sm = cb_device_info(d)->sm;
    const char *why;
    if (!i || !i->run || sm < i->base.sm_min || sm > i->base.sm_max)
        return false;
    return !i->supports || i->supports(p, &why) == OP_OK;
}

enum { CANDIDATES_MAX = 16 };

static int collect(const char *const *name, const struct cb_device *d,
                   const struct spmm_problem *p, const struct spmm_impl **out)
{
    int count = 0;
    for (; name && *name && count < CANDIDATES_MAX; name++) {
        const struct spmm_impl *i = spmm_find(*name);
        if (covers(i, d, p))
            out[count++] = i;
    }
    return count;
}

static int candidates(const struct gnn_impl *row, const struct cb_device *d,
                      const struct spmm_problem *p, const struct spmm_impl **out)
{
    const int count = collect(row->aggregate, d, p, out);
    return count ? count : collect(row->otherwise, d, p, out);
}

bool aggregator_covered(const struct gnn_impl *row, const struct cb_device *d,
                        const struct spmm_problem *p)
{
    const struct spmm_impl *found[CANDIDATES_MAX];
    return candidates(row, d, p, found) > 0;
}

/* ---- set-up ---- */

static int set_up(struct aggregator *g, const struct spmm_impl *impl, struct cb_device *d,
                  struct op_pool *pool)
{
    const struct spmm_matrix host = { g->host->row_ptr, g->host->col, g->host->row, NULL };
    const struct op_memory memory = op_pool_memory(pool);
    g->impl = impl;
    g->state = NULL;
    if (!impl->setup)
        return 0;
    return op_result(impl->setup(&g->p, &host, &g->args, &memory, cb_device_stream(d), &g->state),
                     impl->base.name, "set-up");
}

void aggregator_close(struct aggregator *g)
{
    if (g->impl && g->impl->teardown)
        g->impl->teardown(g->state);
    g->impl = NULL;
    g->state = NULL;
}

int aggregator_run(const struct aggregator *g, struct cb_device *d)
{
    return op_result(g->impl->run(&g->p, &g->args, g->state, cb_device_stream(d)),
                     g->impl->base.name, "launch");
}

struct timed {
    const struct aggregator *g;
    struct cb_device *d;
};

static int enqueue(void *arg, int step)
{
    const struct timed *t = arg;
    (void)step;
    return aggregator_run(t->g, t->d);
}

enum { LONG_US = 5000 }; /* such a run is no noise: it is neither repeated nor doubted */

int aggregator_time(const struct aggregator *g, struct cb_device *d, double enough, double *us)
{
    struct timed t = { g, d };
    struct cb_window w;
    *us = INFINITY;
    if (cb_window(d, enqueue, &t, 0, 1, false, &w))
        return -1;
    const int count = w.us < 31 ? 32 : w.us > 1000 ? 1 : (int)(1000 / w.us);
    const int windows = w.us > LONG_US ? 1 : 3;
    if (w.us > LONG_US && w.us > enough)
        return 0;
    for (int i = 0; i < windows; i++) {
        if (cb_window(d, enqueue, &t, 0, count, false, &w))
            return -1;
        *us = fmin(*us, w.us / count);
    }
    return 0;
}

/* A row that cannot be set up here, for want of memory for example, is left out. */
static int fastest(struct aggregator *g, const struct spmm_impl *const *among, int count,
                   struct cb_device *d, const struct spmm_impl **out)
{
    double least = INFINITY;
    *out = NULL;
    for (int i = 0; i < count; i++) {
        struct op_pool pool = { .device = d };
        double us = INFINITY;
        if (!set_up(g, among[i], d, &pool) && !cb_sync(d) &&
            !aggregator_time(g, d, 3 * least, &us) && us < least) {
            least = us;
            *out = among[i];
        }
        const int lost = cb_sync(d);
        aggregator_close(g);
        op_pool_free(&pool);
        if (lost)
            return -1;
    }
    return *out ? 0 : cb_error("no row of spmm does a product of width %d", g->p.n);
}

int aggregator_open(struct aggregator *g, const struct gnn_impl *row, struct cb_device *d,
                    struct op_pool *pool)
{
    const struct spmm_impl *found[CANDIDATES_MAX], *chosen;
    const int count = candidates(row, d, &g->p, found);
    if (!count)
        return cb_error("%s: no row of spmm does a product of width %d", row->base.name, g->p.n);
    chosen = found[0];
    if (count > 1 && fastest(g, found, count, d, &chosen))
        return -1;
    return set_up(g, chosen, d, pool);
}

const char *aggregator_choice(const struct aggregator *g)
{
    const char *name = g->impl && g->impl->choice ? g->impl->choice(g->state) : NULL;
    return name ? name : g->impl ? g->impl->base.name : NULL;
}

/* ---- against the definition ---- */

int aggregator_check(const struct aggregator *g, struct cb_device *d, struct cb_accuracy *a)
{
    const size_t count = (size_t)g->p.m * (size_t)g->p.n;
    const struct cb_view got = { g->args.c, CB_F32, g->p.m, g->p.n, false };
    void *want = NULL, *bound = NULL;
    enum op_status s;
    int status = -1;
    *a = (struct cb_accuracy){ .worst = -1 };
    if (cb_alloc(d, count * sizeof(double), &want) || cb_alloc(d, count * sizeof(float), &bound) ||
        cb_fill(d, g->args.c, 0xFF, count * sizeof(float)) || aggregator_run(g, d))
        goto done;
#ifdef WITH_CUDA
    if (cb_device_info(d)->sm)
        s = spmm_ref_cuda(&g->p, &g->args.a, g->args.b, want, bound, cb_device_stream(d));
    else
#endif
        s = spmm_ref(&g->p, &g->args.a, g->args.b, want, bound);
    if (op_result(s, "reference", "launch") || cb_sync(d))
        goto done;
    status = cb_compare(d, &got, want, bound, a);
done:
    cb_free(d, want);
    cb_free(d, bound);
    return status;
}
