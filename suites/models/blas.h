/* blas.h - which of its kernels OpenBLAS takes in processes that are started from here on. */
#ifndef SUITES_MODELS_BLAS_H
#define SUITES_MODELS_BLAS_H

/*
 * A release of OpenBLAS that does not know a processor of AMD with AVX-512, as that of Debian 12,
 * takes its kernels for AVX2, where those for AVX-512 are nearly twice as fast; later releases take
 * these by themselves.  Where that is so, OPENBLAS_CORETYPE is set for child processes, since
 * OpenBLAS reads it while it is loaded.  A value that is there already is left alone.
 */
void blas_prefer_wide(void);

#endif
