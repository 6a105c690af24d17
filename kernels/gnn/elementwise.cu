/*
 * elementwise.cu - bias and ReLU, their way back, the loss, the new parameters.
 *
 * All are bound by bytes: four neighbouring elements to a thread, and what one
 * pass over a matrix can give is taken with it, so that the gradient of the
 * biases, which is a sum over all nodes, costs no pass of its own.  Such a sum
 * is made in two stages without atomics and is the same in each run:
 *
 *   block 0 .. parts-1   rows block, block + parts, ...      a line of partial [parts][width]
 *   finish               adds the lines of partial
 *
 * A block of 256 threads holds 256 / lanes rows at a time, a lane four columns:
 *
 *   thread   0 .. lanes-1 | lanes .. 2 lanes-1 | ...         lanes = width / 4
 *   row      i            | i + 1              | ...
 *
 * Float for the timed step, double for its reference.
 */
#include "gnn.h"

constexpr int BLOCK = 256;

/* Four neighbours; two loads of 16 bytes where T is double. */
template <class T> struct alignas(16) Four {
    T v[4];
};

template <class T> static __device__ __forceinline__ void add(Four<T> &sum, const Four<T> &x)
{
#pragma unroll
    for (int k = 0; k < 4; k++)
        sum.v[k] += x.v[k];
}

/* ---- y = max(0, y + b) ---- */

template <class T, bool RELU>
static __global__ __launch_bounds__(BLOCK) void add_bias(size_t count, int lanes,
                                                         const Four<T> *__restrict__ b,
                                                         Four<T> *__restrict__ y)
{
    for (size_t i = (size_t)blockIdx.x * BLOCK + threadIdx.x; i < count;
         i += (size_t)gridDim.x * BLOCK) {
        Four<T> x = y[i];
        add(x, b[i % lanes]);
#pragma unroll
        for (int k = 0; k < 4; k++)
            x.v[k] = RELU && x.v[k] < 0 ? 0 : x.v[k]; /* NaN stays */
        y[i] = x;
    }
}

/* ---- sums over the rows of a block ---- */

/* Adds what the threads of each lane hold; the first `lanes` threads write. */
template <class T>
static __device__ void store_part(Four<T> sum, int lanes, int rows, Four<T> *partial)
{
    __shared__ Four<T> held[BLOCK];
    const int lane = threadIdx.x;
    held[threadIdx.x] = sum;
    __syncthreads();
    if (lane >= lanes)
        return;
    for (int r = 1; r < rows; r++)
        add(sum, held[r * lanes + lane]);
    partial[(size_t)blockIdx.x * lanes + lane] = sum;
}

template <class T>
static __global__ __launch_bounds__(BLOCK) void mask_back(int nodes, int lanes,
                                                          const Four<T> *__restrict__ act,
                                                          Four<T> *__restrict__ g,
                                                          Four<T> *__restrict__ partial)
{
    const int rows = BLOCK / lanes, row = threadIdx.x / lanes, lane = threadIdx.x % lanes;
    Four<T> sum = { { 0, 0, 0, 0 } };
    if (row < rows)
#pragma unroll 4
        for (long i = (long)blockIdx.x * rows + row; i < nodes; i += (long)gridDim.x * rows) {
            const size_t at = (size_t)i * lanes + lane;
            const Four<T> a = act[at];
            Four<T> x = g[at];
#pragma unroll
            for (int k = 0; k < 4; k++)
                x.v[k] = a.v[k] > 0 ? x.v[k] : 0;
            g[at] = x;
            add(sum, x);
        }
    store_part(sum, lanes, rows, partial);
}

/* ---- loss ---- */

/* LANES threads, a power of two, hold the scores of a node; those past the last class hold
 * none.  All nodes of a warp stay in step for the shuffles. */
template <class T, int LANES>
static __global__ __launch_bounds__(BLOCK) void cross_entropy(int nodes, int lanes, T scale,
                                                              const int *__restrict__ label,
                                                              const Four<T> *__restrict__ b,
                                                              Four<T> *__restrict__ z,
                                                              Four<T> *__restrict__ partial,
                                                              T *__restrict__ loss)
{
    constexpr int ROWS = BLOCK / LANES;
    __shared__ T losses[BLOCK];
    const int lane = threadIdx.x % LANES, row = threadIdx.x / LANES;
    const bool has = lane < lanes;
    Four<T> bias = { { 0, 0, 0, 0 } }, sum = { { 0, 0, 0, 0 } };
    T lost = 0;
    if (has)
        bias = b[lane];
    for (long i0 = (long)blockIdx.x * ROWS; i0 < nodes; i0 += (long)gridDim.x * ROWS) {
        const long i = i0 + row;
        const bool valid = has && i < nodes;
        const size_t at = (size_t)i * lanes + lane;
        Four<T> x = { { 0, 0, 0, 0 } };
        const int right = i < nodes ? label[i] - 4 * lane : -1; /* 0 .. 3: this lane has it */
        T most = -INFINITY, total = 0;
        if (valid) {
            x = z[at];
            add(x, bias);
#pragma unroll
            for (int k = 0; k < 4; k++)
                most = x.v[k] > most ? x.v[k] : most;
        }
#pragma unroll
        for (int d = LANES / 2; d > 0; d /= 2) {
            const T other = __shfl_xor_sync(0xffffffffu, most, d);
            most = other > most ? other : most;
        }
        if (valid) {
#pragma unroll
            for (int k = 0; k < 4; k++) {
                lost += k == right ? most - x.v[k] : 0;
                x.v[k] = exp(x.v[k] - most);
                total += x.v[k];
            }
        }
#pragma unroll
        for (int d = LANES / 2; d > 0; d /= 2)
            total += __shfl_xor_sync(0xffffffffu, total, d);
        if (!valid)
            continue;
        lost += right >= 0 && right < 4 ? log(total) : 0;
#pragma unroll
        for (int k = 0; k < 4; k++)
            x.v[k] = (x.v[k] / total - (k == right ? 1 : 0)) * scale;
        z[at] = x;
        add(sum, x);
    }
    losses[threadIdx.x] = lost;
    /* lanes without columns hold zeros: a line is LANES wide here and cut when it is stored */
    __shared__ Four<T> held[BLOCK];
    held[threadIdx.x] = sum;
    __syncthreads();
    for (int d = BLOCK / 2; d > 0; d /= 2) {
        if (threadIdx.x < d) {
            losses[threadIdx.x] += losses[threadIdx.x + d];
            if (d >= LANES)
                add(held[threadIdx.x], held[threadIdx.x + d]);
        }
        __syncthreads();
    }
    if (threadIdx.x < lanes)
        partial[(size_t)blockIdx.x * lanes + threadIdx.x] = held[threadIdx.x];
    if (threadIdx.x == 0)
        loss[blockIdx.x] = losses[0];
}

/* ---- gradients of the biases, the loss, new parameters ---- */

constexpr int COLUMNS = 32, SLICES = BLOCK / COLUMNS;

/* Where the layer of a bias begins, counted in biases. */
struct Biases {
    int layers, first[GNN_LAYERS_MAX + 1];
};

/* Blocks below weight_blocks: w' = w - rate * g.  Those after: 32 biases each, eight slices of
 * the parts, added in order.  The last one: the loss. */
template <class T>
static __global__ __launch_bounds__(BLOCK) void new_parameters(
    long weights, Biases biases, int parts, int weight_blocks, T rate, T per_node,
    const T *__restrict__ parameter, const T *__restrict__ partial, T *__restrict__ result)
{
    __shared__ T slice[SLICES][COLUMNS];
    const int all = biases.first[biases.layers];
    const long parameters = weights + all;
    T *gradient = result + GNN_GRADIENT, *updated = gradient + parameters;
    const int block = blockIdx.x - weight_blocks;
    if (block < 0) {
        for (long i = (long)blockIdx.x * BLOCK + threadIdx.x; i < weights;
             i += (long)weight_blocks * BLOCK)
            updated[i] = parameter[i] - rate * gradient[i];
        return;
    }
    const int column = threadIdx.x % COLUMNS, s = threadIdx.x / COLUMNS;
    const bool is_loss = blockIdx.x == gridDim.x - 1;
    const int bias = is_loss ? all : block * COLUMNS + column;
    T sum = 0;
    if (is_loss ? column == 0 : bias < all) {
        int layer = 0;
        while (!is_loss && bias >= biases.first[layer + 1])
            layer++;
        const int first = is_loss ? all : biases.first[layer];
        const int width = is_loss ? 1 : biases.first[layer + 1] - first;
        const T *lines = partial + (size_t)parts * first + (bias - first);
#pragma unroll 8
        for (int p = s; p < parts; p += SLICES)
            sum += lines[(size_t)p * width];
    }
    slice[s][column] = sum;
    __syncthreads();
    if (s)
        return;
    for (int k = 1; k < SLICES; k++)
        sum += slice[k][column];
    if (is_loss) {
        if (column < GNN_GRADIENT)
            result[column] = column == GNN_LOSS ? sum * per_node : 0;
    } else if (bias < all) {
        gradient[weights + bias] = sum;
        updated[weights + bias] = parameter[weights + bias] - rate * sum;
    }
}

/* ---- launchers ---- */

static enum op_status launched(void)
{
    return cudaGetLastError() == cudaSuccess ? OP_OK : OP_EDEVICE;
}

template <class T>
static void launch_bias(const struct gnn_context *c, int width, int relu, const void *b, void *y)
{
    const size_t count = (size_t)c->net->nodes * (width / 4);
    const size_t blocks = (count + BLOCK - 1) / BLOCK, most = 8192;
    const unsigned grid = (unsigned)(blocks < most ? blocks : most);
    if (relu)
        add_bias<T, true><<<grid, BLOCK, 0, c->stream>>>(count, width / 4, (const Four<T> *)b,
                                                         (Four<T> *)y);
    else
        add_bias<T, false><<<grid, BLOCK, 0, c->stream>>>(count, width / 4, (const Four<T> *)b,
                                                          (Four<T> *)y);
}

template <class T, int LANES>
static void launch_loss(const struct gnn_context *c, int width, const void *b, void *z,
                        void *partial, void *loss)
{
    const int nodes = c->net->nodes;
    cross_entropy<T, LANES><<<gnn_parts(nodes), BLOCK, 0, c->stream>>>(
        nodes, width / 4, (T)1 / nodes, c->b->label, (const Four<T> *)b, (Four<T> *)z,
        (Four<T> *)partial, (T *)loss);
}

template <class T>
static void choose_loss(const struct gnn_context *c, int width, const void *b, void *z,
                        void *partial, void *loss)
{
    const int lanes = width / 4;
    if (lanes <= 1)
        launch_loss<T, 1>(c, width, b, z, partial, loss);
    else if (lanes <= 2)
        launch_loss<T, 2>(c, width, b, z, partial, loss);
    else if (lanes <= 4)
        launch_loss<T, 4>(c, width, b, z, partial, loss);
    else if (lanes <= 8)
        launch_loss<T, 8>(c, width, b, z, partial, loss);
    else if (lanes <= 16)
        launch_loss<T, 16>(c, width, b, z, partial, loss);
    else
        launch_loss<T, 32>(c, width, b, z, partial, loss);
}

template <class T> static void launch_finish(const struct gnn_context *c)
{
    const struct gnn_net *net = c->net;
    const long needed = (net->weights + BLOCK - 1) / BLOCK;
    const int weight_blocks = (int)(needed < 1024 ? needed : 1024);
    const int bias_blocks = (int)((net->biases + COLUMNS - 1) / COLUMNS);
    Biases biases = { net->layers, { 0 } };
    for (int l = 0; l < net->layers; l++)
        biases.first[l + 1] = biases.first[l] + net->layer[l].out;
    new_parameters<T><<<weight_blocks + bias_blocks + 1, BLOCK, 0, c->stream>>>(
        net->weights, biases, gnn_parts(net->nodes), weight_blocks, (T)net->rate,
        (T)1 / net->nodes, (const T *)c->b->parameter, (const T *)c->b->partial,
        (T *)c->b->result);
}

OP_BEGIN
enum op_status gnn_cuda_bias(void *context, int width, int relu, const void *b, void *y)
{
    const struct gnn_context *c = (const struct gnn_context *)context;
    if (c->b->size == sizeof(float))
        launch_bias<float>(c, width, relu, b, y);
    else
        launch_bias<double>(c, width, relu, b, y);
    return launched();
}

enum op_status gnn_cuda_relu_back(void *context, int width, const void *act, void *g,
                                  void *partial)
{
    const struct gnn_context *c = (const struct gnn_context *)context;
    const int nodes = c->net->nodes, parts = gnn_parts(nodes);
    if (c->b->size == sizeof(float))
        mask_back<float><<<parts, BLOCK, 0, c->stream>>>(
            nodes, width / 4, (const Four<float> *)act, (Four<float> *)g, (Four<float> *)partial);
    else
        mask_back<double><<<parts, BLOCK, 0, c->stream>>>(nodes, width / 4,
                                                          (const Four<double> *)act,
                                                          (Four<double> *)g,
                                                          (Four<double> *)partial);
    return launched();
}

enum op_status gnn_cuda_loss(void *context, int width, const void *b, void *z, void *partial,
                             void *loss)
{
    const struct gnn_context *c = (const struct gnn_context *)context;
    if (c->b->size == sizeof(float))
        choose_loss<float>(c, width, b, z, partial, loss);
    else
        choose_loss<double>(c, width, b, z, partial, loss);
    return launched();
}

enum op_status gnn_cuda_finish(void *context)
{
    const struct gnn_context *c = (const struct gnn_context *)context;
    if (c->b->size == sizeof(float))
        launch_finish<float>(c);
    else
        launch_finish<double>(c);
    return launched();
}
OP_END
