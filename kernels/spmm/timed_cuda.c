/*
 * timed_cuda.c - set-up of daspmm_timed: what the model thinks best, timed on the operands.
 *
 * A prediction from sizes, row lengths and a sample is wrong by more than a few percent where
 * a matrix is of a kind that training has not seen. A few launches of few rows are right about it
 * and cost a set-up of each.  They are timed as they will run: in a graph, operands in cache.
 */
#include <cuda_runtime_api.h>
#include <math.h>

#include "choose.h"
#include "chosen.h"

enum {
    LAUNCHES = 20, /* in a graph at most: one of 5 us takes longer to enqueue than to run */
    WINDOWS = 3
};
static const float WINDOW_MS = 0.1f, SLOW = 4; /* times the fastest so far: one launch tells */

/* ---- time of a row ---- */

struct timer {
    cudaEvent_t begin, end;
    cudaStream_t s;
};

/* The launches as a graph; NULL: the row cannot be captured. */
static cudaGraphExec_t graph_of(const struct spmm_problem *p, const struct spmm_args *args,
                                void *state, int launches, cudaStream_t s)
{
    cudaGraph_t graph = NULL;
    cudaGraphExec_t run = NULL;
    enum op_status status = OP_OK;
    if (cudaStreamBeginCapture(s, cudaStreamCaptureModeThreadLocal))
        return NULL;
    for (int i = 0; i < launches && !status; i++)
        status = spmm_chosen_run(p, args, state, s);
    if (cudaStreamEndCapture(s, &graph) || status || cudaGraphInstantiate(&run, graph, 0))
        run = NULL;
    if (graph)
        cudaGraphDestroy(graph);
    return run;
}

static float ended(const struct timer *t)
{
    float ms;
    return cudaEventRecord(t->end, t->s) || cudaEventSynchronize(t->end) ||
                   cudaEventElapsedTime(&ms, t->begin, t->end)
               ? INFINITY
               : ms;
}

/* Milliseconds of the least of a few windows. */
static float least_of(cudaGraphExec_t run, const struct timer *t)
{
    float least = INFINITY;
    for (int w = 0; w < WINDOWS; w++) {
        if (cudaEventRecord(t->begin, t->s) || cudaGraphLaunch(run, t->s))
            return INFINITY;
        least = fminf(least, ended(t));
    }
    return least;
}

/* Milliseconds of one launch; INFINITY where a call failed. */
static float time_of(const struct spmm_problem *p, const struct spmm_args *args, void *state,
                     float least, const struct timer *t)
{
    float ms = INFINITY;
    /* twice: the first one loads its code */
    for (int i = 0; i < 2; i++) {
        if (cudaEventRecord(t->begin, t->s) || spmm_chosen_run(p, args, state, t->s))
            return INFINITY;
        ms = ended(t);
    }
    if (ms > SLOW * least || ms >= WINDOW_MS * LAUNCHES)
        return ms;
    const int launches = (int)fmaxf(1, fminf(LAUNCHES, WINDOW_MS / ms));
    cudaGraphExec_t run = graph_of(p, args, state, launches, t->s);
    ms = run ? least_of(run, t) / (float)launches : INFINITY;
    if (run)
        cudaGraphExecDestroy(run);
    (void)cudaGetLastError(); /* of a capture that was refused */
    return ms;
}

/* ---- set-up ---- */

static enum op_status fastest_of(const struct spmm_problem *p, const struct spmm_matrix *host,
                                 const struct spmm_args *args, const struct op_memory *memory,
                                 const struct timer *t, void **state)
{
    const struct spmm_impl *few[SPMM_CHOOSE_FEW];
    const int count = spmm_choose_few(p, host, few);
    enum op_status status = OP_EUNSUPPORTED;
    float least = INFINITY;
    for (int i = 0; i < count; i++) {
        void *mine;
        status = spmm_chosen_setup(few[i], p, host, args, memory, t->s, &mine);
        if (status == OP_EUNSUPPORTED)
            continue;
        if (status)
            break;
        const float ms = time_of(p, args, mine, least, t);
        if (!*state || ms < least) {
            spmm_chosen_teardown(*state);
            *state = mine;
            least = ms;
        } else {
            spmm_chosen_teardown(mine);
        }
    }
    return *state ? OP_OK : status;
}

enum op_status spmm_timed_setup(const struct spmm_problem *p, const struct spmm_matrix *host,
                                const struct spmm_args *args, const struct op_memory *memory,
                                op_stream s, void **state)
{
    struct timer t = { .s = s };
    enum op_status status = OP_EDEVICE;
    *state = NULL;
    if (!cudaEventCreate(&t.begin) && !cudaEventCreate(&t.end))
        status = fastest_of(p, host, args, memory, &t, state);
    if (t.begin)
        cudaEventDestroy(t.begin);
    if (t.end)
        cudaEventDestroy(t.end);
    return status;
}
