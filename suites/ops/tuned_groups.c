/*
 * tuned_groups.c - what the autotuner of sparse networks finds in each group of layers, beside the
 * setting that it starts from and the best of all: an experiment of figures.
 *
 * The rows are the groups of a network in the order in which it meets them, and the whole.  All are
 * answered by one search, made anew, a search through every setting of every group, and times of
 * the three choices in turns; the result of the network is checked under each.
 *
 *     first tuned every   us of the group alone without its maps, of the whole with them: with the
 *                         first settings, those of the search, those of the search through all
 *     gain                first / tuned
 *     missed              tuned / every - 1: below 0 where the search met what alone does not show
 *     settings            that the group may have
 *     looked_at trials    by the search: timed at all, and in the whole network
 *     seconds every_seconds   of the two searches; of the whole with what lies between groups
 *
 * The choice of a row is "tuned / every" by name.
 */
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../harness/error.h"
#include "ops.h"
#include "sparse_net_case.h"

/* Rows of sparse_net that choose and take groups alone. */
static const char *const subjects[] = { "autotuned", "autotuned_host", "train_bind_fd",
                                        "train_bind_dw", NULL };

struct groups_params {
    struct sparse_net_params net;
    int subject;
};
#define AT(member) offsetof(struct groups_params, member)
static const struct cb_param params[] = {
    { "scan", CB_PATH, AT(net.scan), 0, 0, 0, NULL, true, "as of sparse_net" },
    { "network", CB_CHOICE, AT(net.network), SPARSE_NET_MINKUNET_1X, 0, 0, sparse_net_networks,
      false, "as of sparse_net" },
    { "tuned", CB_CHOICE, AT(subject), 0, 0, 0, subjects, false,
      "the row of sparse_net; of training ones a step of `batch` scans" },
    { "batch", CB_INT, AT(net.batch), 1, 1, 8, NULL, false, "scans" },
    { "voxels", CB_INT, AT(net.voxels), 0, 0, 1 << 26, NULL, false,
      "only the first so many of a scan; 0: all" },
    { "samples", CB_INT, AT(net.samples), 10, 1, 1000, NULL, false,
      "runs of a trial of the search, and of a group by each of all settings" },
    { 0 },
};

#define ROW(name_, title_)                                                                   \
    { .name = name_, .title = title_, .role = OP_PAPER, .sm_min = 0, .sm_max = 999,          \
      .origin = "Sparse Autotuner of TorchSparse++, arXiv 2311.12862" }
#define LEVEL(n)                                                                             \
    ROW("same_" #n, "kernel 3 on level " #n), ROW("down_" #n, "from level " #n " and back")
static const struct op_impl rows[] = { LEVEL(0), LEVEL(1), LEVEL(2), LEVEL(3), LEVEL(4),
                                       ROW("whole", "whole network"), { .name = NULL } };
#undef LEVEL
#undef ROW

struct instance {
    struct cb_context *c;
    struct net_case *in;
    const struct sparse_net_impl *subject;
    struct net_choices found;
    bool tried, failed;
    char error[256], text[64]; /* text: of the choice asked for last */
};

static const struct op_impl *impl_at(int i)
{
    const void *const table[] = { rows };
    return op_row_at(table, 1, sizeof *rows, i);
}

static void close_groups(void *instance)
{
    struct instance *in = instance;
    if (in)
        net_case_close(in->in);
    free(in);
}

/* The row of sparse_net, where it runs on this device. */
static int find_subject(const struct cb_context *c, const char *name,
                        const struct sparse_net_impl **out)
{
    const int sm = cb_device_info(c->device)->sm;
    const struct sparse_net_impl *i = sparse_net_rows;
    while (i->base.name && strcmp(i->base.name, name))
        i++;
    *out = i;
    if (!i->run || (i->base.sm_min && !sm))
        return cb_error("not available: %s needs a GPU", name);
    if (sm < i->base.sm_min || sm > i->base.sm_max)
        return cb_error("not available: %s runs on another kind of device", name);
    return 0;
}

static int open_groups(struct cb_context *c, const void *given, void **out)
{
    struct groups_params q = *(const struct groups_params *)given;
    struct instance *in = calloc(1, sizeof *in);
    const char *why;
    *out = NULL;
    if (!in)
        return cb_error("no memory for groups of layers");
    in->c = c;
    int status = find_subject(c, subjects[q.subject], &in->subject);
    if (!status) {
        q.net.pass = in->subject->rows != NULL;
        status = net_case_open(c, &q.net, &in->in);
    }
    if (!status) {
        const struct sparse_net_problem p = net_problem_of(&in->in->scene[0]);
        if (in->subject->supports(in->subject, &p, &why))
            status = cb_error("%s: %s", in->subject->base.name, why);
    }
    if (status) {
        close_groups(in);
        return -1;
    }
    *out = in;
    return 0;
}

static int inputs(void *instance, struct cb_input *out)
{
    return op_sparse_net.inputs(((struct instance *)instance)->in, out);
}

/* Group of a row, the number of groups for the whole; -1: the network has none of that name. */
static int group_of(const struct instance *in, int row)
{
    const struct kmap_plan *maps = &in->in->scene[0].maps;
    const int groups = sparse_net_groups(maps);
    char name[16];
    if (!strcmp(rows[row].name, "whole"))
        return groups;
    for (int g = 0; g < groups; g++) {
        net_group_name(maps, g, name);
        if (!strncmp(name, rows[row].name, 4) && name[5] == rows[row].name[5])
            return g;
    }
    return -1;
}

/* The result of the network under a choice. */
static int check_choice(struct instance *in, struct net_bound *b, const int *setting)
{
    struct cb_accuracy r1 = { .worst = -1 }, r2 = { .worst = -1 };
    double limit;
    if (net_choose(b, setting) || op_sparse_net.run(b, 0, 0) || cb_sync(in->c->device) ||
        op_sparse_net.check(in->c, b, 0, 0, &r1, &r2, &limit))
        return -1;
    return r1.bad || !(r1.rel_fro <= limit)
               ? cb_error("%s: wrong: %ld of %ld results off, error %.1e", in->subject->base.name,
                          r1.bad, r1.compared, r1.rel_fro)
               : 0;
}

static int compare(struct instance *in)
{
    struct net_bound *b = NULL;
    int status = net_case_prepare(in->in, 1, 1) || net_bind(in->c, in->in, in->subject, &b) ||
                         net_compare_choices(b, &in->found) ||
                         op_sparse_net.expect(in->c, in->in, 0, 0)
                     ? -1
                     : 0;
    for (int k = 0; !status && k < NET_CHOICES; k++)
        status = check_choice(in, b, in->found.setting[k]);
    net_unbind(b);
    return status;
}

static enum op_status ready(void *instance, const struct op_impl *i, const char **why)
{
    const bool has = group_of(instance, (int)(i - rows)) >= 0;
    *why = has ? NULL : "the network has no such group";
    return has ? OP_OK : OP_EUNSUPPORTED;
}

/* The first row's binding makes all; that it failed is every row's outcome. */
static int bind(struct cb_context *c, void *instance, const struct op_impl *i, void **bound)
{
    struct instance *in = instance;
    (void)c;
    if (!in->tried) {
        in->tried = true;
        in->failed = compare(in);
        if (in->failed)
            snprintf(in->error, sizeof in->error, "%.255s", cb_error_text());
    }
    return op_bind_row(instance, i, rows, sizeof *rows, bound);
}

static int run(void *bound, int weights, int activations)
{
    const struct instance *in = ((struct op_row *)bound)->in;
    (void)weights, (void)activations;
    return in->failed ? cb_error("%s", in->error) : 0;
}

static const struct net_group_times *times_of(const struct op_row *row)
{
    const struct instance *in = row->in;
    return &in->found.group[group_of(in, row->row)];
}

/* "tuned / every" */
static const char *choice(void *bound)
{
    const struct op_row *row = bound;
    struct instance *in = row->in;
    const struct net_group_times *t = times_of(row);
    if (in->failed || !*t->setting[NET_FIRST])
        return NULL;
    snprintf(in->text, sizeof in->text, "%s / %s", t->setting[NET_TUNED], t->setting[NET_EVERY]);
    return in->text;
}

static int figures(void *bound, struct cb_figure *out)
{
    const struct net_group_times *t = times_of(bound);
    int n = 0;
    op_figure(&out[n++], "first", "us", t->us[NET_FIRST]);
    op_figure(&out[n++], "tuned", "us", t->us[NET_TUNED]);
    op_figure(&out[n++], "every", "us", t->us[NET_EVERY]);
    op_figure(&out[n++], "gain", "x", t->us[NET_FIRST] / t->us[NET_TUNED]);
    op_figure(&out[n++], "missed", "fraction", t->us[NET_TUNED] / t->us[NET_EVERY] - 1);
    op_figure(&out[n++], "settings", "", t->settings);
    op_figure(&out[n++], "looked_at", "", t->looked_at);
    op_figure(&out[n++], "trials", "", t->trials);
    op_figure(&out[n++], "seconds", "s", t->seconds[NET_TUNED]);
    op_figure(&out[n++], "every_seconds", "s", t->seconds[NET_EVERY]);
    return n;
}

const struct cb_op op_tuned_groups = {
    .name = "tuned_groups", .title = "choices of a tuner by group", .params = params,
    .params_size = sizeof(struct groups_params), .untimed = true, .impl = impl_at,
    .open = open_groups, .inputs = inputs, .ready = ready, .bind = bind, .run = run,
    .choice = choice, .figures = figures, .unbind = free, .close = close_groups,
};
