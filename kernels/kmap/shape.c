/* shape.c - what follows from the shape of a map alone. */
#include "kmap.h"

int kmap_taps(const struct kmap_shape *s)
{
    return s->kernel[0] * s->kernel[1] * s->kernel[2];
}

static int x_fastest(const struct kmap_shape *s)
{
    return s->kernel[0] % 2 && s->kernel[1] % 2 && s->kernel[2] % 2;
}

int kmap_tap_index(const struct kmap_shape *s, int tx, int ty, int tz)
{
    const int *k = s->kernel;
    return x_fastest(s) ? (tz * k[1] + ty) * k[0] + tx : (tx * k[1] + ty) * k[2] + tz;
}

void kmap_tap_at(const struct kmap_shape *s, int index, int t[3])
{
    const int fast = x_fastest(s) ? 0 : 2, slow = 2 - fast;
    t[fast] = index % s->kernel[fast];
    t[1] = index / s->kernel[fast] % s->kernel[1];
    t[slow] = index / s->kernel[fast] / s->kernel[1];
}

void kmap_out_size(const struct kmap_shape *s, int out[3])
{
    for (int a = 0; a < 3; a++) {
        const int size = s->size[a], step = s->stride[a];
        if (s->rule == KMAP_SPCONV)
            out[a] = size + 2 * s->pad[a] < s->kernel[a]
                         ? 0 : (size + 2 * s->pad[a] - s->kernel[a]) / step + 1;
        else
            out[a] = (size - 1) / step + 1;
    }
}

enum op_status kmap_shape_check(const struct kmap_shape *s)
{
    double cells = s->batch;
    if (s->batch < 1)
        return OP_EINVAL;
    for (int a = 0; a < 3; a++) {
        if (s->kernel[a] < 1 || s->kernel[a] > KMAP_TAPS_MAX || s->stride[a] < 1 ||
            s->pad[a] < 0 || s->pad[a] >= s->kernel[a] || s->size[a] < 1 || s->size[a] > 1 << 20)
            return OP_EINVAL;
        if (s->rule == KMAP_SAME &&
            (s->stride[a] != 1 || s->kernel[a] % 2 == 0 || s->pad[a] != s->kernel[a] / 2))
            return OP_EINVAL;
        cells *= s->size[a] + 2.0;
    }
    if (cells > 0x1p62 || kmap_taps(s) > KMAP_TAPS_MAX)
        return OP_EINVAL;
    int out[3];
    kmap_out_size(s, out);
    return out[0] && out[1] && out[2] ? OP_OK : OP_EINVAL;
}

struct kmap_shape kmap_same(int k, const int size[3], int batch)
{
    struct kmap_shape s = { .rule = KMAP_SAME, .batch = batch };
    for (int a = 0; a < 3; a++) {
        s.kernel[a] = k;
        s.stride[a] = 1;
        s.pad[a] = k / 2;
        s.size[a] = size[a];
    }
    return s;
}

struct kmap_shape kmap_half(const int size[3], int batch)
{
    struct kmap_shape s = { .rule = KMAP_FLOOR, .batch = batch };
    for (int a = 0; a < 3; a++) {
        s.kernel[a] = s.stride[a] = 2;
        s.size[a] = size[a];
    }
    return s;
}
