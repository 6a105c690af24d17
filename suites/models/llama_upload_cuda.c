/* llama_upload_cuda.c - see llama_upload.h. */
#include <stdlib.h>
#include <string.h>

#include "../../harness/error.h"
#include "../../kernels/common/half.h"
#include "llama_upload.h"

int gpu_room_take(struct cb_device *d, struct gpu_room *r, size_t bytes)
{
    if (r->p && r->bytes >= bytes)
        return 0;
    gpu_room_free(d, r);
    if (cb_alloc(d, bytes, &r->p))
        return -1;
    r->bytes = bytes;
    return 0;
}

int gpu_room_fill(struct cb_device *d, struct gpu_room *r, const void *from, size_t bytes)
{
    return gpu_room_take(d, r, bytes) || cb_upload(d, r->p, from, bytes) ? -1 : 0;
}

void gpu_room_free(struct cb_device *d, struct gpu_room *r)
{
    cb_free(d, r->p);
    *r = (struct gpu_room){ 0 };
}

void gpu_linear_free(struct cb_device *d, struct gpu_linear *l)
{
    struct gpu_room *all[] = { &l->w, &l->bias, &l->scale, &l->offset, &l->sign, &l->lists };
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        gpu_room_free(d, all[i]);
}

/* ---- integers ---- */

/* start, place, act_bits, order behind one another. */
static int take_lists(struct cb_device *d, const struct int_linear *l, const int *place,
                      struct gpu_linear *out)
{
    const size_t ends = (size_t)l->groups + 1, k = (size_t)l->k;
    int *list = malloc((3 * ends + k) * sizeof *list);
    if (!list)
        return cb_error("no memory for %d groups", l->groups);
    memcpy(list, l->start, ends * sizeof *list);
    memcpy(list + ends, place, ends * sizeof *list);
    memcpy(list + 2 * ends, l->act_bits, (ends - 1) * sizeof *list);
    list[3 * ends - 1] = 0;
    if (l->order)
        memcpy(list + 3 * ends, l->order, k * sizeof *list);
    const size_t count = 3 * ends + (l->order ? k : 0);
    const int status = gpu_room_fill(d, &out->lists, list, count * sizeof *list);
    const int *there = out->lists.p;
    out->groups = (struct llama_groups){ l->k, l->groups, place[l->groups], there, there + ends,
                                         there + 2 * ends, l->order ? there + 3 * ends : NULL };
    free(list);
    return status;
}

/* Where the codes of every group begin; returns the channels of codes in memory. */
static int find_places(const struct int_linear *l, int *place)
{
    place[0] = 0;
    for (int g = 0; g < l->groups; g++) {
        const int count = l->start[g + 1] - l->start[g];
        place[g + 1] = place[g] + (count + LLAMA_PAD - 1) / LLAMA_PAD * LLAMA_PAD;
    }
    return place[l->groups];
}

static void pad_codes(const struct int_linear *l, const int *place, signed char *out)
{
    const size_t padded = (size_t)place[l->groups];
    memset(out, 0, (size_t)l->n * padded);
#pragma omp parallel for schedule(static)
    for (int j = 0; j < l->n; j++)
        for (int g = 0; g < l->groups; g++)
            for (int p = l->start[g]; p < l->start[g + 1]; p++)
                out[(size_t)j * padded + (size_t)(place[g] + p - l->start[g])] =
                    (signed char)l->code[(size_t)j * (size_t)l->k + (size_t)p];
}

static int take_codes(struct cb_device *d, const struct int_linear *l, struct gpu_linear *out)
{
    int *place = malloc(((size_t)l->groups + 1) * sizeof *place);
    const size_t padded = place ? (size_t)find_places(l, place) : 0, n = (size_t)l->n;
    signed char *code = malloc(n * padded + 1);
    int status = place && code ? 0 : cb_error("no memory for %d x %d codes", l->n, l->k);
    if (!status) {
        pad_codes(l, place, code);
        status = gpu_room_fill(d, &out->w, code, n * padded) || take_lists(d, l, place, out) ||
                         gpu_room_fill(d, &out->scale, l->scale,
                                       n * (size_t)l->groups * sizeof(float)) ||
                         (l->offset && gpu_room_fill(d, &out->offset, l->offset, n * sizeof(float)))
                     ? -1
                     : 0;
    }
    free(place);
    free(code);
    return status;
}

static int take_signs(struct cb_device *d, const struct int_linear *l, struct gpu_linear *out)
{
    float *sign = malloc((size_t)l->k * sizeof *sign);
    if (!sign)
        return cb_error("no memory for %d signs", l->k);
    out->turn = qoq_rotation(l->k, l->seed, sign);
    const int status = gpu_room_fill(d, &out->sign, sign, (size_t)l->k * sizeof *sign);
    free(sign);
    return status;
}

/* ---- floats ---- */

static int take_floats(struct cb_device *d, const struct llama_linear *l, bool half,
                       struct gpu_linear *out)
{
    const size_t count = (size_t)l->n * (size_t)l->k;
    float *decoded = l->dense ? NULL : malloc(count * sizeof *decoded);
    half_bits *halves = half ? malloc(count * sizeof *halves) : NULL;
    const float *w = l->dense ? l->dense : decoded;
    int status = w && (halves || !half) ? 0 : cb_error("no memory for %zu weights", count);
    if (!status && decoded)
        tensor_rows(&l->w, 0, l->n, decoded);
    if (!status && half) {
#pragma omp parallel for schedule(static)
        for (size_t i = 0; i < count; i++)
            halves[i] = half_from_float(w[i]);
    }
    if (!status)
        status = half ? gpu_room_fill(d, &out->w, halves, count * sizeof *halves)
                      : gpu_room_fill(d, &out->w, w, count * sizeof *w);
    free(decoded);
    free(halves);
    return status;
}

int gpu_linear_take(struct cb_device *d, const struct llama_linear *l, bool half,
                    struct gpu_linear *out)
{
    const struct int_linear *codes = l->apply == int_linear_apply ? l->context : NULL;
    if (!codes && l->apply != llama_apply)
        return cb_error("a replaced product, which the host alone can do");
    out->n = l->n;
    out->k = l->k;
    out->turn = 0;
    out->integers = codes != NULL;
    out->has_offset = codes && codes->offset;
    out->has_bias = l->bias != NULL;
    if (l->bias && gpu_room_fill(d, &out->bias, l->bias, (size_t)l->n * sizeof(float)))
        return -1;
    if (!codes)
        return take_floats(d, l, half, out);
    return take_codes(d, codes, out) || (codes->rotate && take_signs(d, codes, out)) ? -1 : 0;
}
