/* test_shard.c - every item has one part, units stay together, parts take about as long. */
#include "../suites/shard.h"

#include <stdint.h>

#include "../harness/error.h"
#include "../harness/stats.h"
#include "test.h"

enum { N = 200 };

static void parsed(void)
{
    static const char *const bad[] = { "",    "1",    "/2",  "0/2", "3/2",  "1/0", "1/2 ",
                                       "a/b", "1/2/3", "-1/2", "1/-2", "1/999999999" };
    int i, n;
    CHECK(shard_parse("1/1", &i, &n) == 0 && i == 1 && n == 1);
    CHECK(shard_parse("7/12", &i, &n) == 0 && i == 7 && n == 12);
    for (size_t k = 0; k < sizeof bad / sizeof *bad; k++) {
        CHECK(shard_parse(bad[k], &i, &n) == -1);
        CHECK(strstr(cb_error_text(), "--shard") != NULL);
    }
}

/* Largest load over the smallest; every part in range. */
static double imbalance(const double *cost, const int *owner, int n, int parts, int *empty)
{
    double load[N] = { 0 }, most = 0, least = 1e300;
    *empty = 0;
    for (int i = 0; i < n; i++) {
        CHECK(owner[i] >= 1 && owner[i] <= parts);
        load[owner[i] - 1] += cost[i];
    }
    for (int p = 0; p < parts; p++) {
        most = load[p] > most ? load[p] : most;
        least = load[p] < least ? load[p] : least;
        *empty += load[p] == 0;
    }
    return most / least;
}

static void dealt(void)
{
    double cost[N];
    int unit[N], owner[N], again[N], empty;
    uint64_t state = 7;
    for (int i = 0; i < N; i++) {
        cost[i] = 0.5 + (double)(cb_splitmix(&state) % 1000) / 100;
        unit[i] = i / 4;
    }
    for (int parts = 1; parts <= 16; parts++) {
        CHECK(shard_deal(cost, unit, N, parts, owner) == 0);
        CHECK(imbalance(cost, owner, N, parts, &empty) < 1.25 && !empty);
        for (int i = 0; i < N; i++)
            CHECK(owner[i] == owner[i / 4 * 4]);
        CHECK(shard_deal(cost, unit, N, parts, again) == 0);
        CHECK(!memcmp(owner, again, sizeof owner));
    }
    /* a unit larger than half a part is broken up */
    for (int i = 0; i < N; i++)
        unit[i] = i < N / 2;
    CHECK(shard_deal(cost, unit, N, 8, owner) == 0);
    CHECK(imbalance(cost, owner, N, 8, &empty) < 1.1 && !empty);
    /* one item costs more than all others: nobody else gets anything beside it */
    cost[3] = 1e6;
    CHECK(shard_deal(cost, unit, N, 4, owner) == 0);
    for (int i = 0; i < N; i++)
        CHECK(i == 3 || owner[i] != owner[3]);
    CHECK(shard_deal(cost, unit, N, N, owner) == 0);
    imbalance(cost, owner, N, N, &empty);
    CHECK(!empty); /* as many parts as items */
    CHECK(shard_deal(cost, unit, 3, 5, owner) == 0);
    imbalance(cost, owner, 3, 5, &empty);
    CHECK(empty == 2);
    /* costs that are all zero still give every item one part */
    memset(cost, 0, sizeof cost);
    CHECK(shard_deal(cost, unit, N, 3, owner) == 0);
    imbalance(cost, owner, N, 3, &empty);
    CHECK(shard_deal(cost, unit, 0, 3, owner) == 0);
}

int main(void)
{
    parsed();
    dealt();
    return TEST_END();
}
