/* sparse_net_scan.h - a small scan in a file, for tests of networks. */
#ifndef TESTS_SPARSE_NET_SCAN_H
#define TESTS_SPARSE_NET_SCAN_H

#include <math.h>
#include <stdio.h>
#include <string.h>

/* `points` of a bent wall and strays in 6 m; name: "kitti:PATH". */
static inline void sparse_net_scan(const char *name, int points)
{
    FILE *f = fopen(name + strlen("kitti:"), "wb");
    for (int i = 0; i < points; i++) {
        const float a = (float)(i % 40) * .06f, b = (float)(i / 40) * .05f;
        const float p[4] = { a, i % 7 ? sinf(a) : (float)(i % 91) * .07f, b, (float)i / 600 };
        fwrite(p, sizeof p, 1, f);
    }
    fclose(f);
}

#endif
