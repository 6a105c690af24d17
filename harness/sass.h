/*
 * sass.h - static counts of machine instructions, from a disassembler's text.
 *
 * What conversion of codes costs shows in the instructions of the main loop:
 * how many run on the CUDA cores for each tensor instruction.  The text is
 * that of `cuobjdump -sass` (or nvdisasm); which opcode belongs to which pipe
 * is data, configs/sass.json.
 *
 *   loop       from a backward branch to its target, where every way to the
 *              branch leads through the target
 *   main loop  the one with the most tensor instructions that are in no smaller
 *              such loop; without any, the longest loop that holds no other
 */
#ifndef HARNESS_SASS_H
#define HARNESS_SASS_H

#include <jansson.h>
#include <stdbool.h>

struct sass_inst {
    long address;
    char predicate[8];   /* "!P0"; "" if it always runs */
    char opcode[24];     /* "HMMA" */
    char modifiers[64];  /* "16816.F32" */
    int target;          /* index of the instruction that it may go on at; -1: none */
    bool falls_through;  /* may go on at the next one */
    int barrier;         /* BSSY, BSYNC: number of the convergence barrier; else -1 */
};

struct sass_function {
    char *name, arch[16]; /* mangled; "sm_90a" */
    struct sass_inst *inst;
    int count;
};

struct sass_listing {
    struct sass_function *function;
    int count;
};

/* Pipes, in the order of reports. */
enum sass_pipe { SASS_TENSOR, SASS_FMA, SASS_FP16X2, SASS_ALU, SASS_XU, SASS_LSU, SASS_UNIFORM,
                 SASS_CONTROL, SASS_OTHER, SASS_PIPES };
const char *sass_pipe_name(enum sass_pipe p);

struct sass_counts {
    int instructions, pipe[SASS_PIPES];
    int global_loads;  /* a part of lsu: what full and nodeq must have in equal number */
    double tensor_macs; /* multiply-adds of one warp in its tensor instructions */
    bool macs_known;   /* false if the shape of one of them is not known */
};

/* Prefix table, opened from configs/sass.json. */
struct sass_table;
int sass_table_load(const char *path, struct sass_table **out);
void sass_table_free(struct sass_table *t); /* accepts NULL */
/* By the longest prefix; SASS_OTHER if there is none. */
enum sass_pipe sass_pipe_of(const struct sass_table *t, const char *opcode);

/* Reads a listing, of any number of functions and architectures.  0 or -1. */
int sass_parse(const char *text, struct sass_listing *out);
void sass_listing_free(struct sass_listing *l);
/* The function whose symbol is name, else the first that contains it, for
 * compute capability sm (90 finds sm_90a before sm_90; 0: any).  NULL: none. */
const struct sass_function *sass_find(const struct sass_listing *l, const char *name, int sm);

struct sass_report {
    bool loop;         /* false: no loop, main is the whole function */
    long first, last;  /* addresses of the main loop */
    struct sass_counts whole, main;
};
int sass_analyse(const struct sass_table *t, const struct sass_function *f,
                 struct sass_report *out);
/* Instructions of the CUDA cores (fma, fp16x2, alu, xu) in the main loop: for
 * each tensor instruction, for each 1024 multiply-adds of them.  NAN if unknown. */
double sass_core_per_tensor(const struct sass_report *r);
double sass_core_per_1024mac(const struct sass_report *r);
/* The "sass" object of a kernel, unknown opcodes listed. */
json_t *sass_report_json(const struct sass_table *t, const struct sass_function *f,
                         const struct sass_report *r);
/* May full and nodeq be compared: as many tensor instructions and global loads in both? */
bool sass_comparable(const struct sass_report *full, const struct sass_report *nodeq);

/* Path of cuobjdump: $CUOBJDUMP, PATH, $CUDA_HOME/bin, $CUDA_PATH/bin,
 * /usr/local/cuda/bin.  0, or -1 if there is none: flag "sass_unverified". */
int sass_tool(char *path, int size);
/* Its listing of a program or library: of one function for each of count texts, the one that
 * sass_find takes (a large program takes the tool half a minute otherwise), or, part NULL, of
 * all.  *text is freed by the caller. */
int sass_dump(const char *tool, const char *binary, const char *const *part, int count,
              char **text);

#endif
