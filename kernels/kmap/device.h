/* device.h - what the builders on the device share as C functions. */
#ifndef KERNELS_KMAP_DEVICE_H
#define KERNELS_KMAP_DEVICE_H

#include "build.h"

OP_BEGIN

/* sort.cu: CUB's radix sort and unique.  temp: kmap_sort_bytes(n) bytes of device memory.  Keys are
 * sorted ascending by their lowest `bits` bits; equal ones keep their order. */
size_t kmap_sort_bytes(int n);
enum op_status kmap_sort_pairs(void *temp, size_t bytes, const uint64_t *key, uint64_t *key_out,
                               const int32_t *row, int32_t *row_out, int n, int bits, op_stream s);
enum op_status kmap_sort_keys(void *temp, size_t bytes, const uint64_t *key, uint64_t *key_out,
                              int n, int bits, op_stream s);
enum op_status kmap_sort_masks(void *temp, size_t bytes, const uint32_t *mask, uint32_t *mask_out,
                               const int32_t *row, int32_t *row_out, int n, int bits, op_stream s);
/* Different keys of a sorted list; their number in *count on the device. */
enum op_status kmap_unique(void *temp, size_t bytes, const uint64_t *key, uint64_t *out,
                           int32_t *count, int n, op_stream s);

/* The step that makes a level, by its target; -1: none (level 0). */
int kmap_step_to(const struct kmap_plan *p, int level);
/* Bits that numbers below n need. */
int kmap_bits(double n);

/* The builders. */
extern kmap_run_fn kmap_hash_fly, kmap_search, kmap_octree, kmap_grid;
enum op_status kmap_hash_fly_setup(const struct kmap_plan *, const struct op_memory *, void **);
enum op_status kmap_search_setup(const struct kmap_plan *, const struct op_memory *, void **);
enum op_status kmap_octree_setup(const struct kmap_plan *, const struct op_memory *, void **);
enum op_status kmap_grid_setup(const struct kmap_plan *, const struct op_memory *, void **);
void kmap_teardown(void *state); /* of each of them */

OP_END
#endif
