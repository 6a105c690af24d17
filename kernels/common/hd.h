/* hd.h - functions that host and device share are written once, in plain C. */
#ifndef KERNELS_COMMON_HD_H
#define KERNELS_COMMON_HD_H

#ifdef __CUDACC__
#define HD __host__ __device__ static inline
#else
#define HD static inline
#endif

#endif
