/*
 * ref.c - a step by its definition, in double on the host.
 *
 * Layer by layer as the formulas of gnn.h stand there: the aggregation always
 * first, nothing in place, nothing shared with the steps of net.c.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "gnn.h"

struct tape {
    double *x, *mid, *y; /* [nodes][in], [nodes][in] A x, [nodes][out] before ReLU */
};

static void aggregate(int nodes, const struct gnn_graph *a, int width, const double *x, double *y)
{
#pragma omp parallel for schedule(dynamic, 64)
    for (int i = 0; i < nodes; i++) {
        double *row = y + (size_t)i * width;
        for (int j = 0; j < width; j++)
            row[j] = 0;
        for (int e = a->row_ptr[i]; e < a->row_ptr[i + 1]; e++)
            for (int j = 0; j < width; j++)
                row[j] += (double)a->val[e] * x[(size_t)a->col[e] * width + j];
    }
}

/* C [m][n] (+)= op(A) op(B) */
static void multiply(int at, int bt, int m, int n, int k, const double *a, const double *b, int add,
                     double *c)
{
    gnn_host_product(sizeof(double), at, bt, m, n, k, a, b, add, c);
}

static void forward(const struct gnn_net *net, const struct gnn_layer *l, const struct gnn_graph *a,
                    const double *p, struct tape *t)
{
    const int nodes = net->nodes;
    if (l->aggregates)
        aggregate(nodes, a, l->in, t->x, t->mid);
    else
        memcpy(t->mid, t->x, (size_t)nodes * l->in * sizeof *t->x);
    multiply(0, 0, nodes, l->out, l->in, t->mid, p + l->w, 0, t->y);
    if (l->v >= 0)
        multiply(0, 0, nodes, l->out, l->in, t->x, p + l->v, 1, t->y);
    for (int i = 0; i < nodes; i++)
        for (int j = 0; j < l->out; j++)
            t->y[(size_t)i * l->out + j] += p[l->b + j];
}

/* Mean over the nodes of -log softmax(y)[label]; its gradient into dy. */
static double loss(int nodes, int classes, const double *y, const int *label, double *dy)
{
    double sum = 0;
    for (int i = 0; i < nodes; i++) {
        const double *z = y + (size_t)i * classes;
        double most = z[0], total = 0;
        for (int j = 1; j < classes; j++)
            most = fmax(most, z[j]);
        for (int j = 0; j < classes; j++)
            total += exp(z[j] - most);
        sum += log(total) + most - z[label[i]];
        for (int j = 0; j < classes; j++)
            dy[(size_t)i * classes + j] = (exp(z[j] - most) / total - (j == label[i])) / nodes;
    }
    return sum / nodes;
}

/* Gradients of a layer's weights and bias from dy; of its input into dx if that is not NULL. */
static int backward(const struct gnn_net *net, const struct gnn_layer *l,
                    const struct gnn_graph *transposed, const double *p, const struct tape *t,
                    const double *dy, double *dx, double *gradient)
{
    const int nodes = net->nodes;
    double *dmid;
    multiply(1, 0, l->in, l->out, nodes, t->mid, dy, 0, gradient + l->w);
    if (l->v >= 0)
        multiply(1, 0, l->in, l->out, nodes, t->x, dy, 0, gradient + l->v);
    for (int j = 0; j < l->out; j++) {
        gradient[l->b + j] = 0;
        for (int i = 0; i < nodes; i++)
            gradient[l->b + j] += dy[(size_t)i * l->out + j];
    }
    if (!dx)
        return 0;
    if (!l->aggregates) {
        multiply(0, 1, nodes, l->in, l->out, dy, p + l->w, 0, dx);
        return 0;
    }
    dmid = malloc((size_t)nodes * l->in * sizeof *dmid);
    if (!dmid)
        return -1;
    multiply(0, 1, nodes, l->in, l->out, dy, p + l->w, 0, dmid);
    aggregate(nodes, transposed, l->in, dmid, dx);
    free(dmid);
    if (l->v >= 0)
        multiply(0, 1, nodes, l->in, l->out, dy, p + l->v, 1, dx);
    return 0;
}

static int run_backward(const struct gnn_net *net, const struct gnn_graph *transposed,
                        const double *p, const struct tape *tape, const int *label, double *result)
{
    const int last = net->layers - 1, nodes = net->nodes;
    double *dy = malloc((size_t)nodes * net->layer[last].out * sizeof *dy);
    int failed = !dy;
    if (dy)
        result[GNN_LOSS] = loss(nodes, net->layer[last].out, tape[last].y, label, dy);
    for (int l = last; l >= 0 && !failed; l--) {
        const size_t in = (size_t)nodes * net->layer[l].in;
        double *dx = l ? malloc(in * sizeof *dx) : NULL;
        failed = (l && !dx) || backward(net, &net->layer[l], transposed, p, &tape[l], dy, dx,
                                        result + GNN_GRADIENT);
        for (size_t i = 0; dx && !failed && i < in; i++)
            dx[i] = tape[l - 1].y[i] > 0 ? dx[i] : 0; /* in of a layer is out of the one below */
        free(dy);
        dy = dx;
    }
    free(dy);
    return failed;
}

enum op_status gnn_ref(const struct gnn_net *net, const struct gnn_graph *a,
                       const struct gnn_graph *transposed, const float *x, const int *label,
                       const float *parameter, double *result)
{
    const size_t nodes = (size_t)net->nodes;
    const long parameters = gnn_parameters(net);
    struct tape tape[GNN_LAYERS_MAX] = { { 0 } };
    double *p = malloc((size_t)parameters * sizeof *p);
    enum op_status status = p ? OP_OK : OP_ENOMEM;
    for (int l = 0; l < net->layers && !status; l++) {
        const size_t in = nodes * (size_t)net->layer[l].in, out = nodes * (size_t)net->layer[l].out;
        tape[l] = (struct tape){ malloc(in * sizeof(double)), malloc(in * sizeof(double)),
                                 malloc(out * sizeof(double)) };
        if (!tape[l].x || !tape[l].mid || !tape[l].y)
            status = OP_ENOMEM;
    }
    for (long i = 0; i < parameters && !status; i++)
        p[i] = parameter[i];
    for (int l = 0; l < net->layers && !status; l++) {
        const size_t in = nodes * (size_t)net->layer[l].in;
        for (size_t i = 0; i < in; i++)
            tape[l].x[i] = l ? fmax(0, tape[l - 1].y[i]) : (double)x[i];
        forward(net, &net->layer[l], a, p, &tape[l]);
    }
    if (!status && net->pass == GNN_FORWARD) {
        memcpy(result, tape[net->layers - 1].y, (size_t)gnn_result_size(net) * sizeof *result);
    } else if (!status) {
        memset(result, 0, GNN_GRADIENT * sizeof *result);
        if (run_backward(net, transposed, p, tape, label, result))
            status = OP_ENOMEM;
        for (long i = 0; i < parameters; i++)
            result[gnn_updated_at(net) + i] = p[i] - (double)net->rate * result[GNN_GRADIENT + i];
    }
    for (int l = 0; l < GNN_LAYERS_MAX; l++) {
        free(tape[l].x);
        free(tape[l].mid);
        free(tape[l].y);
    }
    free(p);
    return status;
}
