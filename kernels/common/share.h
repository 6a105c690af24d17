/*
 * share.h - scratch that the layers of a network share: what a launch needs only while it runs.
 *
 * A set-up function asks for it with op_scratch.  From memory of op_share_memory it gets the same
 * bytes as all others that ask there, so that each may use them only in launches on one stream,
 * one after the other, and finds nothing in them that it left.  Other memory gives it bytes of its
 * own.
 */
#ifndef KERNELS_COMMON_SHARE_H
#define KERNELS_COMMON_SHARE_H

#include "../op.h"

OP_BEGIN

/* { .from = memory }; must stay where it is as long as memory is taken through it. */
struct op_share {
    struct op_memory from;
    void *at; /* of `bytes` bytes; NULL: none yet */
    size_t bytes;
};

/* The memory of `share`: take is that of `from`. */
struct op_memory op_share_memory(struct op_share *share);

/* Scratch of so many bytes; stays valid as memory does.  A block that is too small is followed by
 * one at least twice as large: all together have less than four times the bytes of the largest
 * request.  NULL: none left. */
void *op_scratch(const struct op_memory *memory, size_t bytes);

OP_END
#endif
