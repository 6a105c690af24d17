/*
 * cudnn_graph.h - a convolution with what follows it as one graph of cuDNN's backend interface, and
 * the plans that cuDNN has for it.
 *
 *     y = relu(conv(x, w) + bias) + x       relu and + x where asked for; products and sums in float
 *
 *     x   [side][side][channels] half             w     [rows][kernel][kernel][channels / groups]
 *     y   [side / stride][side / stride][rows]    bias  [rows] half; zeros around the map
 *
 * Of g groups each has rows / g of the rows, which read channels / g of the channels.
 *
 * The library (version 9) is opened at run time; nothing of it is needed to build.  Its entry points
 * are kept in a table that tests may fill with their own.
 */
#ifndef BASELINES_CUDNN_GRAPH_H
#define BASELINES_CUDNN_GRAPH_H

#include <stdint.h>

#include "../kernels/op.h"

/* Entry points by their names without `cudnn`; 0 is success.  Descriptors and handles are opaque. */
struct cudnn_library {
    int (*Create)(void **handle);
    int (*Destroy)(void *handle);
    int (*SetStream)(void *handle, op_stream);
    int (*BackendCreateDescriptor)(int kind, void **descriptor);
    int (*BackendDestroyDescriptor)(void *descriptor);
    int (*BackendSetAttribute)(void *descriptor, int name, int type, int64_t count,
                               const void *values);
    int (*BackendGetAttribute)(const void *descriptor, int name, int type, int64_t room,
                               int64_t *count, void *values);
    int (*BackendFinalize)(void *descriptor);
    int (*BackendExecute)(void *handle, void *plan, void *operands);
};

/* NULL: there is none; *why is a constant text then. */
const struct cudnn_library *cudnn_library(const char **why);

struct cudnn_conv {
    int side, channels, rows, kernel, stride; /* side divisible by stride */
    int relu, residual;                       /* residual: x and y have one shape */
    int groups;                               /* >= 1 */
};

/* Where plans are for: a handle, or, to plan without a device, the descriptor of one. */
struct cudnn_place {
    const struct cudnn_library *library;
    void *handle, *device;
    double seconds; /* after so many no further plan is made, where there is one; 0: no limit */
};

struct cudnn_graph; /* opaque */

/* At most `most` plans with at most so many bytes of workspace, cuDNN's best guess first; of its
 * fallback where it guesses none.  OP_EUNSUPPORTED: no plan; OP_ENOMEM; OP_EDEVICE.  *out is NULL
 * on failure. */
enum op_status cudnn_graph_open(const struct cudnn_place *at, const struct cudnn_conv *conv,
                                size_t workspace, int most, struct cudnn_graph **out);
int cudnn_graph_plans(const struct cudnn_graph *g);
/* Configurations that cuDNN named, among them those for which it has no plan. */
int cudnn_graph_tried(const struct cudnn_graph *g);
/* Frees all plans but one, which is plan 0 from now on. */
void cudnn_graph_keep(struct cudnn_graph *g, int plan);
/* Enqueues a plan on the stream of the handle; device memory, 16-byte aligned. */
enum op_status cudnn_graph_run(const struct cudnn_graph *g, int plan, const void *x, const void *w,
                               const void *bias, void *y, void *workspace);
void cudnn_graph_close(struct cudnn_graph *g); /* accepts NULL */

/* Kinds of descriptors, types and attributes, as documented for version 9; a test reads the graph
 * by them. */
enum cudnn_kind {
    CUDNN_KIND_POINTWISE = 0,
    CUDNN_KIND_CONVOLUTION = 1,
    CUDNN_KIND_CONFIG = 3,
    CUDNN_KIND_HEURISTICS = 4,
    CUDNN_KIND_PLAN = 5,
    CUDNN_KIND_OP_CONVOLUTION = 10,
    CUDNN_KIND_OP_POINTWISE = 13,
    CUDNN_KIND_GRAPH = 15,
    CUDNN_KIND_OPERANDS = 16,
    CUDNN_KIND_TENSOR = 17,
    CUDNN_KIND_DEVICE = 38
};
enum cudnn_type {
    CUDNN_OF_HANDLE = 0,
    CUDNN_OF_DATA_TYPE = 1,
    CUDNN_OF_BOOLEAN = 2,
    CUDNN_OF_INT64 = 3,
    CUDNN_OF_FLOAT = 4,
    CUDNN_OF_POINTER = 6,
    CUDNN_OF_CONVOLUTION_MODE = 7,
    CUDNN_OF_HEURISTIC = 8,
    CUDNN_OF_POINTWISE_MODE = 14,
    CUDNN_OF_DESCRIPTOR = 15,
    CUDNN_OF_CHAR = 24
};
enum cudnn_attribute {
    CUDNN_AT_POINTWISE_MODE = 0,
    CUDNN_AT_POINTWISE_PRECISION = 1,
    CUDNN_AT_CONV_PRECISION = 100,
    CUDNN_AT_CONV_MODE = 101,
    CUDNN_AT_CONV_DILATION = 102,
    CUDNN_AT_CONV_STRIDE = 103,
    CUDNN_AT_CONV_PAD_AFTER = 104,
    CUDNN_AT_CONV_PAD_BEFORE = 105,
    CUDNN_AT_CONV_DIMENSIONS = 106,
    CUDNN_AT_HEURISTICS_MODE = 200,
    CUDNN_AT_HEURISTICS_GRAPH = 201,
    CUDNN_AT_HEURISTICS_RESULTS = 202,
    CUDNN_AT_HEURISTICS_DEVICE = 204,
    CUDNN_AT_PLAN_HANDLE = 400,
    CUDNN_AT_PLAN_CONFIG = 401,
    CUDNN_AT_PLAN_WORKSPACE = 402,
    CUDNN_AT_PLAN_DEVICE = 407,
    CUDNN_AT_OP_CONV_ALPHA = 700,
    CUDNN_AT_OP_CONV_BETA = 701,
    CUDNN_AT_OP_CONV_DESCRIPTION = 702,
    CUDNN_AT_OP_CONV_W = 703,
    CUDNN_AT_OP_CONV_X = 704,
    CUDNN_AT_OP_CONV_Y = 705,
    CUDNN_AT_OP_POINTWISE_DESCRIPTION = 750,
    CUDNN_AT_OP_POINTWISE_X = 751,
    CUDNN_AT_OP_POINTWISE_B = 752,
    CUDNN_AT_OP_POINTWISE_Y = 753,
    CUDNN_AT_GRAPH_HANDLE = 800,
    CUDNN_AT_GRAPH_OPS = 801,
    CUDNN_AT_TENSOR_ALIGNMENT = 900,
    CUDNN_AT_TENSOR_TYPE = 901,
    CUDNN_AT_TENSOR_SIZES = 902,
    CUDNN_AT_TENSOR_STRIDES = 903,
    CUDNN_AT_TENSOR_ID = 906,
    CUDNN_AT_TENSOR_VIRTUAL = 907,
    CUDNN_AT_OPERANDS_IDS = 1000,
    CUDNN_AT_OPERANDS_POINTERS = 1001,
    CUDNN_AT_OPERANDS_WORKSPACE = 1003,
    CUDNN_AT_DEVICE_JSON = 2702
};
enum cudnn_value {
    CUDNN_IS_FLOAT = 0,
    CUDNN_IS_HALF = 2,
    CUDNN_CORRELATES = 1,
    CUDNN_ADDS = 0,
    CUDNN_RELU = 100,
    CUDNN_GUESS_FALLBACK = 2,
    CUDNN_GUESS_A = 3
};

#endif
