/* test_share.c - scratch that layers share: how much is taken, and what stays. */
#include <stdlib.h>
#include <string.h>

#include "../kernels/common/share.h"
#include "test.h"

enum { BLOCKS = 64 };

struct pool {
    void *block[BLOCKS];
    int count;
    size_t bytes, left;
};

static void *take(void *context, size_t bytes)
{
    struct pool *p = context;
    if (p->count == BLOCKS || bytes > p->left)
        return NULL;
    p->left -= bytes;
    p->bytes += bytes;
    return p->block[p->count++] = calloc(1, bytes);
}

static void pool_free(struct pool *p)
{
    for (int i = 0; i < p->count; i++)
        free(p->block[i]);
}

/* Requests in any order: every block is as large as was asked for, and all of them together have
 * less than four times the largest. */
static void try_requests(void)
{
    for (unsigned turn = 1; turn <= 50; turn++) {
        unsigned seed = turn;
        struct pool pool = { .left = (size_t)1 << 30 };
        struct op_share share = { .from = { take, &pool } };
        const struct op_memory memory = op_share_memory(&share);
        char *first = op_scratch(&memory, 100);
        size_t most = 100;
        CHECK(first && share.bytes == 100);
        memset(first, 0x5a, 100);
        for (int i = 0; i < 200; i++) {
            seed = seed * 1103515245u + 12345u;
            const size_t bytes = 1 + (seed >> 8) % 100000;
            char *at = op_scratch(&memory, bytes);
            most = bytes > most ? bytes : most;
            CHECK(at && at == share.at && share.bytes >= bytes);
            memset(at, i, bytes); /* a sanitizer sees what is too short */
            CHECK(pool.bytes < 4 * most);
        }
        CHECK(pool.count > 1 && pool.count < 12);
        CHECK(first[99] == 0x5a && op_scratch(&memory, most) == share.at); /* the first stays */
        pool_free(&pool);
    }
}

/* Memory that is not shared gives each its own; what set-up keeps is its own too. */
static void try_own(void)
{
    struct pool pool = { .left = 1000 };
    const struct op_memory memory = { take, &pool };
    struct op_share share = { .from = memory };
    const struct op_memory shared = op_share_memory(&share);
    void *a = op_scratch(&memory, 100), *b = op_scratch(&memory, 100);
    CHECK(a && b && a != b && pool.count == 2);
    a = op_scratch(&shared, 100);
    b = op_scratch(&shared, 50);
    CHECK(a && a == b && pool.count == 3);
    b = shared.take(shared.context, 50);
    CHECK(b && a != b && pool.count == 4);
    CHECK(!op_scratch(&shared, 2000) && op_scratch(&shared, 100) == a); /* none left */
    pool_free(&pool);
}

int main(void)
{
    try_requests();
    try_own();
    return TEST_END();
}
