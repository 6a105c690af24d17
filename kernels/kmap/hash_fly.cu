/*
 * hash_fly.cu - the published builder: a hash table for each map, made on the fly.
 *
 * Follows TorchSparse++ (arXiv 2311.12862) as released:
 *   - key ((b Dx + x) Dy + y) Dz + z, plus 1 so that 0 is empty; 64-bit keys, 32-bit values;
 *     linear probing in max(512, 2 n) places; hash a Murmur3 finaliser, modulo the places
 *   - equal inputs and outputs: a thread per voxel and offset of the first half; a hit writes both
 *     the entry and its mirror; the centre column is the row itself
 *   - strided: a thread per input and tap emits candidate outputs through an atomic counter; their
 *     number goes to the host; device-wide sort and unique; the number of outputs goes to the host;
 *     a second pass looks every candidate up and writes its entry
 *   - the transpose of a map by scattering its table, as the released code inverts its maps
 * Two synchronisations with the host for every strided map: the run cannot be captured.  Masks are
 * not made here; sorting makes them.
 */
#include <stdlib.h>

#include "rows.cuh"

typedef unsigned long long hash_key;

struct Hash {
    hash_key *key;
    int32_t *value;
    int places;
};

/* A map's geometry. */
struct Fly {
    kmap_shape shape;
    int out[3], taps, x_fastest;
};

struct FlyState {
    Hash hash;
    int places_max, candidates_max;
    uint64_t *candidate, *sorted;
    int32_t *counter; /* on the device */
    void *temp;
    size_t temp_bytes;
};

static __device__ __forceinline__ hash_key key_of(const int size[3], int b, int x, int y, int z)
{
    return (((hash_key)b * size[0] + x) * size[1] + y) * size[2] + z + 1;
}

static __device__ __forceinline__ int place_of(hash_key k, int places)
{
    k ^= k >> 16;
    k *= 0x85ebca6bull;
    k ^= k >> 13;
    k *= 0xc2b2ae35ull;
    k ^= k >> 16;
    return (int)(k % (hash_key)places);
}

static __device__ void insert(const Hash &h, hash_key k, int value)
{
    for (int at = place_of(k, h.places);; at = at + 1 < h.places ? at + 1 : 0) {
        const hash_key before = atomicCAS(h.key + at, 0ull, k);
        if (before == 0 || before == k) {
            h.value[at] = value;
            return;
        }
    }
}

static __device__ int look_up(const Hash &h, hash_key k)
{
    for (int at = place_of(k, h.places);; at = at + 1 < h.places ? at + 1 : 0) {
        const hash_key found = h.key[at];
        if (found == k)
            return h.value[at];
        if (!found)
            return -1;
    }
}

static __device__ __forceinline__ void tap_at(const Fly &f, int d, int t[3])
{
    const int *k = f.shape.kernel;
    t[1] = d / (f.x_fastest ? k[0] : k[2]) % k[1];
    t[0] = f.x_fastest ? d % k[0] : d / (k[1] * k[2]);
    t[2] = f.x_fastest ? d / (k[0] * k[1]) : d % k[2];
}

/* ---- equal inputs and outputs ---- */

static __global__ void hash_insert(Hash h, Fly f, const kmap_coord *in, int n)
{
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n)
        insert(h, key_of(f.shape.size, in[i].b, in[i].x, in[i].y, in[i].z), i);
}

static __global__ void hash_probe(Hash h, Fly f, const kmap_coord *in, int n, int32_t *table)
{
    const int half = f.taps / 2, d = blockIdx.y, i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n)
        return;
    if (d == half) {
        table[(size_t)i * f.taps + half] = i;
        return;
    }
    int t[3];
    tap_at(f, d, t);
    const kmap_coord c = in[i];
    const int x = c.x + t[0] - f.shape.pad[0], y = c.y + t[1] - f.shape.pad[1],
              z = c.z + t[2] - f.shape.pad[2];
    if (x < 0 || x >= f.shape.size[0] || y < 0 || y >= f.shape.size[1] || z < 0 ||
        z >= f.shape.size[2])
        return;
    const int j = look_up(h, key_of(f.shape.size, c.b, x, y, z));
    if (j < 0)
        return;
    table[(size_t)i * f.taps + d] = j;
    table[(size_t)j * f.taps + f.taps - 1 - d] = i;
}

/* ---- strided ---- */

/* The output that an input meets at a tap; false: none.  KMAP_FLOOR's outputs come from their own
 * rule (tap -1), its entries from the taps. */
static __device__ bool output_at(const Fly &f, const kmap_coord &c, int d, int q[3])
{
    const int p[3] = { c.x, c.y, c.z };
    int t[3] = { 0, 0, 0 };
    if (d >= 0)
        tap_at(f, d, t);
    for (int a = 0; a < 3; a++) {
        const int far = d < 0 ? p[a] : p[a] + f.shape.pad[a] - t[a];
        q[a] = far / f.shape.stride[a];
        if (far < 0 || (d >= 0 && far % f.shape.stride[a]) || q[a] >= f.out[a])
            return false;
    }
    return true;
}

static __global__ void hash_candidates(Fly f, const kmap_coord *in, int n, int taps,
                                       uint64_t *candidate, int room, int32_t *counter)
{
    const long long e = (long long)blockIdx.x * blockDim.x + threadIdx.x;
    if (e >= (long long)n * taps)
        return;
    int q[3];
    const kmap_coord c = in[e / taps];
    if (!output_at(f, c, f.shape.rule == KMAP_FLOOR ? -1 : (int)(e % taps), q))
        return;
    const int at = atomicAdd(counter, 1);
    if (at < room)
        candidate[at] = key_of(f.out, c.b, q[0], q[1], q[2]);
}

static __global__ void hash_outputs(Hash h, Fly f, const uint64_t *key, int n, kmap_coord *coord)
{
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n)
        return;
    uint64_t k = key[i] - 1;
    insert(h, key[i], i);
    kmap_coord c;
    c.z = (int)(k % f.out[2]), k /= f.out[2];
    c.y = (int)(k % f.out[1]), k /= f.out[1];
    c.x = (int)(k % f.out[0]), c.b = (int)(k / f.out[0]);
    coord[i] = c;
}

static __global__ void hash_entries(Hash h, Fly f, const kmap_coord *in, int n, int32_t *table)
{
    const long long e = (long long)blockIdx.x * blockDim.x + threadIdx.x;
    if (e >= (long long)n * f.taps)
        return;
    int q[3];
    const int i = (int)(e / f.taps), d = (int)(e % f.taps);
    const kmap_coord c = in[i];
    if (!output_at(f, c, d, q))
        return;
    const int k = look_up(h, key_of(f.out, c.b, q[0], q[1], q[2]));
    if (k >= 0)
        table[(size_t)k * f.taps + d] = i;
}

static __global__ void hash_transpose(const int32_t *table, int rows, int taps, int32_t *to)
{
    const long long e = (long long)blockIdx.x * blockDim.x + threadIdx.x;
    if (e >= (long long)rows * taps)
        return;
    const int j = table[e];
    if (j >= 0)
        to[(size_t)j * taps + e % taps] = (int)(e / taps);
}

static __global__ void hash_first(const kmap_coord *in, int n, kmap_coord *coord, int32_t *source)
{
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n)
        return;
    coord[i] = in[i];
    source[i] = i;
}

/* ---- host ---- */

/* At least one: a map may have no outputs. */
static int blocks_of(long long threads)
{
    return threads > 256 ? (int)((threads + 255) / 256) : 1;
}

static bool clear_hash(FlyState *x, int n, op_stream s)
{
    x->hash.places = 2 * n > 512 ? 2 * n : 512;
    return cudaMemsetAsync(x->hash.key, 0, (size_t)x->hash.places * sizeof(hash_key), s) ==
           cudaSuccess;
}

static bool clear_table(int32_t *table, int rows, int taps, op_stream s)
{
    const size_t bytes = (size_t)kmap_padded(rows) * taps * sizeof *table;
    return cudaMemsetAsync(table, 0xff, bytes, s) == cudaSuccess;
}

/* A number from the device: one of the published round trips. */
static bool fetch(const int32_t *from, int *to, op_stream s)
{
    int32_t v = 0;
    if (cudaMemcpyAsync(&v, from, sizeof v, cudaMemcpyDeviceToHost, s) != cudaSuccess ||
        cudaStreamSynchronize(s) != cudaSuccess)
        return false;
    *to = v;
    return true;
}

static enum op_status build_same(FlyState *x, const Fly &f, const kmap_coord *in, int n,
                                 int32_t *table, op_stream s)
{
    if (!clear_hash(x, n, s) || !clear_table(table, n, f.taps, s))
        return OP_EDEVICE;
    hash_insert<<<blocks_of(n), 256, 0, s>>>(x->hash, f, in, n);
    hash_probe<<<dim3(blocks_of(n), f.taps / 2 + 1), 256, 0, s>>>(x->hash, f, in, n, table);
    return launched();
}

static enum op_status build_strided(FlyState *x, const Fly &f, const kmap_coord *in, int n, int cap,
                                    kmap_coord *coord, int32_t *count, int *n_out, int32_t *table,
                                    op_stream s)
{
    const int emit = f.shape.rule == KMAP_FLOOR ? 1 : f.taps;
    int found, bits = kmap_bits((double)f.shape.batch * f.out[0] * f.out[1] * f.out[2] + 1);
    if (cudaMemsetAsync(x->counter, 0, sizeof(int32_t), s) != cudaSuccess)
        return OP_EDEVICE;
    hash_candidates<<<blocks_of((long long)n * emit), 256, 0, s>>>(
        f, in, n, emit, x->candidate, x->candidates_max, x->counter);
    if (!fetch(x->counter, &found, s))
        return OP_EDEVICE;
    if (found > x->candidates_max)
        return OP_ENOMEM;
    if (!found) { /* no input meets an output */
        *n_out = 0;
        return cudaMemsetAsync(count, 0, sizeof *count, s) == cudaSuccess ? OP_OK : OP_EDEVICE;
    }
    enum op_status status =
        kmap_sort_keys(x->temp, x->temp_bytes, x->candidate, x->sorted, found, bits, s);
    if (!status)
        status = kmap_unique(x->temp, x->temp_bytes, x->sorted, x->candidate, count, found, s);
    if (status || !fetch(count, n_out, s))
        return status ? status : OP_EDEVICE;
    if (*n_out > cap || !clear_hash(x, *n_out, s) || !clear_table(table, *n_out, f.taps, s))
        return *n_out > cap ? OP_ENOMEM : OP_EDEVICE;
    hash_outputs<<<blocks_of(*n_out), 256, 0, s>>>(x->hash, f, x->candidate, *n_out, coord);
    hash_entries<<<blocks_of((long long)n * f.taps), 256, 0, s>>>(x->hash, f, in, n, table);
    return launched();
}

static Fly geometry(const kmap_shape *s)
{
    Fly f = {};
    f.shape = *s;
    f.taps = kmap_taps(s);
    f.x_fastest = s->kernel[0] & s->kernel[1] & s->kernel[2] & 1;
    kmap_out_size(s, f.out);
    return f;
}

static int source_step(const struct kmap_plan *p, const kmap_step *t)
{
    int i = 0;
    while (p->step[i].transpose || p->step[i].from != t->from || p->step[i].to != t->to)
        i++;
    return i;
}

OP_BEGIN

enum op_status kmap_hash_fly_setup(const struct kmap_plan *p, const struct op_memory *m, void **out)
{
    FlyState *x = (FlyState *)calloc(1, sizeof *x);
    int most = 0, candidates = 0;
    *out = NULL;
    if (!x)
        return OP_ENOMEM;
    for (int l = 0; l < p->levels; l++)
        most = p->cap[l] > most ? p->cap[l] : most;
    for (int i = 0; i < p->steps; i++) /* up to 8 outputs of a 3 x 3 x 3 an input, 27 at worst */
        if (p->step[i].from != p->step[i].to) {
            const int n = 8 * p->cap[p->step[i].from];
            candidates = n > candidates ? n : candidates;
        }
    x->places_max = 2 * most > 512 ? 2 * most : 512;
    x->candidates_max = candidates;
    x->temp_bytes = kmap_sort_bytes(candidates + 1);
    x->hash.key = (hash_key *)m->take(m->context, (size_t)x->places_max * sizeof(hash_key));
    x->hash.value = (int32_t *)m->take(m->context, (size_t)x->places_max * sizeof(int32_t));
    x->candidate = (uint64_t *)m->take(m->context, ((size_t)candidates + 1) * sizeof(uint64_t));
    x->sorted = (uint64_t *)m->take(m->context, ((size_t)candidates + 1) * sizeof(uint64_t));
    x->counter = (int32_t *)m->take(m->context, sizeof(int32_t));
    x->temp = m->take(m->context, x->temp_bytes + 1);
    if (!x->hash.key || !x->hash.value || !x->candidate || !x->sorted || !x->counter || !x->temp) {
        free(x);
        return OP_ENOMEM;
    }
    *out = x;
    return OP_OK;
}

enum op_status kmap_hash_fly(const struct kmap_plan *p, const struct kmap_args *a, void *state,
                             op_stream s)
{
    FlyState *x = (FlyState *)state;
    int n[KMAP_LEVELS_MAX] = { p->n_in };
    enum op_status status = OP_OK;
    hash_first<<<blocks_of(p->n_in), 256, 0, s>>>(a->in, p->n_in, a->coord[0], a->source);
    if (cudaMemcpyAsync(a->count, &p->n_in, sizeof p->n_in, cudaMemcpyHostToDevice, s) !=
        cudaSuccess)
        return OP_EDEVICE;
    for (int i = 0; !status && i < p->steps; i++) {
        const kmap_step *t = &p->step[i];
        const Fly f = geometry(&t->shape);
        const kmap_coord *in = a->coord[t->from];
        if (t->transpose) {
            if (!clear_table(a->table[i], n[t->from], f.taps, s))
                return OP_EDEVICE;
            hash_transpose<<<blocks_of((long long)n[t->to] * f.taps), 256, 0, s>>>(
                a->table[source_step(p, t)], n[t->to], f.taps, a->table[i]);
            status = launched();
        } else if (t->from == t->to) {
            status = build_same(x, f, in, n[t->from], a->table[i], s);
        } else {
            status = build_strided(x, f, in, n[t->from], p->cap[t->to], a->coord[t->to],
                                   a->count + t->to, &n[t->to], a->table[i], s);
        }
    }
    return status;
}

OP_END
