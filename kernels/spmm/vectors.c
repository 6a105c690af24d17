/* vectors.c - see vectors.h. */
#include "vectors.h"

#include <limits.h>
#include <stdlib.h>

#include "shape.h"

enum { PANEL_MAX = 2 * VECTORS_GROUP, WARPS = 132 * 32 }; /* of a GPU that is full: H200 */

/* Distinct columns of rows begin .. end - 1, by merging them. */
static long panel_vectors(const int *row_ptr, const int *col, int begin, int end)
{
    int at[PANEL_MAX], head[PANEL_MAX];
    const int rows = end - begin;
    long vectors = 0;
    for (int r = 0; r < rows; r++) {
        at[r] = row_ptr[begin + r];
        head[r] = at[r] < row_ptr[begin + r + 1] ? col[at[r]] : INT_MAX;
    }
    for (;; vectors++) {
        int least = INT_MAX;
        for (int r = 0; r < rows; r++)
            least = head[r] < least ? head[r] : least;
        if (least == INT_MAX)
            return vectors;
        for (int r = 0; r < rows; r++)
            if (head[r] == least)
                head[r] = ++at[r] < row_ptr[begin + r + 1] ? col[at[r]] : INT_MAX;
    }
}

void vectors_count(const int *row_ptr, const int *col, struct spmm_problem *p)
{
    for (int g = 0; g < 2; g++) {
        const int rows = (g + 1) * VECTORS_GROUP;
        long vectors = 0, steps = 0;
#pragma omp parallel for schedule(dynamic, 64) reduction(+ : vectors, steps)
        for (int i = 0; i < p->m; i += rows) {
            const long v = panel_vectors(row_ptr, col, i, (int)spmm_least((long)i + rows, p->m));
            vectors += v;
            steps += spmm_div_up(v, VECTORS_STEP);
        }
        p->vectors[g] = vectors;
        p->steps[g] = steps;
    }
}

static double element_bytes(const struct spmm_problem *p)
{
    return p->dtype == SPMM_F16 ? 2 : 4;
}

static double format_bytes(const struct spmm_problem *p, int groups)
{
    return VECTORS_STEP * (double)p->steps[groups - 1] *
           (VECTORS_GROUP * groups * element_bytes(p) + 4);
}

int vectors_rule(const struct spmm_problem *p)
{
    const double element = element_bytes(p);
    const double row = 32.0 * (double)spmm_div_up((long)(p->n * element), 32);
    double least = 0.9 * (double)p->nnz * (element + 4 + row);
    int groups = 0;
    for (int g = 1; g <= 2; g++) {
        const double bytes = format_bytes(p, g) + (double)p->vectors[g - 1] * row;
        if (p->vectors[g - 1] && bytes <= least) {
            least = bytes;
            groups = g;
        }
    }
    return groups;
}

double vectors_extra_bytes(const struct spmm_problem *p)
{
    const int groups = vectors_rule(p);
    if (!groups)
        return 0;
    return format_bytes(p, groups) - (double)p->nnz * (element_bytes(p) + 4) - 4.0 * (p->m + 1.0);
}

double vectors_tensor_ops(const struct spmm_problem *p)
{
    const int groups = vectors_rule(p);
    return groups ? 2.0 * VECTORS_STEP * VECTORS_GROUP * groups * p->n * (double)p->steps[groups - 1]
                  : 0;
}

/* ---- division ---- */

int vectors_whole(long steps, long tiles)
{
    const long whole = steps * tiles / (2L * WARPS);
    return (int)(whole < 8 ? 8 : spmm_least(whole, 64));
}

enum op_status vectors_divide(const int *steps, int panels, int whole, struct vectors_plan *plan)
{
    long items = 0, cuts = 0, slots = 0, total = 0;
    *plan = (struct vectors_plan){ 0 };
    for (int i = 0; i < panels; i++) {
        const long pieces = spmm_div_up(steps[i], whole);
        total += steps[i];
        items += pieces > 1 ? pieces : 1;
        cuts += pieces > 1;
    }
    if (total > INT_MAX || items > INT_MAX)
        return OP_EUNSUPPORTED;
    plan->item = malloc((size_t)items * sizeof *plan->item);
    plan->cut = malloc(((size_t)cuts + 1) * sizeof *plan->cut);
    if (!plan->item || !plan->cut) {
        vectors_plan_free(plan);
        return OP_ENOMEM;
    }
    for (int i = 0, begin = 0; i < panels; begin += steps[i++]) {
        const int end = begin + steps[i], pieces = (int)spmm_div_up(steps[i], whole);
        if (pieces <= 1) {
            plan->item[plan->items++] = (struct vectors_item){ i, begin, end, -1 };
            continue;
        }
        plan->cut[plan->cuts++] = (struct vectors_cut){ i, (int)slots, pieces };
        for (long at = begin; at < end; at += whole)
            plan->item[plan->items++] = (struct vectors_item){
                i, (int)at, (int)spmm_least(at + whole, end), (int)slots++ };
    }
    plan->slots = (int)slots;
    return OP_OK;
}

void vectors_plan_free(struct vectors_plan *plan)
{
    free(plan->item);
    free(plan->cut);
    *plan = (struct vectors_plan){ 0 };
}
