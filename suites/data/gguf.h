/* gguf.h - GGUF files, version 2 and 3, from memory: keys with values, and tensors. */
#ifndef SUITES_DATA_GGUF_H
#define SUITES_DATA_GGUF_H

#include "checkpoint.h"

/* Types of values, as stored. */
enum gguf_type {
    GGUF_U8, GGUF_I8, GGUF_U16, GGUF_I16, GGUF_U32, GGUF_I32, GGUF_F32, GGUF_BOOL,
    GGUF_STRING, GGUF_ARRAY, GGUF_U64, GGUF_I64, GGUF_F64, GGUF_TYPES
};

struct gguf_text {
    const char *text; /* not ended by a NUL */
    size_t length;
};

struct gguf_value {
    struct gguf_text key;
    uint32_t type;            /* enum gguf_type; never GGUF_ARRAY: */
    bool array;               /* then type is that of the elements */
    uint64_t count;           /* 1 unless array */
    const unsigned char *at;  /* the elements; strings are uint64 length and bytes */
};

/* Views into the file.  Every value and tensor lies inside it. */
struct gguf {
    const char *name; /* for messages */
    struct gguf_value *value; /* by key */
    int values;
    struct tensor_list tensors;
};

/* data must outlive *out. */
int gguf_parse(const char *name, const void *data, size_t size, struct gguf *out);
void gguf_free(struct gguf *g);

/* NULL if there is no such key. */
const struct gguf_value *gguf_find(const struct gguf *g, const char *key);
/* Numbers and texts by key.  1 if found, 0 if not, -1 after cb_error if it is of
 * another type or, for an integer, outside [min, max]; a string has to be printable
 * ASCII and to fit. */
int gguf_long(const struct gguf *g, const char *key, long min, long max, long *out);
int gguf_real(const struct gguf *g, const char *key, double *out);
int gguf_bool(const struct gguf *g, const char *key, bool *out);
int gguf_string(const struct gguf *g, const char *key, char *out, size_t size);

/* Elements of arrays in turn: *at starts as value->at. */
struct gguf_text gguf_next_text(const unsigned char **at);

/* The Llama-family model in a file.  data must outlive *out. */
int gguf_checkpoint(const char *name, const void *data, size_t size, struct checkpoint *out);

#endif
