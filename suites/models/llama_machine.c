/* llama_machine.c - see llama_machine.h; the machine itself is in llama_cuda.c. */
#include "llama_machine.h"

#include "../../harness/error.h"

void llama_machine_close(struct llama_machine *g)
{
    if (g)
        g->close(g);
}

#ifndef WITH_CUDA
int llama_gpu_open(struct cb_device *d, const struct llama_config *c, bool half,
                   struct llama_machine **out)
{
    (void)d, (void)c, (void)half;
    *out = NULL;
    return cb_error("built without CUDA");
}
#endif
