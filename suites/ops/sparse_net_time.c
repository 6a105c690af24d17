/*
 * sparse_net_time.c - tuning of networks, what it is worth, and where their time goes.
 *
 *     maps          coordinates to tables
 *     orders        tables to what convolutions read: sorted rows, lists of pairs
 *     convolutions  all layers, with what follows each
 *     gradients     training: of rows and weights
 *     rest          of a whole run: copies of input and output, gaps
 *     warm          a run on maps and orders that are there already: convolutions and rest
 *     wall          from the call until the result is there, seen from the host
 *     launches      kernels and fills of a part, of rows that can be a graph
 *     memory        device memory beside the operands, of a tuned row of all that it tried
 *
 * Where operands rotate every run is on the next scan.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "../../harness/error.h"
#include "sparse_net_case.h"
#include "tuner.h"

/* Windows whose median is the time of a part: of one that is long a few. */
enum { WINDOWS = 7, LONG_WINDOWS = 3 };
static const double LONG_US = 4000;
_Static_assert((int)SPARSE_NET_FLOWS_MAX <= (int)TUNER_SETTINGS_MAX,
               "flows that a tuner tells apart");
_Static_assert((int)NET_GROUPS_MAX == (int)TUNER_GROUPS_MAX, "groups that a tuner tells apart");

static double now_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return 1e6 * (double)t.tv_sec + 1e-3 * (double)t.tv_nsec;
}

/* ---- something that is timed: as a graph a set where the row can be one ---- */

enum { GRAPHS_MAX = 64 };

struct timed {
    const struct net_bound *b;
    int parts;
    struct cb_graph *graph[GRAPHS_MAX];
    int graphs; /* 0: launches */
    int next;   /* set of the next run */
};

static int enqueue(void *arg, int step)
{
    const struct timed *t = arg;
    const struct net_case *in = t->b->in;
    (void)step;
    return net_run_parts(t->b, t->next % in->weight_sets, t->next % in->scenes, t->parts);
}

static void timed_close(struct timed *t)
{
    for (int i = 0; i < t->graphs; i++)
        cb_graph_free(t->b->in->device, t->graph[i]);
    t->graphs = t->next = 0;
}

/* A run of each set, then its graph; launches where one cannot be captured, which on one scan alone
 * need no run before. */
static int timed_open(struct timed *t)
{
    struct cb_device *d = t->b->in->device;
    const int sets = t->b->states.count;
    int capture = !(t->b->impl->base.flags & OP_NO_CAPTURE) && sets <= GRAPHS_MAX;
    timed_close(t);
    if (!capture && sets == 1)
        return 0;
    for (; t->next < sets; t->next++) {
        if (enqueue(t, 0) || cb_sync(d))
            return -1;
        if (capture && cb_graph_make(d, enqueue, t, 1, &t->graph[t->graphs]))
            return -1;
        capture = capture && t->graph[t->graphs];
        t->graphs += capture;
    }
    if (!capture)
        timed_close(t);
    t->next = 0;
    return 0;
}

/* Time of one run on the device. */
static int timed_run(struct timed *t, double *us)
{
    struct cb_device *d = t->b->in->device;
    struct cb_window w;
    const int status = t->graphs ? cb_graph_window(d, t->graph[t->next % t->graphs], false, &w)
                                 : cb_window(d, enqueue, t, 0, 1, false, &w);
    *us = status ? 0 : w.us;
    t->next++;
    return status;
}

/* Time of one run on the host, its end waited for. */
static int timed_wall(struct timed *t, double *us)
{
    struct cb_device *d = t->b->in->device;
    const double start = now_us();
    const int status =
        t->graphs ? cb_graph_launch(d, t->graph[t->next % t->graphs]) : enqueue(t, 0);
    if (status || cb_sync(d))
        return -1;
    *us = now_us() - start;
    t->next++;
    return 0;
}

static int by_value(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(double *us, int n)
{
    qsort(us, (size_t)n, sizeof *us, by_value);
    return us[n / 2];
}

static int median_of(struct timed *t, int (*once)(struct timed *, double *), double *us)
{
    double times[WINDOWS];
    int windows = WINDOWS;
    for (int i = 0; i < windows; i++) {
        if (once(t, &times[i]))
            return -1;
        if (times[0] > LONG_US)
            windows = LONG_WINDOWS;
    }
    *us = median(times, windows);
    return 0;
}

/* ---- figures ---- */

int net_time_figures(const struct net_bound *b, struct cb_figure *out)
{
    static const int list[] = { SPARSE_NET_MAPS, SPARSE_NET_ORDERS, SPARSE_NET_LAYERS,
                                SPARSE_NET_BACK, SPARSE_NET_ALL };
    static const char *const name[] = { "maps", "orders", "convolutions", "gradients" };
    static const char *const launches[] = { "launches_maps", "launches_orders",
                                            "launches_convolutions", "launches_gradients",
                                            "launches" };
    double us[5] = { 0 }, wall = 0;
    int n = 0, nodes[5] = { 0 };
    memcpy(out, b->tuning, sizeof b->tuning);
    n = b->tunings;
    if (!b->impl->run)
        return n;
    if (b->states.pool.bytes)
        op_figure(&out[n++], "memory", "B", (double)b->states.pool.bytes);
    for (int i = 0; i < 5; i++) {
        if (list[i] == SPARSE_NET_BACK && !b->impl->rows)
            continue;
        struct timed t = { .b = b, .parts = list[i] };
        int status = timed_open(&t) || median_of(&t, timed_run, &us[i]);
        if (!status && list[i] == SPARSE_NET_ALL)
            status = median_of(&t, timed_wall, &wall);
        nodes[i] = !status && t.graphs ? cb_graph_nodes(b->in->device, t.graph[0]) : 0;
        timed_close(&t);
        if (status)
            return n;
    }
    for (int i = 0; i < (b->impl->rows ? 4 : 3); i++)
        op_figure(&out[n++], name[i], "us", us[i]);
    op_figure(&out[n++], "rest", "us", us[4] - us[0] - us[1] - us[2] - us[3]);
    op_figure(&out[n++], "warm", "us", us[4] - us[0] - us[1]);
    op_figure(&out[n++], "wall", "us", wall);
    for (int i = 0; i < 5; i++)
        if (nodes[i] > 0)
            op_figure(&out[n++], launches[i], "", nodes[i]);
    return n;
}

/* ---- tuning ---- */

static int choose(void *context, const int *setting)
{
    struct timed *t = context;
    const struct net_bound *b = t->b;
    for (int i = 0; i < b->states.count; i++)
        if (op_result(b->impl->choose(b->states.state[i], setting,
                                      cb_device_stream(b->in->device)),
                      b->impl->base.name, "choice"))
            return -1;
    return timed_open(t);
}

static int sample(void *context, double *us)
{
    return timed_run(context, us);
}

/* A group without the maps, which no setting changes, on those and the rows of a run before. */
static int alone(void *context, int group, double *us)
{
    const struct timed *t = context;
    struct timed part = { .b = t->b };
    struct cb_window w;
    part.parts = (SPARSE_NET_ALL & ~SPARSE_NET_MAPS) | sparse_net_part_of_group(group);
    const int status = cb_window(t->b->in->device, enqueue, &part, 0, 1, false, &w);
    *us = status ? 0 : w.us;
    return status;
}

/* Whether an earlier flow that a group may have is the same for it. */
static bool is_double(const struct net_bound *b, const struct sparse_net_problem *p, int g, int f,
                      uint64_t allowed)
{
    const struct sparse_net_flow *flow = b->impl->flow;
    for (int k = 0; k < f; k++)
        if (allowed >> k & 1 && sparse_net_flows_same(&flow[f], &flow[k], p, g))
            return true;
    return false;
}

static struct tuner_space space_of(const struct net_bound *b)
{
    const struct sparse_net_problem p = net_problem_of(&b->in->scene[0]);
    struct tuner_space space = { .groups = sparse_net_groups(p.maps), .settings = b->impl->flows,
                                 .samples = b->in->q.samples };
    for (int f = 0; f < b->impl->flows; f++)
        space.refines[f] = b->impl->flow[f].refines;
    for (int g = 0; g < space.groups; g++)
        for (int f = 0; f < b->impl->flows; f++)
            if (sparse_net_flow_fits(&b->impl->flow[f], &p, g) &&
                !is_double(b, &p, g, f, space.allowed[g]))
                space.allowed[g] |= (uint64_t)1 << f;
    return space;
}

/* Kernel 3 on a level, or the map from it to the next. */
void net_group_name(const struct kmap_plan *maps, int group, char name[16])
{
    int i = 0;
    while (i + 1 < maps->steps && sparse_net_group(maps, i) != group)
        i++;
    const struct kmap_step *s = &maps->step[i];
    snprintf(name, 16, "%s %d", s->from == s->to ? "same" : "down",
             s->from < s->to ? s->from : s->to);
}

static void tell(struct net_bound *b, const struct tuner_space *space,
                 const struct tuner_result *r, bool stored)
{
    size_t used = 0;
    for (int g = 0; g < space->groups && used < sizeof b->choice; g++)
        used += (size_t)snprintf(b->choice + used, sizeof b->choice - used, "%s%s", g ? " " : "",
                                 b->impl->flow[r->setting[g]].name);
    op_figure(&b->tuning[0], "tuning", "s", r->seconds);
    op_figure(&b->tuning[1], "tuning_trials", "", r->trials);
    op_figure(&b->tuning[2], "tuning_discarded", "", r->discarded);
    op_figure(&b->tuning[3], "tuning_estimated", "", r->estimated);
    op_figure(&b->tuning[4], "tuning_before", "us", r->first_us);
    op_figure(&b->tuning[5], "tuning_after", "us", r->us);
    op_figure(&b->tuning[6], "tuning_stored", "", stored);
    b->tunings = 7;
}

/* File names and generated names; of several batches or first voxels, with their numbers. */
static void workload_of(const struct sparse_net_params *q, char *out, size_t size)
{
    const char *slash = strrchr(q->scan, '/');
    size_t used = (size_t)snprintf(out, size, "%s", slash && slash[1] ? slash + 1 : q->scan);
    if (q->batch > 1 && used < size)
        used += (size_t)snprintf(out + used, size - used, "_batch%d", q->batch);
    if (q->voxels && used < size)
        snprintf(out + used, size - used, "_first%d", q->voxels);
}

int net_tune(struct net_bound *b)
{
    const struct net_case *in = b->in;
    const struct tuner_space space = space_of(b);
    const char *setting[TUNER_SETTINGS_MAX], *group[TUNER_GROUPS_MAX];
    char workload[128], groups[TUNER_GROUPS_MAX][16], path[4096];
    struct timed t = { .b = b, .parts = SPARSE_NET_ALL };
    const struct tuner_subject subject = { choose, sample, b->impl->alone ? alone : NULL, &t };
    struct tuner_result r;
    int status;
    for (int f = 0; f < b->impl->flows; f++)
        setting[f] = b->impl->flow[f].name;
    for (int g = 0; g < space.groups; g++) {
        net_group_name(&in->scene[0].maps, g, groups[g]);
        group[g] = groups[g];
    }
    workload_of(&in->q, workload, sizeof workload);
    const struct tuner_key key = { b->impl->base.name,
                                   sparse_net_networks[in->q.network],
                                   workload,
                                   cb_device_info(in->device)->name,
                                   sparse_net_precisions[in->q.precision],
                                   sparse_net_passes[in->q.pass],
                                   setting,
                                   group };
    const bool stored = tuner_load(&key, &space, path, sizeof path, &r);
    if (stored) {
        status = choose(&t, r.setting);
    } else {
        status = tuner_search(&space, &subject, &r);
        if (!status && tuner_save(&key, &space, &r, path, sizeof path))
            cb_error_clear(); /* it is only not there the next time */
    }
    timed_close(&t);
    if (!status)
        tell(b, &space, &r, stored);
    return status;
}

/* ---- the search beside its first settings and all settings ---- */

enum { TURNS = 3, RUNS = 5 }; /* a choice has its turn so often, of so many runs */

/* The first choice that is the same for a group; group -1: for all. */
static int same_choice(const struct net_choices *c, int group, int k)
{
    int j = 0;
    while (j < k && (group < 0 ? memcmp(c->setting[j], c->setting[k], sizeof *c->setting)
                               : c->setting[j][group] != c->setting[k][group]))
        j++;
    return j;
}

/* A group alone by each choice in turns; group -1: the whole.  What is the same is timed once. */
static int time_choices(struct timed *t, const struct net_choices *c, int group,
                        double us[NET_CHOICES])
{
    double run[NET_CHOICES][TURNS * RUNS], unused;
    for (int turn = 0; turn < TURNS; turn++)
        for (int k = 0; k < NET_CHOICES; k++) {
            if (same_choice(c, group, k) < k)
                continue;
            if (choose(t, c->setting[k]))
                return -1;
            for (int i = -1; i < RUNS; i++) { /* the first warms up */
                double *to = i < 0 ? &unused : &run[k][turn * RUNS + i];
                if (group < 0 ? sample(t, to) : alone(t, group, to))
                    return -1;
            }
        }
    for (int k = 0; k < NET_CHOICES; k++) {
        const int same = same_choice(c, group, k);
        us[k] = same < k ? us[same] : median(run[k], TURNS * RUNS);
    }
    return 0;
}

static void describe(const struct net_bound *b, const struct tuner_space *space,
                     const struct tuner_result *tuned, const struct tuner_result *every,
                     struct net_choices *out)
{
    struct net_group_times *whole = &out->group[space->groups];
    const int *const setting[NET_CHOICES] = { [NET_TUNED] = tuned->setting,
                                              [NET_EVERY] = every->setting };
    *out = (struct net_choices){ .groups = space->groups };
    for (int g = 0; g < space->groups; g++) {
        struct net_group_times *t = &out->group[g];
        net_group_name(&b->in->scene[0].maps, g, t->name);
        for (int k = 0; k < NET_CHOICES; k++) {
            out->setting[k][g] = setting[k] ? setting[k][g] : 0;
            snprintf(t->setting[k], sizeof t->setting[k], "%s",
                     b->impl->flow[out->setting[k][g]].name);
        }
        t->seconds[NET_TUNED] = tuned->effort[g].seconds;
        t->seconds[NET_EVERY] = every->effort[g].seconds;
        t->settings = every->effort[g].settings;
        t->looked_at = 1 + tuned->effort[g].settings; /* the first is in force */
        t->trials = tuned->effort[g].trials;
        whole->settings += t->settings;
        whole->looked_at += t->looked_at;
        whole->trials += t->trials;
    }
    snprintf(whole->name, sizeof whole->name, "whole");
    whole->seconds[NET_TUNED] = tuned->seconds;
    whole->seconds[NET_EVERY] = every->seconds;
}

int net_choose(struct net_bound *b, const int *setting)
{
    struct timed t = { .b = b, .parts = SPARSE_NET_ALL };
    const int status = choose(&t, setting);
    timed_close(&t);
    return status;
}

int net_compare_choices(struct net_bound *b, struct net_choices *out)
{
    const struct tuner_space space = space_of(b);
    struct timed t = { .b = b, .parts = SPARSE_NET_ALL };
    const struct tuner_subject subject = { choose, sample, b->impl->alone ? alone : NULL, &t };
    struct tuner_result tuned, every;
    int status =
        tuner_search(&space, &subject, &tuned) || tuner_every(&space, &subject, &every) ? -1 : 0;
    if (!status) {
        describe(b, &space, &tuned, &every, out);
        status = time_choices(&t, out, -1, out->group[space.groups].us);
    }
    for (int g = 0; !status && g < space.groups; g++)
        status = time_choices(&t, out, g, out->group[g].us);
    timed_close(&t);
    return status;
}
