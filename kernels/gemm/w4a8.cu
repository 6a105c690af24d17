/* w4a8.cu - w4a8_strips.cuh, w4a8_stream.cuh or w4a8_own.cuh, by the number of tokens and
 * channels. */
#include <stdlib.h>

#include "w4a8.h"
#include "w4a8_device.cuh"
#include "w4a8_stream.h"
#include "w4a8_strips.h"

struct W4A8Choice {
    gemm_run_fn *run; /* of the one chosen, like the rest */
    void (*teardown)(void *state);
    void *state;
};

/* Later sets of operands get what the first got. */
static enum op_status choose(const struct gemm_problem *p, const struct gemm_args *a, int grouped,
                             gemm_setup_fn *strips, gemm_setup_fn *stream, gemm_setup_fn *tiles,
                             const struct op_memory *m, op_stream s, void **out)
{
    const W4A8Choice *first = (const W4A8Choice *)*out;
    const int sms = w4a8_multiprocessors();
    if (!sms)
        return OP_EDEVICE;
    W4A8Choice *choice = (W4A8Choice *)calloc(1, sizeof *choice);
    if (!choice)
        return OP_ENOMEM;
    choice->state = first ? first->state : NULL;
    gemm_setup_fn *setup = tiles;
    choice->run = gemm_w4a8_tiles;
    choice->teardown = gemm_w4a8_tiles_teardown;
    if (w4a8_strips_best(p, grouped, sms)) {
        setup = strips;
        choice->run = gemm_w4a8_strips;
        choice->teardown = gemm_w4a8_strips_teardown;
    } else if (w4a8_stream_best(p, grouped, sms)) {
        setup = stream;
        choice->run = gemm_w4a8_stream;
        choice->teardown = gemm_w4a8_stream_teardown;
    }
    const enum op_status status = setup(p, a, m, s, &choice->state);
    if (status != OP_OK) {
        free(choice);
        return status;
    }
    *out = choice;
    return OP_OK;
}

OP_BEGIN
#define SETUP(form, suffix, grouped)                                                               \
    enum op_status gemm_w4a8_##form##_own##suffix##_setup(                                         \
        const struct gemm_problem *p, const struct gemm_args *a, const struct op_memory *m,        \
        op_stream s, void **state)                                                                 \
    {                                                                                              \
        return choose(p, a, grouped, gemm_w4a8_##form##_strips##suffix##_setup,                    \
                      gemm_w4a8_##form##_stream##suffix##_setup,                                   \
                      gemm_w4a8_##form##_tiles##suffix##_setup, m, s, state);                      \
    }
#define SETUPS(suffix)                                                                             \
    SETUP(channel, suffix, 0)                                                                      \
    SETUP(group, suffix, 1)
SETUPS()
SETUPS(_nodeq)
SETUPS(_loadonly)
SETUPS(_mmaonly)
SETUPS(_deqonly)
#undef SETUPS
#undef SETUP

enum op_status gemm_w4a8_own(const struct gemm_problem *p, const struct gemm_args *a, void *state,
                             op_stream s)
{
    const W4A8Choice *choice = (const W4A8Choice *)state;
    return choice->run(p, a, choice->state, s);
}

void gemm_w4a8_own_teardown(void *state)
{
    W4A8Choice *choice = (W4A8Choice *)state;
    if (choice)
        choice->teardown(choice->state);
    free(choice);
}
OP_END
