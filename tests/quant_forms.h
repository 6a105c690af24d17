/*
 * quant_forms.h - the own kernels of quant in every form and shape they have, one at a time as a
 * row of the operator: to be checked as rows are, and to be timed out of cache.
 */
#ifndef TESTS_QUANT_FORMS_H
#define TESTS_QUANT_FORMS_H

#include <math.h>
#include <stdlib.h>

#include "../harness/bench.h"
#include "../harness/error.h"
#include "../harness/params.h"
#include "../harness/stats.h"
#include "../kernels/quant/heads.h"
#include "../kernels/quant/own.h"
#include "../suites/suite.h"

/* ---- all forms ---- */

struct quant_form_of {
    int vectors, blocks; /* QUANT_HEADS: units of a warp, and at most so many warps a block */
    enum quant_form form;
};

/* The form that quant_form_row runs. */
static struct quant_form_of chosen_form;

/* The i-th of all; false past the end. */
static inline bool quant_form_at(int i, struct quant_form_of *out)
{
#define PAIR(vectors, blocks) { vectors, blocks },
    static const int rows[][2] = { QUANT_EACH_SHAPE(PAIR) };
#undef PAIR
    static const enum quant_form form[] = { QUANT_ONCE, QUANT_LEAN, QUANT_LEAN_AHEAD };
    enum { ROWS = sizeof rows / sizeof *rows, FORMS = sizeof form / sizeof *form };
    static const int warps[] = { 2, 4, 8 };
    const int heads = i - ROWS * FORMS;
    if (heads < 0)
        *out = (struct quant_form_of){ rows[i / FORMS][0], rows[i / FORMS][1], form[i % FORMS] };
    else
        *out = (struct quant_form_of){ 1 + heads / 3, warps[heads % 3], QUANT_HEADS };
    return heads < 3 * HEADS_EACH_MAX;
}

/* No threads where there is no such form. */
static inline struct quant_shape quant_form_shape(const struct quant_problem *p,
                                                  struct quant_form_of f)
{
    const struct quant_shape none = { 0, 0, 0, QUANT_ONCE };
    if (p->kernel == QUANT_ROPE_KV)
        return f.form == QUANT_HEADS ? heads_shape(p, heads_all(p), f.vectors, f.blocks) : none;
    return quant_has_form(p->kernel, f.form) ? quant_shape_with(p->n, f.vectors, f.blocks, f.form)
                                             : none;
}

static enum op_status quant_form_supports(const struct quant_problem *p, const char **why)
{
    *why = "no such shape";
    return p->n % QUANT_VECTOR == 0 && quant_form_shape(p, chosen_form).threads ? OP_OK
                                                                                : OP_EUNSUPPORTED;
}

#ifdef WITH_CUDA
static enum op_status quant_run_form(const struct quant_problem *p, const struct quant_args *a,
                                     void *state, op_stream s)
{
    (void)state;
    return quant_own_with(p, a, quant_form_shape(p, chosen_form), s);
}
#endif

static const struct quant_impl quant_form_row = { .base = { .name = "quant_form",
                                                            .title = "a form",
                                                            .origin = "test",
                                                            .role = OP_OWN,
                                                            .sm_min = 90,
                                                            .sm_max = 90 },
                                                  .code_sums = 1,
                                                  .supports = quant_form_supports,
                                                  .run = OP_CUDA(quant_run_form) };

static inline void quant_form_name(struct quant_form_of f, char *to, size_t size)
{
    static const char *const name[] = { [QUANT_ONCE] = "",
                                        [QUANT_LEAN] = " lean",
                                        [QUANT_LEAN_AHEAD] = " lean ahead",
                                        [QUANT_HEADS] = " heads" };
    snprintf(to, size, "%dx%d%s", f.vectors, f.blocks, name[f.form]);
}

/* As the tables of shape.h and heads.h write it. */
static inline int quant_form_code(struct quant_form_of f)
{
    const int form = f.form == QUANT_HEADS ? 0 : (int)f.form;
    return 100 * form + 10 * f.vectors + f.blocks;
}

/* ---- times, out of cache ---- */

enum { SWEEP_FORMS = 64, SWEEP_WINDOWS = 7, SWEEP_SETS = 256 };

struct quant_sweep {
    struct cb_context *c;
    const struct cb_op *op;
    void *instance, *bound;
    double bandwidth; /* bytes per microsecond */
    double bytes;     /* of a set */
    int sets, count;  /* operand sets; launches of a window, a multiple of them */
    bool flush;       /* sets leave room in the L2: it is emptied before each window */
    struct cb_graph *graph[SWEEP_FORMS];
    struct quant_form_of form[SWEEP_FORMS];
    double us[SWEEP_FORMS][SWEEP_WINDOWS];
    int forms;
};

static inline int quant_sweep_enqueue(void *arg, int step)
{
    const struct quant_sweep *s = arg;
    return s->op->run(s->bound, 0, step % s->sets);
}

/* A graph of each form that the problem can have. */
static inline int quant_sweep_graphs(struct quant_sweep *s)
{
    struct cb_device *d = s->c->device;
    const char *why;
    for (int f = 0; s->forms < SWEEP_FORMS && quant_form_at(f, &chosen_form); f++) {
        if (s->op->ready(s->instance, &quant_form_row.base, &why) != OP_OK)
            continue;
        if (quant_sweep_enqueue(s, 0) || cb_sync(d)) {
            cb_error_clear(); /* no such shape of this kernel */
            continue;
        }
        if (cb_graph_make(d, quant_sweep_enqueue, s, s->count, &s->graph[s->forms]))
            return -1;
        if (!s->graph[s->forms])
            return cb_error("a launch cannot be captured");
        s->form[s->forms] = chosen_form;
        if (cb_graph_launch(d, s->graph[s->forms++]) || cb_sync(d))
            return -1;
    }
    return 0;
}

/* In turns, so that all forms see the same clocks. */
static inline int quant_sweep_windows(struct quant_sweep *s)
{
    struct cb_window w;
    for (int i = 0; i < SWEEP_WINDOWS; i++)
        for (int f = 0; f < s->forms; f++) {
            if ((s->flush && cb_flush(s->c->device)) ||
                cb_graph_window(s->c->device, s->graph[f], true, &w))
                return -1;
            s->us[f][i] = w.us / s->count;
        }
    return 0;
}

/* Operands as the harness makes them: enough sets to have left the L2 twice over when they come
 * again, or as many as fit a graph and a flush. */
static inline int quant_sweep_open(struct quant_sweep *s, const void *params)
{
    const double l2 = (double)cb_device_info(s->c->device)->l2;
    double weights, in, out;
    if (s->op->open(s->c, params, &s->instance))
        return -1;
    s->op->set_bytes(s->instance, &weights, &in, &out);
    s->bytes = in + out;
    const double needed = ceil(2 * l2 / s->bytes) + 1;
    const int launches = s->bytes > 16e6 ? 12 : 48;
    s->flush = needed > SWEEP_SETS;
    s->sets = (int)fmin(fmax(needed, 2), SWEEP_SETS);
    s->count = (launches + s->sets - 1) / s->sets * s->sets;
    return s->op->prepare(s->c, s->instance, 1, s->sets) ||
                   s->op->bind(s->c, s->instance, &quant_form_row.base, &s->bound)
               ? -1
               : 0;
}

/* One line: the floor, the form that is the default, the fastest, then all. */
static inline void quant_sweep_print(const struct quant_sweep *s, struct quant_form_of chosen)
{
    const double floor_us = s->bytes / s->bandwidth;
    double us[SWEEP_FORMS], of_default = NAN;
    int best = 0;
    char name[64];
    for (int f = 0; f < s->forms; f++) {
        us[f] = cb_median(s->us[f], SWEEP_WINDOWS);
        best = us[f] < us[best] ? f : best;
        if (!memcmp(&s->form[f], &chosen, sizeof chosen))
            of_default = us[f];
    }
    quant_form_name(s->form[best], name, sizeof name);
    printf(" floor %.2f, default %.2f, best %.2f %s (%d): %.2f above the floor, %.0f %% of it\n   ",
           floor_us, of_default, us[best], name, quant_form_code(s->form[best]),
           us[best] - floor_us, 100 * floor_us / us[best]);
    for (int f = 0; f < s->forms; f++) {
        quant_form_name(s->form[f], name, sizeof name);
        printf(" %s %.2f%s", name, us[f], f + 1 < s->forms ? "," : "\n");
    }
    fflush(stdout);
}

static inline struct quant_form_of quant_form_default(const struct quant_problem *p)
{
    const bool rope = p->kernel == QUANT_ROPE_KV;
    const struct quant_shape s = rope ? heads_shape_of(p, heads_all(p)) : quant_shape_of(p);
    struct quant_form_of f = { s.vectors, s.blocks, s.form };
    if (rope) /* several limits may give the same blocks: the one of the table */
        f.blocks = s.threads / 32 > 4 ? 8 : s.threads / 32 > 2 ? 4 : 2;
    return f;
}

static inline int quant_sweep_case(struct cb_context *c, double bandwidth,
                                   const struct quant_problem *p)
{
    struct quant_sweep s = { .c = c, .op = suite_op("quant"), .bandwidth = bandwidth };
    static const char *const kernel[] = { "plain", "norm", "add_norm", "silu", "add", "rope_kv" };
    json_t *json =
        p->kernel == QUANT_ROPE_KV
            ? json_pack("{s:s,s:i,s:i,s:i,s:i,s:i}", "kernel", kernel[p->kernel], "m", p->m,
                        "length", p->length, "heads", p->heads, "kv_heads", p->kv_heads, "bits",
                        p->bits)
            : json_pack("{s:s,s:i,s:i}", "kernel", kernel[p->kernel], "m", p->m, "n", p->n);
    void *params = calloc(1, s.op->params_size);
    int status = json && params ? cb_params_from_json(s.op, json, params) : -1;
    if (!status)
        status = quant_sweep_open(&s, params) || quant_sweep_graphs(&s) || quant_sweep_windows(&s)
                     ? -1
                     : 0;
    printf("%-8s m %4d n %5d", kernel[p->kernel], p->m, p->n);
    if (p->kernel == QUANT_ROPE_KV)
        printf(" kv_heads %2d bits %d", p->kv_heads, p->bits);
    if (status)
        printf(": %s\n", cb_error_text());
    else
        quant_sweep_print(&s, quant_form_default(p));
    for (int f = 0; f < s.forms; f++)
        cb_graph_free(c->device, s.graph[f]);
    s.op->unbind(s.bound);
    s.op->close(s.instance);
    free(params);
    json_decref(json);
    return status;
}

/* Bytes per microsecond that the device reads from its memory. */
static inline double quant_sweep_bandwidth(struct cb_device *d)
{
    struct cb_ceiling all[CB_CEILINGS_MAX];
    const int count = cb_ceilings(d, all);
    for (int i = 0; i < count; i++)
        if (!strcmp(all[i].id, "dram_read"))
            return all[i].value * 1e-6;
    return 4.5e6;
}

/* All problems of the suite, or those of one kernel, or of so many tokens. */
static inline int quant_sweep(struct cb_context *c, const char *kernel, int tokens)
{
    static const char *const name[] = { "plain", "norm", "add_norm", "silu", "add", "rope_kv" };
    static const int ms[] = { 1, 16, 64, 256, 1024, 4096 };
    static const int ns[][4] = { { 4096, 8192 },          { 4096, 8192 }, { 4096, 8192 },
                                 { 11008, 14336, 28672 }, { 0 },          { 8, 32 } };
    const double bandwidth = quant_sweep_bandwidth(c->device);
    int status = 0;
    printf("bandwidth %.0f GB/s; vectors x blocks of rows, units x warps of heads; us\n",
           bandwidth * 1e-3);
    for (int k = 0; k <= QUANT_ROPE_KV; k++)
        for (int j = 0; j < 4 && ns[k][j]; j++)
            for (size_t i = 0; i < sizeof ms / sizeof *ms; i++) {
                struct quant_problem p = { .kernel = (enum quant_kernel)k,
                                           .m = ms[i],
                                           .n = ns[k][j] };
                if ((kernel && strcmp(kernel, name[k])) || (tokens && tokens != p.m))
                    continue;
                if (k != QUANT_ROPE_KV) {
                    status |= quant_sweep_case(c, bandwidth, &p);
                    continue;
                }
                p.heads = 32, p.kv_heads = ns[k][j], p.head_dim = 128, p.page = 64;
                p.n = (p.heads + 2 * p.kv_heads) * p.head_dim;
                p.length = p.m > 256 ? 1024 : 1;
                for (p.bits = 4; p.bits <= (p.m > 256 ? 8 : 4); p.bits += 4)
                    status |= quant_sweep_case(c, bandwidth, &p);
            }
    return status;
}

#endif
