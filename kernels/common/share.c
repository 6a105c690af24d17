/* share.c - see share.h. */
#include "share.h"

static void *take(void *context, size_t bytes)
{
    const struct op_share *share = context;
    return share->from.take(share->from.context, bytes);
}

struct op_memory op_share_memory(struct op_share *share)
{
    return (struct op_memory){ .take = take, .context = share };
}

void *op_scratch(const struct op_memory *memory, size_t bytes)
{
    if (memory->take != take)
        return memory->take(memory->context, bytes);
    struct op_share *share = memory->context;
    if (share->at && bytes <= share->bytes)
        return share->at;
    const size_t room = bytes < 2 * share->bytes ? 2 * share->bytes : bytes;
    void *at = take(share, room);
    if (at) {
        share->at = at;
        share->bytes = room;
    }
    return at;
}
