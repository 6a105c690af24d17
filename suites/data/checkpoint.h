/*
 * checkpoint.h - the weights of a Llama-family language model, read from a file.
 *
 * Three formats give the same structure:
 *     llama2.c    NAME.bin                                  llama2c.c
 *     GGUF        NAME.gguf, version 2 or 3                 gguf.c
 *     HF folder   config.json with model.safetensors, or    safetensors.c
 *                 with the parts that model.safetensors.index.json lists
 *
 * The files are mapped, not copied: a tensor is a view into one of them, so
 * memory beyond the page cache stays near nothing whatever the model's size.
 *
 * Whatever a file holds, it is either refused with its name and the place (key,
 * tensor or byte) or every tensor has the shape that the config gives and lies
 * inside its file.  Tensors that a Llama-family model has no use for are refused
 * too: a model with more parts than these computes something else.
 *
 * Functions return 0, or -1 after cb_error.  A failed load leaves *out all zero.
 */
#ifndef SUITES_DATA_CHECKPOINT_H
#define SUITES_DATA_CHECKPOINT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* ---- tensors ---- */

/* How elements are stored, little-endian.  Blocks are 32 elements of a row:
 *     Q4_1  half d, half m, 16 bytes; byte j holds element j in its low and
 *           element j + 16 in its high four bits: q * d + m
 *     Q8_0  half d, 32 x int8: q * d */
enum tensor_dtype {
    TENSOR_NONE, /* the tensor is absent */
    TENSOR_F32,
    TENSOR_F16,
    TENSOR_BF16,
    TENSOR_Q4_1,
    TENSOR_Q8_0
};

/* A matrix [rows][cols], rows apart by whole blocks; a vector has one row.  A
 * linear layer y = W x has its output channels as rows. */
struct tensor {
    enum tensor_dtype dtype;
    int rows, cols;
    const void *data; /* aligned to nothing: files do not promise it */
};

const char *tensor_dtype_name(enum tensor_dtype dtype);
/* Bytes of one row of cols elements; 0 if cols is not whole blocks. */
size_t tensor_row_bytes(enum tensor_dtype dtype, int cols);
/* Rows first ... first + count - 1 as FP32, into out [count][cols]. */
void tensor_rows(const struct tensor *t, int first, int count, float *out);

/* ---- what a model is ---- */

enum rope_scaling {
    ROPE_PLAIN,
    ROPE_LINEAR, /* all frequencies divided by the factor */
    ROPE_LLAMA3  /* low ones divided, high ones kept, blended between */
};

struct llama_config {
    int vocab, dim, hidden, layers;
    int heads, kv_heads, head_dim; /* kv_heads divides heads; head_dim is even */
    int context;                   /* positions the model was made for */
    int window;                    /* a token sees that many, itself included; 0: all */
    double norm_eps;
    double rope_theta;
    enum rope_scaling rope_scaling;
    double rope_factor;            /* LINEAR, LLAMA3 */
    double rope_low, rope_high;    /* LLAMA3: wavelengths over context, below and above */
    int rope_original;             /* LLAMA3: context before scaling */
    bool rope_halves; /* rotates elements i and i + head_dim/2 of a head; else 2i and 2i+1 */
    bool tied;        /* the output matrix is the embedding */
    bool qkv_bias;
};

/* The tensors of a layer. */
enum checkpoint_slot {
    SLOT_ATTN_NORM, /* [dim] */
    SLOT_Q,         /* [heads*head_dim][dim] */
    SLOT_K,         /* [kv_heads*head_dim][dim] */
    SLOT_V,
    SLOT_O,         /* [dim][heads*head_dim] */
    SLOT_FFN_NORM,  /* [dim] */
    SLOT_GATE,      /* [hidden][dim] */
    SLOT_UP,
    SLOT_DOWN,      /* [dim][hidden] */
    SLOT_Q_BIAS,    /* TENSOR_NONE unless qkv_bias */
    SLOT_K_BIAS,
    SLOT_V_BIAS,
    SLOTS
};

struct checkpoint_file {
    char *path;
    const void *data;
    size_t size;
};

struct checkpoint {
    char name[64];   /* base name of the file or folder */
    char format[16]; /* "llama2.c", "gguf", "safetensors" */
    struct llama_config config;
    struct tensor embedding;          /* [vocab][dim] */
    struct tensor norm;               /* [dim] */
    struct tensor output;             /* [vocab][dim]; the embedding if tied */
    struct tensor rope_factors;       /* [head_dim/2] divisors of the frequencies, or absent */
    struct tensor (*layer)[SLOTS];    /* [layers] */
    struct checkpoint_file *file;     /* [files] */
    int files;
};

/* path: a folder, or a file of one of the formats. */
int checkpoint_load(const char *path, struct checkpoint *out);
void checkpoint_free(struct checkpoint *c); /* accepts NULL and { 0 }; leaves { 0 } */

const char *checkpoint_slot_name(enum checkpoint_slot slot); /* "q", "attn_norm", ... */
/* Rows and columns that a config asks of a slot. */
void checkpoint_slot_shape(const struct llama_config *c, enum checkpoint_slot slot, int *rows,
                           int *cols);
/* Parameters, a tied matrix counted once; bytes that they take in the files. */
long checkpoint_parameters(const struct checkpoint *c);
size_t checkpoint_bytes(const struct checkpoint *c);
/* SHA-256 of all files as one, in the order of c->file; reads them whole. */
int checkpoint_sha256(const struct checkpoint *c, char out[65]);

/* ---- for the readers ---- */

/* Maps a regular, non-empty file.  Release with checkpoint_unmap. */
int checkpoint_map(const char *path, struct checkpoint_file *out);
void checkpoint_unmap(struct checkpoint_file *f);

/* A tensor by the name that its file gives it. */
struct named_tensor {
    char name[128];
    int dims;
    int64_t shape[4]; /* slowest first; each at least 1 */
    enum tensor_dtype dtype;
    const void *data;
    bool used;
};

struct tensor_list {
    struct named_tensor *tensor;
    int count, room;
};

/* Room for one more, all zero; NULL after cb_error. */
struct named_tensor *tensor_list_add(struct tensor_list *l, const char *where);
void tensor_list_free(struct tensor_list *l);
/* Bytes that a tensor's elements take; -1 after cb_error if its shape overflows
 * or its rows are not whole blocks. */
int tensor_list_bytes(const char *where, const struct named_tensor *t, uint64_t *bytes);

/* What a format calls the tensors; slots with %d for the layer. */
struct checkpoint_names {
    const char *embedding, *norm, *output, *rope_factors;
    const char *slot[SLOTS];
    const char *ignored[4]; /* ends of names that carry nothing */
};

/* Checks that the numbers of a config go together. */
int checkpoint_check_config(const char *where, const struct llama_config *c);
/* Fills the tensors of c, whose config is set and checked, from a list, which it
 * sorts.  Every tensor must be there, be of the right shape, and be the only one
 * of its name. */
int checkpoint_assign(const char *where, struct tensor_list *l,
                      const struct checkpoint_names *names, struct checkpoint *c);

#endif
