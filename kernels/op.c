/* op.c - names of the enumerations of op.h. */
#include "op.h"

const char *op_status_name(enum op_status s)
{
    switch (s) {
    case OP_OK: return "ok";
    case OP_EINVAL: return "meaningless problem";
    case OP_EUNSUPPORTED: return "not supported";
    case OP_ENOMEM: return "out of memory";
    case OP_EDEVICE: return "device error";
    }
    return "unknown status";
}

const char *op_role_name(enum op_role r)
{
    switch (r) {
    case OP_REFERENCE: return "reference";
    case OP_BASELINE: return "baseline";
    case OP_PAPER: return "paper";
    case OP_OWN: return "own";
    case OP_ABLATION: return "ablation";
    }
    return "unknown role";
}

const char *op_stage_name(enum op_stage s)
{
    switch (s) {
    case OP_COMPLETE: return "full";
    case OP_NODEQ: return "nodeq";
    case OP_LOADONLY: return "loadonly";
    case OP_MMAONLY: return "mmaonly";
    case OP_DEQONLY: return "deqonly";
    }
    return "unknown stage";
}
