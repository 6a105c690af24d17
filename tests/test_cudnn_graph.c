/*
 * test_cudnn_graph.c - convolutions as graphs of cuDNN, on a library made here: it keeps what is
 * set, refuses what is not finished, and computes what the descriptors say on the host.  So the
 * order of calls, sizes, strides and the chain of operations are checked without a GPU.  Where
 * cuDNN is installed, it also has to plan the detectors' layers for an H200 that is not here.
 */
#include <stdint.h>

#include "../baselines/cudnn_graph.h"
#include "../kernels/bev/bev.h"
#include "test.h"

/* ---- a library ---- */

enum { ATTRIBUTES = 12, BYTES = 64 };

struct made {
    int kind, finished, attributes, results;
    struct {
        int name, type;
        int64_t count;
        unsigned char value[BYTES];
    } attribute[ATTRIBUTES];
};

static struct {
    int live;        /* descriptors */
    int refuse_kind; /* whose finish fails; -1: none */
    int guesses;     /* of mode A */
    int64_t bytes[4]; /* workspace of its plans */
    int guess, runs;
} fake;

static int size_of(int type)
{
    switch (type) {
    case CUDNN_OF_BOOLEAN: return 1;
    case CUDNN_OF_HANDLE: case CUDNN_OF_POINTER: case CUDNN_OF_DESCRIPTOR: case CUDNN_OF_INT64:
        return 8;
    default: return 4;
    }
}

static const void *value_of(const struct made *d, int name)
{
    for (int i = 0; d && i < d->attributes; i++)
        if (d->attribute[i].name == name)
            return d->attribute[i].value;
    return NULL;
}

static int64_t count_of(const struct made *d, int name)
{
    for (int i = 0; i < d->attributes; i++)
        if (d->attribute[i].name == name)
            return d->attribute[i].count;
    return 0;
}

static int int_of(const struct made *d, int name)
{
    int v = -1;
    const void *p = value_of(d, name);
    if (p)
        memcpy(&v, p, sizeof v);
    return v;
}

static int64_t long_of(const struct made *d, int name, int at)
{
    int64_t v = -1;
    const unsigned char *p = value_of(d, name);
    if (p)
        memcpy(&v, p + 8 * at, sizeof v);
    return v;
}

static struct made *part_of(const struct made *d, int name, int at)
{
    struct made *v = NULL;
    const unsigned char *p = value_of(d, name);
    if (p)
        memcpy(&v, p + 8 * at, sizeof v);
    return v;
}

static int fake_create(int kind, void **out)
{
    struct made *d = calloc(1, sizeof *d);
    *out = d;
    if (!d)
        return 1;
    d->kind = kind;
    fake.live++;
    return 0;
}

static int fake_destroy(void *d)
{
    fake.live -= d != NULL;
    free(d);
    return 0;
}

static int fake_set(void *descriptor, int name, int type, int64_t count, const void *values)
{
    struct made *d = descriptor;
    if (!d || d->finished || d->attributes == ATTRIBUTES || count * size_of(type) > BYTES ||
        value_of(d, name))
        return 2;
    if (type == CUDNN_OF_DESCRIPTOR)
        for (int i = 0; i < count; i++) { /* parts are finished first */
            const struct made *part = ((void *const *)values)[i];
            if (!part || !part->finished)
                return 3;
        }
    d->attribute[d->attributes].name = name;
    d->attribute[d->attributes].type = type;
    d->attribute[d->attributes].count = count;
    memcpy(d->attribute[d->attributes++].value, values, (size_t)(count * size_of(type)));
    return 0;
}

/* What a kind needs. */
static int complete(const struct made *d)
{
    static const struct {
        int kind, name[8];
    } needs[] = {
        { CUDNN_KIND_TENSOR, { CUDNN_AT_TENSOR_ID, CUDNN_AT_TENSOR_TYPE, CUDNN_AT_TENSOR_SIZES,
                               CUDNN_AT_TENSOR_STRIDES, CUDNN_AT_TENSOR_ALIGNMENT,
                               CUDNN_AT_TENSOR_VIRTUAL } },
        { CUDNN_KIND_CONVOLUTION, { CUDNN_AT_CONV_DIMENSIONS, CUDNN_AT_CONV_PRECISION,
                                    CUDNN_AT_CONV_MODE, CUDNN_AT_CONV_PAD_BEFORE,
                                    CUDNN_AT_CONV_PAD_AFTER, CUDNN_AT_CONV_STRIDE,
                                    CUDNN_AT_CONV_DILATION } },
        { CUDNN_KIND_OP_CONVOLUTION, { CUDNN_AT_OP_CONV_ALPHA, CUDNN_AT_OP_CONV_BETA,
                                       CUDNN_AT_OP_CONV_DESCRIPTION, CUDNN_AT_OP_CONV_X,
                                       CUDNN_AT_OP_CONV_W, CUDNN_AT_OP_CONV_Y } },
        { CUDNN_KIND_OP_POINTWISE, { CUDNN_AT_OP_POINTWISE_DESCRIPTION, CUDNN_AT_OP_POINTWISE_X,
                                     CUDNN_AT_OP_POINTWISE_Y } },
        { CUDNN_KIND_GRAPH, { CUDNN_AT_GRAPH_HANDLE, CUDNN_AT_GRAPH_OPS } },
        { CUDNN_KIND_HEURISTICS, { CUDNN_AT_HEURISTICS_GRAPH } },
        { CUDNN_KIND_PLAN, { CUDNN_AT_PLAN_CONFIG, CUDNN_AT_PLAN_HANDLE } },
        { CUDNN_KIND_OPERANDS, { CUDNN_AT_OPERANDS_IDS, CUDNN_AT_OPERANDS_POINTERS,
                                 CUDNN_AT_OPERANDS_WORKSPACE } },
    };
    for (size_t i = 0; i < sizeof needs / sizeof *needs; i++)
        for (int k = 0; needs[i].kind == d->kind && k < 8 && (k == 0 || needs[i].name[k]); k++)
            if (!value_of(d, needs[i].name[k]))
                return 0;
    return 1;
}

static int fake_finish(void *descriptor)
{
    struct made *d = descriptor;
    if (!d || d->finished || d->kind == fake.refuse_kind || !complete(d))
        return 4;
    d->finished = 1;
    return 0;
}

static int fake_get(const void *descriptor, int name, int type, int64_t room, int64_t *count,
                    void *values)
{
    const struct made *d = descriptor;
    *count = 0;
    if (!d->finished)
        return 5;
    if (d->kind == CUDNN_KIND_HEURISTICS && name == CUDNN_AT_HEURISTICS_RESULTS &&
        type == CUDNN_OF_DESCRIPTOR) {
        const int mode = int_of(d, CUDNN_AT_HEURISTICS_MODE);
        *count = mode == CUDNN_GUESS_A ? fake.guesses : mode == CUDNN_GUESS_FALLBACK;
        if (*count > room)
            *count = room;
        for (int i = 0; i < *count; i++) {
            struct made *config = ((void **)values)[i];
            config->finished = 1;
            config->attribute[0].name = CUDNN_AT_HEURISTICS_GRAPH; /* kept for the run */
            config->attributes = 1;
            struct made *graph = part_of(d, CUDNN_AT_HEURISTICS_GRAPH, 0);
            memcpy(config->attribute[0].value, &graph, sizeof graph);
            config->results = mode == CUDNN_GUESS_A ? i : 3;
        }
        return 0;
    }
    if (d->kind == CUDNN_KIND_PLAN && name == CUDNN_AT_PLAN_WORKSPACE && type == CUDNN_OF_INT64) {
        const struct made *config = part_of(d, CUDNN_AT_PLAN_CONFIG, 0);
        *count = 1;
        *(int64_t *)values = fake.bytes[config->results];
        return 0;
    }
    return 6;
}

/* ---- its convolution ---- */

static float *memory[8]; /* of tensors by id, as float; virtual ones made when written */

static float round_half(float v)
{
    return half_to_float(half_from_float(v));
}

static size_t at_of(const struct made *t, int64_t c, int64_t y, int64_t x)
{
    return (size_t)(c * long_of(t, CUDNN_AT_TENSOR_STRIDES, 1) +
                    y * long_of(t, CUDNN_AT_TENSOR_STRIDES, 2) +
                    x * long_of(t, CUDNN_AT_TENSOR_STRIDES, 3));
}

static float read_at(const struct made *t, void *const pointer[8], int64_t n, int64_t c, int64_t y,
                     int64_t x)
{
    const int64_t id = long_of(t, CUDNN_AT_TENSOR_ID, 0);
    const size_t at = (size_t)(n * long_of(t, CUDNN_AT_TENSOR_STRIDES, 0)) + at_of(t, c, y, x);
    return *(const unsigned char *)value_of(t, CUDNN_AT_TENSOR_VIRTUAL)
               ? memory[id][at]
               : half_to_float(((const half_bits *)pointer[id])[at]);
}

static void write_at(const struct made *t, void *const pointer[8], int64_t c, int64_t y, int64_t x,
                     float v)
{
    const int64_t id = long_of(t, CUDNN_AT_TENSOR_ID, 0);
    if (*(const unsigned char *)value_of(t, CUDNN_AT_TENSOR_VIRTUAL)) {
        if (!memory[id])
            memory[id] = calloc((size_t)long_of(t, CUDNN_AT_TENSOR_STRIDES, 0), sizeof(float));
        memory[id][at_of(t, c, y, x)] = v;
    } else {
        ((half_bits *)pointer[id])[at_of(t, c, y, x)] = half_from_float(v);
    }
}

static float conv_at(const struct made *op, void *const pointer[8], int64_t row, int64_t y,
                     int64_t x)
{
    const struct made *how = part_of(op, CUDNN_AT_OP_CONV_DESCRIPTION, 0);
    const struct made *from = part_of(op, CUDNN_AT_OP_CONV_X, 0);
    const struct made *w = part_of(op, CUDNN_AT_OP_CONV_W, 0);
    const int64_t high = long_of(from, CUDNN_AT_TENSOR_SIZES, 2);
    const int64_t wide = long_of(from, CUDNN_AT_TENSOR_SIZES, 3);
    const int64_t own = long_of(w, CUDNN_AT_TENSOR_SIZES, 1); /* fewer than all: groups */
    const int64_t groups = long_of(from, CUDNN_AT_TENSOR_SIZES, 1) / own;
    const int64_t first = row / (long_of(w, CUDNN_AT_TENSOR_SIZES, 0) / groups) * own;
    float sum = 0;
    for (int64_t c = 0; c < own; c++)
        for (int64_t dy = 0; dy < long_of(w, CUDNN_AT_TENSOR_SIZES, 2); dy++)
            for (int64_t dx = 0; dx < long_of(w, CUDNN_AT_TENSOR_SIZES, 3); dx++) {
                const int64_t iy = y * long_of(how, CUDNN_AT_CONV_STRIDE, 0) + dy -
                                   long_of(how, CUDNN_AT_CONV_PAD_BEFORE, 0);
                const int64_t ix = x * long_of(how, CUDNN_AT_CONV_STRIDE, 1) + dx -
                                   long_of(how, CUDNN_AT_CONV_PAD_BEFORE, 1);
                if (iy >= 0 && ix >= 0 && iy < high && ix < wide)
                    sum += read_at(from, pointer, 0, first + c, iy, ix) *
                           read_at(w, pointer, row, c, dy, dx);
            }
    return sum;
}

static void run_op(const struct made *op, void *const pointer[8])
{
    const int conv = op->kind == CUDNN_KIND_OP_CONVOLUTION;
    const struct made *y = part_of(op, conv ? CUDNN_AT_OP_CONV_Y : CUDNN_AT_OP_POINTWISE_Y, 0);
    const struct made *a = conv ? NULL : part_of(op, CUDNN_AT_OP_POINTWISE_X, 0);
    const struct made *b = conv ? NULL : part_of(op, CUDNN_AT_OP_POINTWISE_B, 0);
    const int relu = !conv && int_of(part_of(op, CUDNN_AT_OP_POINTWISE_DESCRIPTION, 0),
                                     CUDNN_AT_POINTWISE_MODE) == CUDNN_RELU;
    const int wide = b && long_of(b, CUDNN_AT_TENSOR_SIZES, 2) > 1; /* else one a channel */
    for (int64_t c = 0; c < long_of(y, CUDNN_AT_TENSOR_SIZES, 1); c++)
        for (int64_t r = 0; r < long_of(y, CUDNN_AT_TENSOR_SIZES, 2); r++)
            for (int64_t x = 0; x < long_of(y, CUDNN_AT_TENSOR_SIZES, 3); x++) {
                float v = conv ? conv_at(op, pointer, c, r, x) : read_at(a, pointer, 0, c, r, x);
                if (b)
                    v += read_at(b, pointer, 0, c, wide ? r : 0, wide ? x : 0);
                write_at(y, pointer, c, r, x, relu && v < 0 ? 0 : v);
            }
}

static int fake_execute(void *handle, void *plan, void *operands)
{
    const struct made *p = plan, *o = operands;
    void *pointer[8] = { NULL };
    if (handle != &fake || !p->finished || !o->finished || count_of(o, CUDNN_AT_OPERANDS_IDS) != 4)
        return 7;
    for (int i = 0; i < 4; i++) {
        const int64_t id = long_of(o, CUDNN_AT_OPERANDS_IDS, i);
        if (id < 1 || id > 7 || pointer[id])
            return 8;
        pointer[id] = part_of(o, CUDNN_AT_OPERANDS_POINTERS, i);
    }
    const struct made *config = part_of(p, CUDNN_AT_PLAN_CONFIG, 0);
    const struct made *graph = part_of(config, CUDNN_AT_HEURISTICS_GRAPH, 0);
    for (int i = 0; i < count_of(graph, CUDNN_AT_GRAPH_OPS); i++)
        run_op(part_of(graph, CUDNN_AT_GRAPH_OPS, i), pointer);
    for (int i = 0; i < 8; i++) {
        free(memory[i]);
        memory[i] = NULL;
    }
    fake.guess = config->results;
    fake.runs++;
    return 0;
}

static const struct cudnn_library library = {
    .BackendCreateDescriptor = fake_create, .BackendDestroyDescriptor = fake_destroy,
    .BackendSetAttribute = fake_set, .BackendGetAttribute = fake_get,
    .BackendFinalize = fake_finish, .BackendExecute = fake_execute,
};
static const struct cudnn_place place = { &library, &fake, NULL, 0 };

static void reset(void)
{
    fake.refuse_kind = -1;
    fake.guesses = 3;
    fake.runs = 0;
    fake.guess = -1;
    for (int i = 0; i < 4; i++)
        fake.bytes[i] = 0;
}

/* ---- results ---- */

enum { MOST = 9 * 9 * 16 * 16 };
static half_bits x[MOST], w[MOST], bias[32], y[MOST];

static void draw(half_bits *to, int count, int seed)
{
    for (int i = 0; i < count; i++)
        to[i] = half_from_float((float)((i * 7 + seed * 5 + i * i % 11) % 9 - 4) / 4);
}

static float want_at(const struct cudnn_conv *c, int row, int oy, int ox)
{
    const int own = c->channels / c->groups, first = row / (c->rows / c->groups) * own;
    float sum = 0;
    for (int dy = 0; dy < c->kernel; dy++)
        for (int dx = 0; dx < c->kernel; dx++) {
            const int iy = oy * c->stride + dy - c->kernel / 2;
            const int ix = ox * c->stride + dx - c->kernel / 2;
            for (int k = 0; k < own && iy >= 0 && ix >= 0 && iy < c->side && ix < c->side; k++)
                sum += half_to_float(x[(iy * c->side + ix) * c->channels + first + k]) *
                       half_to_float(w[((row * c->kernel + dy) * c->kernel + dx) * own + k]);
        }
    sum += half_to_float(bias[row]);
    if (c->relu && sum < 0)
        sum = 0;
    return c->residual ? sum + half_to_float(x[(oy * c->side + ox) * c->channels + row]) : sum;
}

static long wrong(const struct cudnn_conv *c)
{
    const int side = c->side / c->stride;
    long bad = 0;
    for (int oy = 0; oy < side; oy++)
        for (int ox = 0; ox < side; ox++)
            for (int r = 0; r < c->rows; r++)
                bad += half_to_float(y[(oy * side + ox) * c->rows + r]) !=
                       round_half(want_at(c, r, oy, ox));
    return bad;
}

static void try_results(void)
{
    static const struct cudnn_conv convs[] = {
        { 8, 4, 6, 3, 1, 1, 0, 1 }, { 8, 4, 4, 3, 1, 1, 1, 1 }, { 8, 4, 6, 3, 2, 1, 0, 1 },
        { 4, 8, 16, 1, 1, 1, 0, 1 }, { 6, 8, 2, 3, 1, 0, 0, 1 }, { 6, 3, 3, 1, 1, 0, 1, 1 },
        { 6, 12, 6, 3, 1, 0, 0, 3 },
    };
    for (size_t i = 0; i < sizeof convs / sizeof *convs; i++) {
        struct cudnn_conv c = convs[i];
        struct cudnn_graph *g = NULL;
        reset();
        draw(x, MOST, 1);
        draw(w, MOST, 2);
        draw(bias, 32, 3);
        memset(y, 0xff, sizeof y);
        CHECK(cudnn_graph_open(&place, &c, 0, 10, &g) == OP_OK && g);
        if (!g)
            continue;
        CHECK(cudnn_graph_plans(g) == 3 && cudnn_graph_tried(g) == 3);
        CHECK(cudnn_graph_run(g, 1, x, w, bias, y, NULL) == OP_OK && fake.guess == 1);
        CHECK(wrong(&c) == 0);
        c.relu = !c.relu; /* another function is noticed */
        CHECK(wrong(&c) > 0);
        c.relu = !c.relu;
        w[(c.rows - 1) * c.kernel * c.kernel * c.channels / c.groups] = half_from_float(2.5f);
        CHECK(wrong(&c) > 0);
        cudnn_graph_keep(g, 2);
        CHECK(cudnn_graph_plans(g) == 1);
        CHECK(cudnn_graph_run(g, 0, x, w, bias, y, NULL) == OP_OK && fake.guess == 2);
        CHECK(wrong(&c) == 0);
        cudnn_graph_close(g);
        CHECK(fake.live == 0);
    }
}

static void try_choices(void)
{
    const struct cudnn_conv c = { 8, 4, 4, 3, 1, 1, 1, 1 };
    struct cudnn_graph *g = NULL;
    reset();
    fake.bytes[0] = 100;
    fake.bytes[2] = 101;
    CHECK(cudnn_graph_open(&place, &c, 100, 10, &g) == OP_OK);
    CHECK(g && cudnn_graph_plans(g) == 2 && cudnn_graph_tried(g) == 3);
    CHECK(g && cudnn_graph_run(g, 1, x, w, bias, y, NULL) == OP_OK && fake.guess == 1);
    cudnn_graph_close(g);
    CHECK(cudnn_graph_open(&place, &c, 1000, 2, &g) == OP_OK && cudnn_graph_plans(g) == 2);
    cudnn_graph_close(g);
    fake.guesses = 0; /* the fallback */
    CHECK(cudnn_graph_open(&place, &c, 0, 10, &g) == OP_OK && cudnn_graph_plans(g) == 1);
    CHECK(cudnn_graph_run(g, 0, x, w, bias, y, NULL) == OP_OK && fake.guess == 3);
    cudnn_graph_close(g);
    fake.bytes[3] = 1;
    CHECK(cudnn_graph_open(&place, &c, 0, 10, &g) == OP_EUNSUPPORTED && !g);
    static const int kinds[] = { CUDNN_KIND_TENSOR, CUDNN_KIND_CONVOLUTION, CUDNN_KIND_POINTWISE,
                                 CUDNN_KIND_OP_CONVOLUTION, CUDNN_KIND_OP_POINTWISE,
                                 CUDNN_KIND_GRAPH, CUDNN_KIND_HEURISTICS, CUDNN_KIND_PLAN };
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        reset();
        fake.refuse_kind = kinds[i];
        CHECK(cudnn_graph_open(&place, &c, 1000, 10, &g) == OP_EUNSUPPORTED && !g);
    }
    reset();
    CHECK(cudnn_graph_open(&place, &c, 0, 10, &g) == OP_OK);
    fake.refuse_kind = CUDNN_KIND_OPERANDS;
    CHECK(g && cudnn_graph_run(g, 0, x, w, bias, y, NULL) == OP_EDEVICE && !fake.runs);
    cudnn_graph_close(g);
    cudnn_graph_close(NULL);
    CHECK(fake.live == 0);
}

/* ---- the library that is installed ---- */

#ifdef __SANITIZE_ADDRESS__
/* What cuBLASLt keeps for cuDNN's engines is not freed with them. */
const char *__lsan_default_suppressions(void);
const char *__lsan_default_suppressions(void)
{
    return "leak:libcublasLt.so\nleak:libcudnn";
}
#endif

/* What cuDNN asks of a device. */
static const char h200[] =
    "{\"deviceName\":\"NVIDIA H200\",\"deviceVer\":900,\"driverVer\":13000,\"cudaDeviceId\":0,"
    "\"multiProcessorCount\":132,\"maxGridSize\":[2147483647,65535,65535],"
    "\"maxBlockSize\":[1024,1024,64],\"regsPerBlock\":65536,\"warpSize\":32,"
    "\"maxSharedMemoryPerBlock\":49152,\"maxSharedMemoryPerBlockOptin\":232448,"
    "\"reservedSharedMemoryPerBlock\":1024,\"maxRegistersPerSM\":65536,\"maxCtasPerSM\":32,"
    "\"maxThreadsPerBlock\":1024,\"maxThreadsPerSM\":2048,\"pciDeviceId\":0,\"isTccDriver\":0,"
    "\"supportCoopLaunch\":1,\"smClockRateKHz\":1980000,\"memClockRateKHz\":3201000,"
    "\"l2CacheSize\":62914560,\"totalGlobalMem\":150000000000}";

/* Every layer has plans with little workspace: cuDNN's own copies of maps are none of ours. */
static void try_layers(const struct cudnn_library *l, void *device, const struct bev_shape *n,
                       int side)
{
    const struct cudnn_place at = { l, NULL, device, 0 };
    for (int i = n->first; i < n->end; i++) {
        const struct bev_layer *b = &bev_layers[i];
        const struct cudnn_conv c = { side / n->map[b->from].scale, b->cin * b->groups, b->rows,
                                      b->kernel, b->stride, b->relu, 0, 1 };
        struct cudnn_graph *g = NULL;
        const enum op_status s = cudnn_graph_open(&at, &c, (size_t)4 << 20, 4, &g);
        CHECK(s == OP_OK && g && cudnn_graph_plans(g) > 1);
        if (s)
            printf("  %s, %s: %s\n", n->name, b->name, op_status_name(s));
        cudnn_graph_close(g);
    }
}

static void try_installed(void)
{
    const char *why;
    const struct cudnn_library *l = cudnn_library(&why);
    void *device = NULL;
    if (!l) {
        printf("SKIP plans of an installed library: %s\n", why);
        test_skipped++;
        return;
    }
    if (l->BackendCreateDescriptor(CUDNN_KIND_DEVICE, &device) ||
        l->BackendSetAttribute(device, CUDNN_AT_DEVICE_JSON, CUDNN_OF_CHAR, sizeof h200 - 1, h200) ||
        l->BackendFinalize(device)) {
        SKIP("plans of the installed library: it does not plan for a device that is not here");
    } else {
        try_layers(l, device, &bev_shapes[BEV_FLATFORMER], 468);
        try_layers(l, device, &bev_shapes[BEV_CENTERPOINT], 188);
    }
    if (device)
        l->BackendDestroyDescriptor(device);
}

int main(void)
{
    try_results();
    try_choices();
    try_installed();
    return TEST_END();
}
