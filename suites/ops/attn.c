/* attn.c - decode attention over a paged cache, bound to the harness. */
#include "../../kernels/attn/attn.h"

#include <math.h>
#include <stddef.h>
#include <stdlib.h>

#include "../../harness/error.h"
#include "attn_part.h"
#include "ops.h"

struct attn_params {
    int batch, heads, kv_heads, head_dim, length, page, spread;
};

#define AT(field) offsetof(struct attn_params, field)
static const struct cb_param params[] = {
    { "batch", CB_INT, AT(batch), 0, 1, 65535, NULL, true, "sequences" },
    { "heads", CB_INT, AT(heads), 0, 1, 1024, NULL, true, "query heads" },
    { "kv_heads", CB_INT, AT(kv_heads), 0, 1, 1024, NULL, true, "heads of keys and values" },
    { "head_dim", CB_INT, AT(head_dim), 128, 32, 512, NULL, false, "elements of a head" },
    { "length", CB_INT, AT(length), 0, 1, 1 << 20, NULL, true, "tokens of the longest sequence" },
    { "page", CB_INT, AT(page), 64, 16, 1024, NULL, false, "tokens of a page" },
    { "spread", CB_INT, AT(spread), 0, 0, 100, NULL, false,
      "percent that a sequence may be shorter than the longest" },
    { 0 },
};

struct instance {
    struct attn_operands operands; /* with the problem and the device */
    struct attn_expectation expectation;
    unsigned schemes; /* bits of those that a row of the case uses */
};

static const struct op_impl *impl_at(int i)
{
    const void *const table[] = { attn_references, attn_kernels, attn_baselines };
    return op_row_at(table, 3, sizeof(struct attn_impl), i);
}

static void close_instance(void *instance)
{
    struct instance *in = instance;
    if (!in)
        return;
    attn_expectation_close(&in->expectation);
    attn_operands_close(&in->operands);
    free(in);
}

static int open_problem(struct cb_context *c, const void *given, void **out)
{
    const struct attn_params *q = given;
    *out = NULL;
    if (q->heads % q->kv_heads)
        return cb_error("kv_heads does not divide heads");
    if (q->head_dim % 32 || q->page % 16)
        return cb_error("head_dim must be a multiple of 32 and page of 16");
    struct instance *in = calloc(1, sizeof *in);
    if (!in)
        return cb_error("no memory for a problem");
    in->operands.p = (struct attn_problem){ q->batch,  q->heads, q->kv_heads, q->head_dim,
                                            q->length, q->page,  0 };
    in->operands.made = (struct attn_made){ q->spread, c->seed };
    in->operands.device = in->expectation.device = c->device;
    if (attn_operands_open(&in->operands)) {
        close_instance(in);
        return -1;
    }
    *out = in;
    return 0;
}

static int inputs(void *instance, struct cb_input *out)
{
    const struct attn_operands *o = &((struct instance *)instance)->operands;
    const struct attn_problem *p = &o->p;
    const long rows = (long)o->pages * p->kv_heads * p->page;
    out[0] = (struct cb_input){ .name = "Q", .dtype = "f16", .gen = "normal", .source = "generated",
                                .shape = { p->batch, p->heads, p->head_dim },
                                .tensor_id = ATTN_TENSOR_Q };
    for (int i = 1; i < 3; i++)
        out[i] = (struct cb_input){ .name = "K", .dtype = "f16", .gen = "normal, in pages",
                                    .source = "generated", .shape = { rows, p->head_dim },
                                    .tensor_id = i == 1 ? ATTN_TENSOR_K : ATTN_TENSOR_V };
    out[2].name[0] = 'V';
    return 3;
}

static int statistics(void *instance, struct cb_figure *out)
{
    const struct attn_problem *p = &((struct instance *)instance)->operands.p;
    out[0] = (struct cb_figure){ .name = "tokens", .value = p->tokens, .low = p->tokens,
                                 .high = p->tokens };
    return 1;
}

/* Also notes which schemes are used: the harness asks about every row of a case
 * before it asks for sizes and operands. */
static enum op_status ready(void *instance, const struct op_impl *i, const char **why)
{
    struct instance *in = instance;
    const struct attn_impl *impl = (const struct attn_impl *)i;
    if (!op_is_built(impl->run != NULL, why))
        return OP_EUNSUPPORTED;
    enum op_status status = impl->supports ? impl->supports(&in->operands.p, why) : OP_OK;
    if (status == OP_OK)
        in->schemes |= 1u << impl->scheme;
    return status;
}

/* The fewest bytes that a row reads as cache: sets rotate often enough for all. */
static void set_bytes(void *instance, double *weights, double *ins, double *outs)
{
    const struct instance *in = instance;
    const struct attn_problem *p = &in->operands.p;
    *weights = attn_cache_bytes(p, ATTN_KV16);
    for (int s = 0; s < ATTN_SCHEMES; s++)
        if (in->schemes & 1u << s)
            *weights = fmin(*weights, attn_cache_bytes(p, (enum attn_scheme)s));
    *ins = *outs = 2.0 * (double)attn_out_count(p);
}

static struct cb_work work(void *instance, const struct op_impl *i)
{
    const struct attn_problem *p = &((struct instance *)instance)->operands.p;
    const struct attn_impl *impl = (const struct attn_impl *)i;
    struct cb_work w = { .flops = 4.0 * p->tokens * p->heads * p->head_dim,
                         .weight_bytes = attn_cache_bytes(p, impl->scheme),
                         .peak = "tensor_fp16",
                         .accumulate = CB_F32 };
    w.bytes_min = w.weight_bytes + 4.0 * (double)attn_out_count(p);
    w.bytes_model = w.bytes_min + (impl->extra_bytes ? impl->extra_bytes(p) : 0);
    if (impl->rounding == ATTN_ROUNDS_SCORES)
        w.core_ops = w.flops;
    else
        w.tensor_ops = w.flops;
    return w;
}

static int prepare(struct cb_context *c, void *instance, int weight_sets, int input_sets)
{
    struct instance *in = instance;
    (void)c;
    return attn_operands_make(&in->operands, in->schemes, weight_sets, input_sets) ||
                   attn_expectation_open(&in->expectation, &in->operands, in->schemes)
               ? -1
               : 0;
}

/* Sets after the first see what the first got; one that is left as it was has no
 * state of its own. */
static enum op_status set_up(struct op_bound *b, int set, void *args,
                             const struct op_memory *memory, void **state)
{
    const struct instance *in = b->in;
    const struct attn_impl *impl = b->impl;
    struct attn_args *a = args;
    void *first = b->states.state[0], *own = first;
    *a = attn_operands_at(&in->operands, impl->scheme, set, set);
    if (!impl->setup)
        return OP_OK;
    const enum op_status s = impl->setup(&in->operands.p, a, memory, b->stream, &own);
    if (s == OP_OK && (!set || own != first))
        *state = own;
    return s;
}

static int bind(struct cb_context *c, void *instance, const struct op_impl *i, void **out)
{
    const struct attn_operands *o = &((struct instance *)instance)->operands;
    return op_bind(c, instance, i, op_set_of(o->table[ATTN_KV16].count, o->q.count), sizeof(struct attn_args), set_up,
                   ((const struct attn_impl *)i)->teardown, out);
}

static int run(void *bound, int weights, int ins)
{
    const struct op_bound *b = bound;
    const struct instance *in = b->in;
    const struct attn_impl *impl = b->impl;
    const struct attn_args *args = b->args;
    const int s = op_set_of(weights, ins);
    return op_launched(b, impl->run(&in->operands.p, &args[s], b->states.state[s], b->stream));
}

static int outputs(void *bound, int weights, int ins, struct cb_region *out, int max)
{
    const struct attn_operands *o = &((struct instance *)((const struct op_bound *)bound)->in)->operands;
    (void)weights, (void)max;
    out[0] = (struct cb_region){ o->out.set[ins], 2 * attn_out_count(&o->p) };
    return 1;
}

static int expect(struct cb_context *c, void *instance, int weights, int ins)
{
    struct instance *in = instance;
    (void)c;
    return attn_expectation_compute(&in->expectation, &in->operands, weights, ins);
}

static int check(struct cb_context *c, void *bound, int weights, int ins, struct cb_accuracy *r1,
                 struct cb_accuracy *r2, double *limit)
{
    const struct op_bound *b = bound;
    struct instance *in = b->in;
    (void)c, (void)weights;
    *limit = attn_limit(b->impl);
    return attn_expectation_check(&in->expectation, &in->operands, b->impl, ins, r1, r2);
}

const struct cb_op op_attn = {
    .name = "attn", .title = "decode attention over a paged cache",
    .params = params, .params_size = sizeof(struct attn_params),
    .impl = impl_at, .open = open_problem, .inputs = inputs, .statistics = statistics,
    .ready = ready, .work = work, .set_bytes = set_bytes, .prepare = prepare, .bind = bind,
    .run = run, .outputs = outputs, .expect = expect, .check = check, .unbind = op_unbind,
    .close = close_instance,
};
