/* device.c - chooses the backend; allocations with guard zones. */
#include "device.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "device_impl.h"
#include "error.h"

int cb_device_count(void)
{
#ifdef WITH_CUDA
    return cb_cuda_count();
#else
    return 0;
#endif
}

static int open_cuda(struct cb_device *d, int index)
{
#ifdef WITH_CUDA
    return cb_cuda_open(d, index);
#else
    (void)d, (void)index;
    return cb_error("device cuda: this build has no CUDA");
#endif
}

int cb_device_open(const char *name, struct cb_device **out)
{
    struct cb_device *d = calloc(1, sizeof *d);
    int status = -1;
    *out = NULL;
    if (!d)
        return cb_error("no memory for a device");
    if (!strcmp(name, "auto"))
        name = cb_device_count() > 0 ? "cuda" : "host";
    if (!strcmp(name, "host")) {
        status = cb_host_open(d);
    } else if (!strcmp(name, "cuda")) {
        status = open_cuda(d, 0);
    } else if (!strncmp(name, "cuda:", 5)) {
        char *end;
        long index = strtol(name + 5, &end, 10);
        if (!name[5] || *end || index < 0 || index > 4095)
            status = cb_error("device '%s': cuda:N with N from 0 is meant", name);
        else
            status = open_cuda(d, (int)index);
    } else {
        status = cb_error("device '%s' is none of auto, host, cuda, cuda:N", name);
    }
    if (status) {
        free(d);
        return -1;
    }
    *out = d;
    return 0;
}

void cb_device_close(struct cb_device *d)
{
    if (!d)
        return;
    for (int i = 0; i < d->count; i++)
        d->backend->give(d, d->list[i].base);
    d->backend->close(d);
    free(d->list);
    free(d);
}

const struct cb_device_info *cb_device_info(const struct cb_device *d)
{
    return &d->info;
}

op_stream cb_device_stream(const struct cb_device *d)
{
    return d->stream;
}

/* ---- memory ---- */

static size_t padded(size_t bytes)
{
    return (bytes + 255) / 256 * 256;
}

static int guard_write(struct cb_device *d, const struct allocation *a)
{
    char *end = a->base + GUARD_BYTES + a->bytes;
    size_t tail = padded(a->bytes) - a->bytes + GUARD_BYTES;
    if (d->backend->fill(d, a->base, GUARD_BYTE, GUARD_BYTES))
        return -1;
    return d->backend->fill(d, end, GUARD_BYTE, tail);
}

int cb_alloc(struct cb_device *d, size_t bytes, void **out)
{
    struct allocation a = { .bytes = bytes };
    void *base;
    *out = NULL;
    if (d->count == d->room) {
        int room = d->room ? 2 * d->room : 64;
        struct allocation *more = realloc(d->list, (size_t)room * sizeof *more);
        if (!more)
            return cb_error("no memory for the list of allocations");
        d->list = more;
        d->room = room;
    }
    if (d->backend->take(d, padded(bytes) + 2 * GUARD_BYTES, &base))
        return -1;
    a.base = base;
    if (guard_write(d, &a)) {
        d->backend->give(d, base);
        return -1;
    }
    d->list[d->count++] = a;
    *out = a.base + GUARD_BYTES;
    return 0;
}

void cb_free(struct cb_device *d, void *p)
{
    if (!p)
        return;
    for (int i = d->count - 1; i >= 0; i--)
        if (d->list[i].base + GUARD_BYTES == (char *)p) {
            d->backend->give(d, d->list[i].base);
            d->list[i] = d->list[--d->count];
            return;
        }
}

/* Two zones per allocation; the second starts right behind the caller's last
 * byte, so that one element too far is seen whatever the padding. */
static char *zone_of(const struct cb_device *d, int i)
{
    const struct allocation *a = &d->list[i / 2];
    return i % 2 ? a->base + GUARD_BYTES + a->bytes : a->base;
}

int cb_guards_check(struct cb_device *d)
{
    int zones = 2 * d->count, broken = -1;
    char **zone = malloc((size_t)(zones ? zones : 1) * sizeof *zone);
    if (!zone)
        return cb_error("no memory to check guard zones");
    for (int i = 0; i < zones; i++)
        zone[i] = zone_of(d, i);
    int status = d->backend->guards(d, zone, zones, &broken);
    free(zone);
    if (status)
        return -1;
    if (broken >= 0)
        return cb_error("out_of_bounds: memory %s an allocation of %zu bytes was written",
                        broken % 2 ? "after" : "before", d->list[broken / 2].bytes);
    return 0;
}

int cb_guards_mend(struct cb_device *d)
{
    for (int i = 0; i < d->count; i++)
        if (guard_write(d, &d->list[i]))
            return -1;
    return cb_sync(d);
}

/* ---- the rest goes to the backend ---- */

int cb_upload(struct cb_device *d, void *to, const void *from, size_t bytes)
{
    return d->backend->copy_in(d, to, from, bytes);
}

int cb_download(struct cb_device *d, void *to, const void *from, size_t bytes)
{
    return d->backend->copy_out(d, to, from, bytes);
}

int cb_copy(struct cb_device *d, void *to, const void *from, size_t bytes)
{
    return d->backend->copy(d, to, from, bytes);
}

int cb_fill(struct cb_device *d, void *p, unsigned char byte, size_t bytes)
{
    return d->backend->fill(d, p, byte, bytes);
}

int cb_memory_free(struct cb_device *d, size_t *bytes)
{
    return d->backend->memory_free(d, bytes);
}

int cb_sync(struct cb_device *d)
{
    return d->backend->sync(d);
}

int cb_random(struct cb_device *d, void *p, enum cb_dtype t, enum cb_dist dist, uint64_t seed,
              uint32_t tensor, uint32_t stream, long rows, long cols, bool transposed)
{
    return d->backend->random(d, p, t, dist, seed, tensor, stream, rows, cols, transposed);
}

int cb_compare(struct cb_device *d, const struct cb_view *got, const double *want,
               const float *bound, struct cb_accuracy *out)
{
    *out = (struct cb_accuracy){ .worst = -1 };
    if (d->backend->compare(d, got, want, bound, out))
        return -1;
    cb_accuracy_finish(out);
    return 0;
}

int cb_same(struct cb_device *d, const void *a, const void *b, size_t bytes, bool *same)
{
    return d->backend->same(d, a, b, bytes, same);
}

int cb_window(struct cb_device *d, cb_enqueue_fn *work, void *arg, int first, int count, bool gate,
              struct cb_window *out)
{
    return d->backend->window(d, work, arg, first, count, gate && count <= CB_GATE_MAX, out);
}

int cb_graph_make(struct cb_device *d, cb_enqueue_fn *work, void *arg, int count,
                  struct cb_graph **out)
{
    return d->backend->graph_make(d, work, arg, count, out);
}

int cb_graph_window(struct cb_device *d, struct cb_graph *g, bool gate, struct cb_window *out)
{
    return d->backend->graph_window(d, g, gate, out);
}

int cb_graph_launch(struct cb_device *d, struct cb_graph *g)
{
    return d->backend->graph_launch(d, g);
}

int cb_graph_nodes(struct cb_device *d, struct cb_graph *g)
{
    return d->backend->graph_nodes(d, g);
}

void cb_graph_free(struct cb_device *d, struct cb_graph *g)
{
    if (g)
        d->backend->graph_free(d, g);
}

int cb_null(struct cb_device *d)
{
    return d->backend->null(d);
}

int cb_mark(struct cb_device *d, int n)
{
    return d->backend->mark ? d->backend->mark(d, n) : 0;
}

int cb_profile(struct cb_device *d, bool on)
{
    return d->backend->profile ? d->backend->profile(d, on) : 0;
}

int cb_spin(struct cb_device *d, double us)
{
    return d->backend->spin(d, us);
}

int cb_flush(struct cb_device *d)
{
    return d->backend->flush(d);
}

int cb_reset_l2(struct cb_device *d)
{
    return d->backend->reset_l2(d);
}

int cb_timer_tick_ns(struct cb_device *d, double *ns)
{
    return d->backend->tick(d, ns);
}

int cb_ceilings(struct cb_device *d, struct cb_ceiling *out)
{
    return d->backend->ceilings(d, out);
}

void cb_slug(const char *name, char *slug, size_t size)
{
    size_t n = 0;
    if (!strncmp(name, "NVIDIA ", 7))
        name += 7;
    for (; *name && n + 1 < size; name++) {
        if (isdigit((unsigned char)*name) && strstr(name, "GB") && (n == 0 || slug[n - 1] == '-')) {
            const char *end = name;
            while (isdigit((unsigned char)*end))
                end++;
            if (!strncmp(end, "GB", 2)) {
                name = end + 1;
                continue;
            }
        }
        if (isalnum((unsigned char)*name))
            slug[n++] = (char)tolower((unsigned char)*name);
        else if (n && slug[n - 1] != '-')
            slug[n++] = '-';
    }
    while (n && slug[n - 1] == '-')
        n--;
    slug[n] = 0;
}
