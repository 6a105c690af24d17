/*
 * op.h - what an implementation of an operator is.
 *
 * An operator (spmm, gemm, ...) is one mathematical function with one problem
 * structure and one reference.  An implementation is one way to compute it.
 * This header holds what implementations of all operators have in common, so
 * that they can be listed, selected, recorded and plotted by code that does
 * not know what they compute.  It is the one header of kernels/ that harness/
 * includes.
 *
 * Valid as C17 and as C++17: every .cu file includes it.  Needs no CUDA
 * header, so that a machine without the toolkit builds everything but the
 * .cu files.
 */
#ifndef KERNELS_OP_H
#define KERNELS_OP_H

#include <stddef.h>

#ifdef __cplusplus
#define OP_BEGIN extern "C" {
#define OP_END }
#else
#define OP_BEGIN
#define OP_END
#endif

/* OP_CUDA(f) is f in a build with CUDA and NULL without: an implementation
 * stays in its table, with its title and its layout, but cannot run. */
#ifdef WITH_CUDA
#define OP_CUDA(f) f
#else
#define OP_CUDA(f) NULL
#endif

OP_BEGIN

/* A CUDA stream; the same type as cudaStream_t, without CUDA's headers.
 * NULL where an implementation of the host is called. */
typedef struct CUstream_st *op_stream;

/* Returned by every launcher, set-up and packing function.  They return at the
 * first fault; they do not print or exit.  Launchers (run) neither allocate
 * nor synchronise unless a flag of their row says so. */
enum op_status {
    OP_OK = 0,
    OP_EINVAL,       /* the problem is meaningless: a size <= 0, group not dividing k */
    OP_EUNSUPPORTED, /* meaningful, but outside what this implementation covers */
    OP_ENOMEM,       /* memory ran out, of the host or from op_memory */
    OP_EDEVICE       /* CUDA or a vendor library refused */
};

/* Why an implementation is in the suite. */
enum op_role {
    OP_REFERENCE, /* written to be read: decides what is correct */
    OP_BASELINE,  /* vendor library or earlier method: speedups are over it */
    OP_PAPER,     /* the technique of a paper, as published */
    OP_OWN,       /* this suite's own kernel for the same work */
    OP_ABLATION   /* an OP_PAPER or OP_OWN kernel with a stage left out: timed, never ranked */
};

/* What an ablation leaves out.  The differences in time attribute the rest. */
enum op_stage {
    OP_COMPLETE, /* nothing */
    OP_NODEQ,    /* conversion of codes: packed words enter the products as they are */
    OP_LOADONLY, /* products: loaded registers are folded into the output */
    OP_MMAONLY,  /* global loads and conversion */
    OP_DEQONLY   /* global loads and products */
};

/* What the harness must know before it times a row. */
enum op_flag {
    OP_SYNCS = 1,       /* run() synchronises or allocates inside: no gate, no graph */
    OP_NO_CAPTURE = 2,  /* run() cannot be captured into a graph */
    OP_KNOWN_WRONG = 4, /* wrong as published and kept so; op_impl.known_wrong has the reason */
    OP_CHOOSES = 8      /* set-up chooses among other rows: a tuner or a selector */
};

/* The part of an implementation that every operator's own struct starts with. */
struct op_impl {
    const char *name;    /* stable, lower case: in JSON, configs and file names */
    const char *title;   /* for people: table heads and plot legends */
    const char *origin;  /* paper section, library call or published code it follows */
    enum op_role role;
    const char *ablates; /* OP_ABLATION: name of the complete kernel, else NULL */
    enum op_stage stage; /* OP_ABLATION: what is left out */
    int sm_min, sm_max;  /* compute capability x 10 it runs on, inclusive; 0, 0: the host */
    unsigned flags;      /* enum op_flag, or-ed */
    const char *layout;  /* of the dense operands: "row", "column"; NULL where there is one only */
    const char *symbol;  /* text in the mangled name of its main kernel, for instruction counts; NULL: none */
    const char *known_wrong; /* OP_KNOWN_WRONG: what is wrong and on which problems */
};

/* Device memory (host memory on the host) for set-up functions.  take returns
 * NULL when there is none left; what it gave is freed by its owner after the
 * implementation's teardown. */
struct op_memory {
    void *(*take)(void *context, size_t bytes); /* 256-byte aligned */
    void *context;
};

/* Readable name of a status, role or stage; never NULL. */
const char *op_status_name(enum op_status s);
const char *op_role_name(enum op_role r);
const char *op_stage_name(enum op_stage s);

OP_END
#endif
