/*
 * test_sass.c - stored listings give the counts that were taken by hand.
 *
 * Finds tests/data and configs from the top of the checkout or from tests/.
 */
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../harness/error.h"
#include "../harness/sass.h"
#include "test.h"

static struct sass_table *table;

static char *read_text(const char *path)
{
    FILE *f = fopen(path, "rb");
    char *text = calloc(1, 1 << 20);
    if (f && text && fread(text, 1, (1 << 20) - 1, f) == 0)
        text[0] = 0;
    if (f)
        fclose(f);
    return text;
}

static int listing(const char *name, struct sass_listing *out)
{
    char path[128];
    snprintf(path, sizeof path, "tests/data/sass/%s", name);
    char *text = read_text(path);
    const int status = text && *text ? sass_parse(text, out) : -1;
    free(text);
    return status;
}

static struct sass_report report_of(const struct sass_listing *l, const char *name, int sm)
{
    struct sass_report r = { 0 };
    const struct sass_function *f = sass_find(l, name, sm);
    CHECK(f && sass_analyse(table, f, &r) == 0);
    return r;
}

static void check_pipes(const struct sass_report *r, int tensor, int fma, int fp16x2, int alu,
                        int lsu, int control)
{
    const int *pipe = r->main.pipe;
    CHECK(pipe[SASS_TENSOR] == tensor);
    CHECK(pipe[SASS_FMA] == fma);
    CHECK(pipe[SASS_FP16X2] == fp16x2);
    CHECK(pipe[SASS_ALU] == alu);
    CHECK(pipe[SASS_XU] == 0);
    CHECK(pipe[SASS_LSU] == lsu);
    CHECK(pipe[SASS_CONTROL] == control);
    CHECK(pipe[SASS_OTHER] == 0 && r->whole.pipe[SASS_OTHER] == 0);
}

static void test_sm80(void)
{
    struct sass_listing l;
    CHECK(listing("sm_80.txt", &l) == 0 && l.count == 4);
    const struct sass_function *f = sass_find(&l, "mma_full", 80);
    CHECK(f && f->count == 57);
    CHECK_STR(f->arch, "sm_80");
    CHECK_STR(f->inst[0].opcode, "IMAD");
    CHECK_STR(f->inst[0].modifiers, "MOV.U32");
    CHECK_STR(f->inst[12].predicate, "P0");
    CHECK(f->inst[12].address == 0xc0 && f->inst[f->inst[12].target].address == 0x2d0);
    CHECK(f->inst[12].falls_through);
    CHECK_STR(f->inst[43].opcode, "HMMA");
    CHECK_STR(f->inst[43].modifiers, "16816.F32");
    CHECK(sass_find(&l, "mma_full", 90) == NULL && sass_find(&l, "no_such", 0) == NULL);

    struct sass_report full = report_of(&l, "mma_full", 80), nodeq = report_of(&l, "mma_nodeq", 0);
    CHECK(full.loop && full.first == 0x150 && full.last == 0x2c0);
    CHECK(full.main.instructions == 24);
    check_pipes(&full, 1, 3, 4, 12, 2, 2);
    CHECK(full.main.global_loads == 2 && full.main.tensor_macs == 2048);
    CHECK_NEAR(sass_core_per_tensor(&full), 19, 0);
    CHECK_NEAR(sass_core_per_1024mac(&full), 9.5, 0);
    CHECK(sass_comparable(&full, &nodeq));
    CHECK(sass_core_per_tensor(&nodeq) < sass_core_per_tensor(&full));
    CHECK(nodeq.main.pipe[SASS_FP16X2] == 0);

    /* unrolled by four, with a remainder of one: the larger is the main loop */
    struct sass_report imma = report_of(&l, "imma", 80);
    CHECK(imma.loop && imma.first == 0x360 && imma.last == 0x500);
    CHECK(imma.main.pipe[SASS_TENSOR] == 4 && imma.main.tensor_macs == 4 * 4096);
    CHECK(imma.whole.pipe[SASS_TENSOR] == 5);
    CHECK(!sass_comparable(&full, &imma));

    /* no tensor instruction: the longest loop */
    struct sass_report axpy = report_of(&l, "axpy", 80);
    CHECK(axpy.loop && axpy.first == 0x70 && axpy.last == 0x110);
    CHECK(axpy.main.global_loads == 2 && axpy.main.pipe[SASS_TENSOR] == 0);
    CHECK(isnan(sass_core_per_tensor(&axpy)) && isnan(sass_core_per_1024mac(&axpy)));
    sass_listing_free(&l);
    CHECK(l.count == 0);
}

static void test_sm90(void)
{
    struct sass_listing l;
    CHECK(listing("sm_90a.txt", &l) == 0 && l.count == 4);
    struct sass_report full = report_of(&l, "mma_full", 90), nodeq = report_of(&l, "mma_nodeq", 90);
    CHECK(full.first == 0x150 && full.last == 0x290 && full.main.instructions == 21);
    check_pipes(&full, 1, 0, 4, 11, 2, 3);
    CHECK(nodeq.first == 0x180 && nodeq.last == 0x260 && nodeq.main.instructions == 15);
    check_pipes(&nodeq, 1, 1, 0, 8, 2, 3);
    CHECK(sass_comparable(&full, &nodeq));
    CHECK_NEAR(sass_core_per_1024mac(&full) - sass_core_per_1024mac(&nodeq), 3, 1e-12);

    json_t *o = sass_report_json(table, sass_find(&l, "mma_full", 90), &full);
    CHECK(json_integer_value(json_object_get(json_object_get(o, "main_loop"), "alu")) == 11);
    CHECK_NEAR(json_real_value(json_object_get(o, "core_per_1024mac")), 7.5, 1e-12);
    CHECK_STR(json_string_value(json_object_get(o, "arch")), "sm_90a");
    CHECK_STR(json_string_value(json_array_get(json_object_get(o, "range"), 1)), "0x290");
    CHECK(json_object_size(json_object_get(o, "unknown_opcodes")) == 0);
    json_decref(o);
    sass_listing_free(&l);

    /* a wait moved behind the end jumps back, and is no loop around the product */
    CHECK(listing("sm_90a_wgmma.txt", &l) == 0 && l.count == 1);
    struct sass_report wait = report_of(&l, "wgmma_wait", 90);
    CHECK(wait.loop && wait.first == 0xf0 && wait.last == 0x1f0);
    CHECK(wait.main.pipe[SASS_TENSOR] == 1 && wait.main.tensor_macs == 64 * 8 * 16 / 4);
    CHECK(wait.main.instructions == 17 && wait.main.pipe[SASS_OTHER] == 0);
    sass_listing_free(&l);
}

/* What the stored listings do not have: labels, several images, nested loops,
 * barriers of divergence, unknown opcodes, shapes of other chips. */
static const char synthetic[] =
    "arch = sm_80\n"
    "\tcode for sm_80\n"
    "\t\tFunction : _Z1fv\n"
    "        /*0000*/                   EXIT ;\n"
    "\tcode for sm_90\n"
    "\t\tFunction : _Z1fv\n"
    "        /*0000*/                   HMMA.1688.F32 R0, R0, R0, R0 ;\n"
    "        /*0010*/                   EXIT ;\n"
    "\tcode for sm_90a\n"
    "\t\tFunction : _Z1fv\n"
    "        /*0000*/                   MOV R1, RZ ;    /* 0x000000ff00017202 */\n"
    "                                                   /* 0x000fe40000000f00 */\n"
    ".L_x_1:\n"
    "        /*0010*/                   DMMA.8x8x4 R0, R0, R0, R0 ;\n"
    ".L_x_0:\n"
    "        /*0020*/                   IMMA.8816.S8.S8 R0, R0, R0, R0 ;\n"
    "        /*0030*/                   HMMA.SP.16832.F32 R0, R0, R0, R0 ;\n"
    "        /*0040*/                   FROBNICATE.X R0 ;\n"
    "        /*0050*/               @P1 BRA `(.L_x_0) ;\n"
    "        /*0060*/                   BSSY B0, `(.L_x_2) ;\n"
    "        /*0070*/              @!P2 BRA `(.L_x_3) ;\n"
    "        /*0080*/                   I2F R0, R0 ;\n"
    "        /*0090*/                   BSYNC B0 ;\n"
    ".L_x_3:\n"
    "        /*00a0*/                   I2FP.F32.S32 R0, R0 ;\n"
    "        /*00b0*/                   BSYNC B0 ;\n"
    ".L_x_2:\n"
    "        /*00c0*/                   BRA.U !UP0, `(.L_x_1) ;\n"
    "        /*00d0*/                   EXIT ;\n"
    ".L_x_4:\n"
    "        /*00e0*/                   BRA `(.L_x_4);\n";

/* The wait stands late in the loop and its way back is short: what lies between
 * the jump and its target looks like a smaller loop around the product. */
static const char late_wait[] =
    "code for sm_90a\n"
    "Function : late\n"
    "/*0000*/ MOV R1, RZ ;\n"
    "/*0010*/ LDG.E R2, [R2.64] ;\n"
    "/*0020*/ IADD3 R3, R3, 0x1, RZ ;\n"
    "/*0030*/ LOP3.LUT R4, R4, R5, RZ, 0xc0, !PT ;\n"
    "/*0040*/ LOP3.LUT R4, R4, R5, RZ, 0xc0, !PT ;\n"
    "/*0050*/ LOP3.LUT R4, R4, R5, RZ, 0xc0, !PT ;\n"
    "/*0060*/ SYNCS.PHASECHK.TRANS64.TRYWAIT P0, [R0], R3 ;\n"
    "/*0070*/ @!P0 BRA 0xb0 ;\n"
    "/*0080*/ HGMMA.64x128x16.F32 R24, gdesc[UR4], R24, gsb0 ;\n"
    "/*0090*/ @P1 BRA 0x10 ;\n"
    "/*00a0*/ EXIT ;\n"
    "/*00b0*/ SYNCS.PHASECHK.TRANS64.TRYWAIT P0, [R0], R3 ;\n"
    "/*00c0*/ @!P0 BRA 0xb0 ;\n"
    "/*00d0*/ BRA 0x80 ;\n"
    "/*00e0*/ BRA 0xe0;\n";

static void test_late_wait(void)
{
    struct sass_listing l;
    CHECK(sass_parse(late_wait, &l) == 0 && l.count == 1);
    struct sass_report r = report_of(&l, "late", 90);
    CHECK(r.loop && r.first == 0x10 && r.last == 0x90);
    CHECK(r.main.pipe[SASS_ALU] == 4 && r.main.pipe[SASS_TENSOR] == 1);
    CHECK(r.main.tensor_macs == 64 * 128 * 16 / 4);
    sass_listing_free(&l);
}

static void test_synthetic(void)
{
    struct sass_listing l;
    CHECK(sass_parse(synthetic, &l) == 0 && l.count == 3);
    const struct sass_function *f = sass_find(&l, "_Z1f", 90);
    CHECK(f && !strcmp(f->arch, "sm_90a"));
    CHECK(sass_find(&l, "_Z1fv", 80) == &l.function[0]);
    CHECK(f->inst[5].target == 2 && f->inst[9].target == 12 && !f->inst[9].falls_through);
    CHECK(f->inst[12].target == 1 && f->inst[12].falls_through);
    struct sass_report r = report_of(&l, "_Z1f", 90);
    /* the outer loop holds three, but only one of its own */
    CHECK(r.loop && r.first == 0x20 && r.last == 0x50);
    CHECK(r.main.pipe[SASS_TENSOR] == 2 && r.main.pipe[SASS_OTHER] == 1);
    CHECK(r.main.tensor_macs == 8 * 8 * 16 + 16 * 8 * 32 && r.main.macs_known);
    CHECK(r.whole.tensor_macs == r.main.tensor_macs + 8 * 8 * 4);
    CHECK(r.whole.pipe[SASS_XU] == 1 && r.whole.pipe[SASS_ALU] == 2);
    json_t *o = sass_report_json(table, f, &r);
    CHECK(json_integer_value(json_object_get(json_object_get(o, "unknown_opcodes"),
                                             "FROBNICATE")) == 1);
    json_decref(o);
    /* no loop: the whole function */
    CHECK(sass_analyse(table, &l.function[1], &r) == 0);
    CHECK(!r.loop && r.main.instructions == 2 && r.main.tensor_macs == 1024);
    sass_listing_free(&l);

    CHECK(sass_parse("", &l) == 0 && l.count == 0);
    sass_listing_free(&l);
    CHECK(sass_parse("Function : f\n", &l) == 0 && l.count == 1);
    CHECK(sass_analyse(table, &l.function[0], &r) == -1);
    sass_listing_free(&l);
    CHECK(sass_parse("Function : f\n/*0000*/ ;\n", &l) == -1);
}

static void test_table(void)
{
    CHECK(sass_pipe_of(table, "IMAD") == SASS_FMA);
    CHECK(sass_pipe_of(table, "I2F") == SASS_XU && sass_pipe_of(table, "I2FP") == SASS_ALU);
    CHECK(sass_pipe_of(table, "F2F") == SASS_XU && sass_pipe_of(table, "F2FP") == SASS_ALU);
    CHECK(sass_pipe_of(table, "SHF") == SASS_ALU && sass_pipe_of(table, "SHFL") == SASS_LSU);
    CHECK(sass_pipe_of(table, "UTMALDG") == SASS_LSU);
    CHECK(sass_pipe_of(table, "ULOP3") == SASS_UNIFORM);
    CHECK(sass_pipe_of(table, "UTCHMMA") == SASS_TENSOR);
    CHECK(sass_pipe_of(table, "LDGSTS") == SASS_LSU);
    CHECK(sass_pipe_of(table, "LDGDEPBAR") == SASS_CONTROL);
    CHECK(sass_pipe_of(table, "RED") == SASS_LSU && sass_pipe_of(table, "REDUX") == SASS_UNIFORM);
    CHECK(sass_pipe_of(table, "XYZ") == SASS_OTHER && sass_pipe_of(table, "") == SASS_OTHER);
    struct sass_table *none;
    CHECK(sass_table_load("configs/no_such.json", &none) == -1 && !none);
    CHECK(strstr(cb_error_text(), "no_such.json") != NULL);
}

static void test_tool(void)
{
    char path[512], *text;
    setenv("CUOBJDUMP", "/nonexistent/cuobjdump", 1);
    CHECK(sass_tool(path, sizeof path) == -1);
    setenv("CUOBJDUMP", "/bin/echo", 1);
    CHECK(sass_tool(path, sizeof path) == 0);
    CHECK_STR(path, "/bin/echo");
    /* any program that prints can stand in */
    CHECK(sass_dump("/bin/echo", "name", NULL, 0, &text) == 0);
    CHECK_STR(text, "-sass name\n");
    free(text);
    CHECK(sass_dump("/bin/false", "name", NULL, 0, &text) == -1 && !text);
    CHECK(sass_dump("/nonexistent/tool", "name", NULL, 0, &text) == -1 && !text);
    /* with parts: the first function of -symbols for each */
    static const char *const part[] = { "own_stream", "gone" };
    snprintf(path, sizeof path, "/tmp/test_sass_%ld", (long)getpid());
    FILE *f = fopen(path, "w");
    fputs("#!/bin/sh\ncase $1 in -symbols) printf 'FUNC X _Z10own_streamILi1E\\nOBJECT own_stream_x\\n"
          "FUNC X other\\nFUNC X _Z10own_streamILi2E\\n';; *) echo \"$@\";; esac\n", f);
    fclose(f);
    CHECK(!chmod(path, 0700));
    CHECK(sass_dump(path, "name", part, 2, &text) == 0);
    CHECK_STR(text ? text : "", "-sass name -fun _Z10own_streamILi1E\n");
    free(text);
    CHECK(sass_dump(path, "name", part + 1, 1, &text) == -1 && !text);
    remove(path);
    unsetenv("CUOBJDUMP");
    if (sass_tool(path, sizeof path))
        SKIP("test_sass: cuobjdump is not installed");
}

int main(void)
{
    if (access("configs/sass.json", R_OK) && chdir(".."))
        return 1;
    if (sass_table_load("configs/sass.json", &table)) {
        printf("%s\n", cb_error_text());
        return 1;
    }
    test_table();
    test_sm80();
    test_sm90();
    test_synthetic();
    test_late_wait();
    test_tool();
    sass_table_free(table);
    return TEST_END();
}
