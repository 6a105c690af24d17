/* units.cuh - what the kernels of units.cu share: units, and the state of a run. */
#ifndef KERNELS_PILLAR_UNITS_CUH
#define KERNELS_PILLAR_UNITS_CUH

#include <stdint.h>

#include "pillar.h"

constexpr unsigned ALL = 0xffffffffu;
constexpr int UNIT = 8;             /* points */
constexpr int UNITS = 32, OF_WARP = 4, THREADS = UNITS / OF_WARP * 32;
constexpr int HIDDEN = PILLAR_HIDDEN, OUT = PILLAR_OUT, MERGED = HIDDEN + OUT;
typedef unsigned long long wide;

/* What is known of a pillar; each of its units has a copy. */
struct alignas(16) unit_of {
    float mean[3];
    int pillar;
    float x, y;        /* centre of the cell */
    int points, first; /* points; its first unit */
};
static_assert(sizeof(unit_of) == 32, "two words of 16 bytes");

struct units_state {
    int *count;        /* [chunks CHUNK] points of a cell; all zero between runs */
    wide *sum;         /* [cells][4] coordinates from the centre, in steps; likewise */
    int *chunk;        /* [2][chunks] units, pillars; likewise */
    unsigned *scratch; /* [tiles][MERGED] maxima as ordered integers of the pillar that begins in
                          the tile and ends behind it; likewise */
    uint4 *pillar;     /* [cells][2] unit_of */
    int2 *at;          /* [points] cell or -1, number in it */
    uint4 *unit;       /* [units][2] unit_of */
    float4 *point;     /* [units][UNIT][2] d a | b - - - */
    int *across;       /* [tiles] pillar that begins in the tile and ends behind it, or -1 */
    int *units;        /* in use */
    int cells, chunks, tiles, blocks;
};

#endif
