/* sort.cu - CUB's device-wide sort and unique behind C functions: compiled once, used by all. */
#include <cub/device/device_radix_sort.cuh>
#include <cub/device/device_select.cuh>

#include "device.h"

static op_status status_of(cudaError_t e)
{
    return e == cudaSuccess ? OP_OK : OP_EDEVICE;
}

OP_BEGIN

size_t kmap_sort_bytes(int n)
{
    size_t pairs = 0, keys = 0, masks = 0, unique = 0;
    cub::DeviceRadixSort::SortPairs(nullptr, pairs, (const uint64_t *)nullptr, (uint64_t *)nullptr,
                                    (const int32_t *)nullptr, (int32_t *)nullptr, n);
    cub::DeviceRadixSort::SortKeys(nullptr, keys, (const uint64_t *)nullptr, (uint64_t *)nullptr,
                                   n);
    cub::DeviceRadixSort::SortPairsDescending(nullptr, masks, (const uint32_t *)nullptr,
                                              (uint32_t *)nullptr, (const int32_t *)nullptr,
                                              (int32_t *)nullptr, n);
    cub::DeviceSelect::Unique(nullptr, unique, (const uint64_t *)nullptr, (uint64_t *)nullptr,
                              (int32_t *)nullptr, n);
    size_t most = pairs > keys ? pairs : keys;
    most = masks > most ? masks : most;
    return unique > most ? unique : most;
}

enum op_status kmap_sort_pairs(void *temp, size_t bytes, const uint64_t *key, uint64_t *key_out,
                               const int32_t *row, int32_t *row_out, int n, int bits, op_stream s)
{
    return status_of(
        cub::DeviceRadixSort::SortPairs(temp, bytes, key, key_out, row, row_out, n, 0, bits, s));
}

enum op_status kmap_sort_keys(void *temp, size_t bytes, const uint64_t *key, uint64_t *key_out,
                              int n, int bits, op_stream s)
{
    return status_of(cub::DeviceRadixSort::SortKeys(temp, bytes, key, key_out, n, 0, bits, s));
}

enum op_status kmap_sort_masks(void *temp, size_t bytes, const uint32_t *mask, uint32_t *mask_out,
                               const int32_t *row, int32_t *row_out, int n, int bits, op_stream s)
{
    return status_of(cub::DeviceRadixSort::SortPairsDescending(temp, bytes, mask, mask_out, row,
                                                               row_out, n, 0, bits, s));
}

enum op_status kmap_unique(void *temp, size_t bytes, const uint64_t *key, uint64_t *out,
                           int32_t *count, int n, op_stream s)
{
    return status_of(cub::DeviceSelect::Unique(temp, bytes, key, out, count, n, s));
}

OP_END
