/* group_attn_cublas.c - attention in groups alone: in tiles, and as batched products. */
#include <stdlib.h>

#include "attend_cublas.h"
#include "encoder_cublas.h"

static const size_t WORKSPACE = (size_t)64 << 20;

struct state {
    struct encoder_tokens tokens; /* without its arrays */
    struct encoder_on_device device;
    struct attend_batched batched;
};

void group_attn_cublas_teardown(void *state)
{
    struct state *v = state;
    if (!v)
        return;
    if (v->batched.handle)
        cublasDestroy(v->batched.handle);
    encoder_tokens_free(&v->tokens);
    free(v);
}

enum op_status group_attn_flash_setup(const struct group_attn_problem *p,
                                      const struct op_memory *m, op_stream s, void **state)
{
    struct state *v = calloc(1, sizeof *v);
    enum op_status status = v ? encoder_tokens_groups(p, &v->tokens) : OP_ENOMEM;
    *state = NULL;
    if (!status)
        status = attend_upload(&v->tokens, m, s, &v->device);
    if (status) {
        group_attn_cublas_teardown(v);
        return status;
    }
    encoder_tokens_strip(&v->tokens);
    *state = v;
    return OP_OK;
}

enum op_status group_attn_unfused_setup(const struct group_attn_problem *p,
                                        const struct op_memory *m, op_stream s, void **state)
{
    enum op_status status = group_attn_flash_setup(p, m, s, state);
    struct state *v = *state;
    if (status)
        return status;
    const size_t row = (size_t)p->heads * (size_t)p->head;
    void *workspace = m->take(m->context, WORKSPACE);
    v->batched.split = m->take(m->context, 2 * 3 * (size_t)p->slots * row);
    v->batched.score = m->take(m->context, attend_score_bytes(&v->tokens));
    if (!workspace || !v->batched.split || !v->batched.score)
        status = OP_ENOMEM;
    else if (!(v->batched.handle = attend_handle(workspace, WORKSPACE, s)))
        status = OP_EDEVICE;
    if (status) {
        group_attn_cublas_teardown(v);
        *state = NULL;
    }
    return status;
}

enum op_status group_attn_flash(const struct group_attn_problem *p,
                                const struct group_attn_args *a, void *state, op_stream s)
{
    const struct state *v = state;
    (void)p;
    return encoder_pass_flash(v->tokens.items, v->device.item, a->qkv, a->o, s);
}

enum op_status group_attn_unfused(const struct group_attn_problem *p,
                                  const struct group_attn_args *a, void *state, op_stream s)
{
    const struct state *v = state;
    (void)p;
    return attend_batched_run(&v->batched, &v->tokens, &v->device, a->qkv, a->o, s);
}
