/* shard.c - longest first, to whoever has least. */
#include "shard.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../harness/error.h"

enum { PARTS_MAX = 100000 };

struct lot { /* what is dealt as one */
    int first; /* item */
    double cost;
};

int shard_parse(const char *text, int *index, int *count)
{
    int used = 0;
    if (sscanf(text, "%6d/%6d%n", index, count, &used) != 2 || text[used] || *index < 1 ||
        *count < *index || *count > PARTS_MAX)
        return cb_error("--shard '%s': I/N is meant, the I-th (from 1) of N parts", text);
    return 0;
}

static int by_cost(const void *a, const void *b)
{
    const struct lot *x = a, *y = b;
    return x->cost != y->cost ? (x->cost < y->cost) - (x->cost > y->cost)
                              : (x->first > y->first) - (x->first < y->first);
}

/* lot_of[i]: the lot of item i; items of a unit that costs too much are lots of their own.
 * Returns the number of lots. */
static int make_lots(const double *cost, const int *unit, int n, double most, struct lot *lot,
                     int *lot_of)
{
    int lots = 0;
    for (int i = 0; i < n; i++) {
        double sum = 0;
        int first = i;
        for (int k = 0; k < n; k++)
            if (unit[k] == unit[i]) {
                sum += cost[k];
                first = k < first ? k : first;
            }
        if (sum > most || first == i) {
            lot_of[i] = lots;
            lot[lots++] = (struct lot){ i, sum > most ? cost[i] : sum };
        } else {
            lot_of[i] = lot_of[first];
        }
    }
    return lots;
}

int shard_deal(const double *cost, const int *unit, int n, int parts, int *owner)
{
    struct lot *lot = malloc((size_t)(n + 1) * sizeof *lot);
    int *lot_of = malloc((size_t)(n + 1) * sizeof *lot_of);
    int *part_of = malloc((size_t)(n + 1) * sizeof *part_of); /* of the lot that begins there */
    double *load = calloc((size_t)parts, sizeof *load), total = 0;
    int status = -1;
    if (!lot || !lot_of || !part_of || !load) {
        cb_error("no memory for a plan");
        goto done;
    }
    for (int i = 0; i < n; i++)
        total += cost[i];
    int lots = make_lots(cost, unit, n, total / (2 * parts), lot, lot_of);
    if (lots < parts)
        lots = make_lots(cost, unit, n, -1, lot, lot_of);
    for (int i = 0; i < n; i++)
        lot_of[i] = lot[lot_of[i]].first; /* names that outlive sorting */
    qsort(lot, (size_t)lots, sizeof *lot, by_cost);
    for (int l = 0; l < lots; l++) {
        int least = 0;
        for (int p = 1; p < parts; p++)
            if (load[p] < load[least])
                least = p;
        load[least] += lot[l].cost;
        part_of[lot[l].first] = least + 1;
    }
    for (int i = 0; i < n; i++)
        owner[i] = part_of[lot_of[i]];
    status = 0;
done:
    free(lot);
    free(lot_of);
    free(part_of);
    free(load);
    return status;
}
