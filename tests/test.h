/*
 * test.h - the test framework: CHECK counts, TEST_END reports.
 *
 * A failed check prints file, line and expression and the test goes on.
 */
#ifndef TESTS_TEST_H
#define TESTS_TEST_H

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int test_passed, test_failed, test_skipped;

#define CHECK(condition)                                                              \
    do {                                                                              \
        if (condition) {                                                              \
            test_passed++;                                                            \
        } else {                                                                      \
            test_failed++;                                                            \
            printf("%s:%d: failed: %s\n", __FILE__, __LINE__, #condition);            \
        }                                                                             \
    } while (0)

#define CHECK_NEAR(a, b, tolerance)                                                   \
    do {                                                                              \
        double test_a = (a), test_b = (b);                                            \
        if (fabs(test_a - test_b) <= (tolerance)) {                                   \
            test_passed++;                                                            \
        } else {                                                                      \
            test_failed++;                                                            \
            printf("%s:%d: failed: %s = %.12g, not %.12g\n", __FILE__, __LINE__, #a,  \
                   test_a, test_b);                                                   \
        }                                                                             \
    } while (0)

#define CHECK_STR(a, b)                                                               \
    do {                                                                              \
        const char *test_a = (a), *test_b = (b);                                      \
        if (test_a && !strcmp(test_a, test_b)) {                                      \
            test_passed++;                                                            \
        } else {                                                                      \
            test_failed++;                                                            \
            printf("%s:%d: failed: %s is\n  '%s', not\n  '%s'\n", __FILE__, __LINE__, \
                   #a, test_a ? test_a : "(null)", test_b);                           \
        }                                                                             \
    } while (0)

/* Whether it is this case's turn: every TEST_EVERY-th, by default every one. For tools under which
 * a program takes a hundred times as long. */
static inline int test_takes(void)
{
    static int every, turn;
    const char *given = getenv("TEST_EVERY");
    if (!every)
        every = given && atoi(given) > 1 ? atoi(given) : 1;
    return turn++ % every == 0;
}

/* Says aloud that something could not be tested here. */
#define SKIP(text)                     \
    do {                               \
        test_skipped++;                \
        printf("SKIP %s\n", text);     \
    } while (0)

static inline int test_end(void)
{
    if (test_skipped)
        printf("%d passed, %d failed, %d skipped\n", test_passed, test_failed, test_skipped);
    else
        printf("%d passed, %d failed\n", test_passed, test_failed);
    return test_failed != 0;
}
#define TEST_END() test_end()

#endif
