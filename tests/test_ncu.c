/*
 * test_ncu.c - texts in the form of the profiler give the counts that were put in; a profiler
 * that is a script shows how the program calls it.
 */
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../harness/error.h"
#include "../harness/ncu.h"
#include "../suites/execute.h"
#include "test.h"

static struct sass_table *table;

#define HEAD "\"ID\",\"Kernel Name\",\"Block Size\",\"Grid Size\","
/* two rows: one of two launches, one of one; something before the first mark */
static const char wide[] =
    "==PROF== Connected to process 7\n"
    HEAD "\"sass__inst_executed_per_opcode\",\"smsp__inst_executed.sum\"\n"
    "\"\",\"\",\"\",\"\",\"inst\",\"inst\"\n"
    "\"0\",\"fill\",\"(32, 1, 1)\",\"(9, 1, 1)\",\"5 (MOV: 5)\",\"5\"\n"
    "\"1\",\"mark_kernel()\",\"(1, 1, 1)\",\"(1, 1, 1)\",\"1 (EXIT: 1)\",\"1\"\n"
    "\"2\",\"void gemm<4, (bool)1>(const char *, \"\"x\"\")\",\"(32, 1, 1)\",\"(3, 1, 1)\","
    "\"1,260 (HMMA: 1,000; LOP3: 200; I2F.U8: 50; LDG: 10)\",\"1,270\"\n"
    "\"3\",\"reduce\",\"(32, 1, 1)\",\"(1, 1, 1)\",\"40 (FFMA: 30; NEWOP: 10)\",\"40\"\n"
    "\"4\",\"(anonymous namespace)::mark_kernel()\",\"(1, 1, 1)\",\"(2, 1, 1)\",\"2 (EXIT: 2)\",\"2\"\n"
    "\"5\",\"gemv\",\"(32, 1, 1)\",\"(1, 1, 1)\",\"7 (HFMA2: 4; IMAD: 3)\",\"7\"\n";

static const char deep[] =
    HEAD "\"Metric Name\",\"Metric Unit\",\"Metric Value\"\n"
    "\"1\",\"mark_kernel\",\"(1, 1, 1)\",\"(2, 1, 1)\",\"sass__inst_executed_per_opcode\",\"inst\",\"1 (EXIT: 1)\"\n"
    "\"1\",\"mark_kernel\",\"(1, 1, 1)\",\"(2, 1, 1)\",\"smsp__inst_executed.sum\",\"inst\",\"1\"\n"
    "\"2\",\"k\",\"(1, 1, 1)\",\"(1, 1, 1)\",\"sass__inst_executed_per_opcode\",\"inst\",\"12 (IMMA: 8; PRMT: 4)\"\n"
    "\"2\",\"k\",\"(1, 1, 1)\",\"(1, 1, 1)\",\"smsp__inst_executed.sum\",\"inst\",\"12\"\n";

static void test_forms(void)
{
    struct ncu_counts c[2];
    CHECK(!ncu_parse(wide, table, c, 2));
    CHECK(c[0].launches == 2 && c[1].launches == 1);
    CHECK_NEAR(c[0].all, 1300, 0);
    CHECK_NEAR(c[0].pipe[SASS_TENSOR], 1000, 0);
    CHECK_NEAR(c[0].pipe[SASS_ALU], 200, 0);
    CHECK_NEAR(c[0].pipe[SASS_XU], 50, 0);
    CHECK_NEAR(c[0].pipe[SASS_LSU], 10, 0);
    CHECK_NEAR(c[0].pipe[SASS_FMA], 30, 0);
    CHECK_NEAR(c[0].pipe[SASS_OTHER], 10, 0);
    CHECK_NEAR(c[0].counter, 1310, 0);
    CHECK_NEAR(c[1].pipe[SASS_FP16X2], 4, 0);
    CHECK_NEAR(c[1].all, 7, 0);
    CHECK(!ncu_parse(deep, table, c, 2));
    CHECK(!c[0].launches && c[1].launches == 1);
    CHECK_NEAR(c[1].pipe[SASS_TENSOR], 8, 0);
    CHECK_NEAR(c[1].counter, 12, 0);
}

/* The columns stand behind 400 others. */
static void test_many_columns(void)
{
    static char text[40000];
    struct ncu_counts c[1];
    int n = 0;
    for (int line = 0; line < 3; line++) {
        static const char *const first[] = { HEAD, "\"1\",\"mark_kernel()\",\"\",\"(1, 1, 1)\",",
                                             "\"2\",\"k\",\"\",\"(1, 1, 1)\"," };
        static const char *const last[] = { "\"sass__inst_executed_per_opcode\"\n",
                                            "\"1 (EXIT: 1)\"\n", "\"9 (HMMA: 4; LDG: 5)\"\n" };
        n += snprintf(text + n, sizeof text - (size_t)n, "%s", first[line]);
        for (int i = 0; i < 400; i++)
            n += snprintf(text + n, sizeof text - (size_t)n, "\"attribute %d\",", i);
        n += snprintf(text + n, sizeof text - (size_t)n, "%s", last[line]);
    }
    CHECK(!ncu_parse(text, table, c, 1));
    CHECK(c[0].launches == 1);
    CHECK_NEAR(c[0].pipe[SASS_TENSOR], 4, 0);
    CHECK_NEAR(c[0].all, 9, 0);
}

/* What a text with one thing changed gives: the error holds `says`. */
static void refused(const char *from, const char *to, const char *says)
{
    char text[4096];
    struct ncu_counts c[2];
    const char *at = strstr(wide, from);
    CHECK(at != NULL);
    if (!at)
        return;
    snprintf(text, sizeof text, "%.*s%s%s", (int)(at - wide), wide, to, at + strlen(from));
    cb_error_clear();
    CHECK(ncu_parse(text, table, c, 2) == -1);
    CHECK(strstr(cb_error_text(), says) != NULL);
}

static void test_refused(void)
{
    struct ncu_counts c[2];
    refused("(2, 1, 1)", "(3, 1, 1)", "mark (3, 1, 1) of 2");
    refused("7 (HFMA2: 4; IMAD: 3)", "7", "no opcodes in '7'");
    refused("FFMA: 30", "FFMA: n/a", "no count of FFMA");
    refused("\"Grid Size\"", "\"Grid\"", "no column");
    refused("\"sass__inst_executed_per_opcode\"", "\"sass\"", "no column sass__inst");
    refused(",\"7\"\n", "\n", "a line of 5 fields under a head of 6");
    CHECK(ncu_parse("==ERROR== nothing\n", table, c, 2) == -1);
    CHECK(ncu_parse("", table, c, 2) == -1);
    for (size_t n = 0; n < sizeof wide; n += 7) { /* cut anywhere: an answer, and no fault */
        char text[sizeof wide] = "";
        memcpy(text, wide, n);
        (void)ncu_parse(text, table, c, 2);
    }
}

/* ---- a profiler that is a script ---- */

static int script(const char *path, const char *body)
{
    FILE *f = fopen(path, "w");
    if (!f || fprintf(f, "#!/bin/sh\n%s", body) < 0 || fclose(f))
        return -1;
    return chmod(path, 0755);
}

static void test_called(void)
{
    char folder[] = "/tmp/claimbench_ncu_XXXXXX", tool[64], said[96], body[4096], text[2048] = "";
    static const char *const rows[] = { "one", "two" };
    struct ncu_counts c[2];
    CHECK(mkdtemp(folder) != NULL);
    snprintf(tool, sizeof tool, "%s/ncu", folder);
    snprintf(said, sizeof said, "%s/said", folder);
    setenv("NCU", tool, 1);
    CHECK(execute_counted("gemm", "{}", "GPU-1", rows, 2, c) == -1);
    CHECK(strstr(cb_error_text(), "NCU: ") != NULL);

    snprintf(body, sizeof body, "echo \"$@\" > %s\nwhile [ \"$1\" != --log-file ]; do shift; done\n"
                                "cat > \"$2\" <<'END'\n%sEND\n", said, wide);
    CHECK(!script(tool, body));
    CHECK(!execute_counted("gemm", "{\"m\":1}", "GPU-1", rows, 2, c));
    CHECK(c[0].launches == 2 && c[1].launches == 1);
    FILE *f = fopen(said, "r");
    CHECK(f && fgets(text, sizeof text, f));
    if (f)
        fclose(f);
    CHECK(strstr(text, "--clock-control none --profile-from-start off") != NULL);
    CHECK(strstr(text, " execute gemm {\"m\":1} GPU-1 one two\n") != NULL);

    CHECK(!script(tool, "while [ \"$1\" != --log-file ]; do shift; done\n"
                        "echo '==ERROR== ERR_NVGPUCTRPERM' > \"$2\"\nexit 1\n"));
    CHECK(execute_counted("gemm", "{}", "GPU-1", rows, 2, c) == -1);
    CHECK_STR(cb_error_text(), "ncu: ERR_NVGPUCTRPERM");
    CHECK(execute_counted("gemm", "{}", "GPU-1", rows, 0, c) == -1);
    unlink(said);
    unlink(tool);
    rmdir(folder);
    unsetenv("NCU");
}

static void test_verb(void)
{
    static const char *const good[] = { "gemm", "{\"m\":3,\"n\":64,\"k\":256}", "", "ref_f16" };
    static const char *const row[] = { "gemm", "{\"m\":3,\"n\":64,\"k\":256}", "", "nobody" };
    static const char *const json[] = { "gemm", "{\"m\":", "", "ref_f16" };
    static const char *const op[] = { "nothing", "{}", "", "ref_f16" };
    static const char *const untimed[] = { "executed", "{\"m\":3,\"n\":64,\"k\":256}", "", "ref_f16" };
    CHECK(execute_verb(good, 3) == 2); /* no row */
    CHECK(execute_verb(row, 4) == 2 && execute_verb(json, 4) == 2 && execute_verb(op, 4) == 2);
    CHECK(execute_verb(untimed, 4) == 2);
    CHECK(execute_verb(good, 4) == 3); /* a GPU that is not there */
}

int main(void)
{
    if (access("configs/sass.json", F_OK) && chdir(".."))
        return 1;
    CHECK(!sass_table_load("configs/sass.json", &table));
    test_forms();
    test_many_columns();
    test_refused();
    test_called();
    test_verb();
    sass_table_free(table);
    return TEST_END();
}
