/*
 * sparse_net_case.h - a network on scans: what sparse_net.c and its parts share.
 *
 * Where operands rotate every set is a scan of its own, a new one to the maps: generated scans
 * follow from the next seeds, the scan of a file or a street is mirrored and turned.  Weights are
 * the same numbers in memory of their own.
 */
#ifndef SUITES_OPS_SPARSE_NET_CASE_H
#define SUITES_OPS_SPARSE_NET_CASE_H

#include "../../harness/bench.h"
#include "../../kernels/common/half.h"
#include "../../kernels/sparse_net/sparse_net.h"
#include "../data/voxel.h"
#include "bind.h"

enum { NET_TENSOR_X = 1, NET_TENSOR_W = 2, NET_TENSOR_B = 3, NET_TENSOR_G = 4 };

struct sparse_net_params {
    char scan[CB_PATH_MAX];
    int network, precision, pass, batch, voxels, samples;
};
extern const char *const sparse_net_networks[], *const sparse_net_precisions[],
    *const sparse_net_passes[];

/* One scan, or a batch of them. */
struct net_scene {
    struct voxels v;
    struct kmap_plan maps;
    struct kmap_host_net host_maps;
    struct sparse_net net;
    int train;
    half_bits *x, *g;          /* host; g: training */
    void *coord_on, *x_on, *y_on, *g_on, *dw_on;
};

struct net_case {
    struct sparse_net_params q;
    struct cb_device *device;
    uint64_t seed;
    bool rotates;            /* every run is on another scan */
    struct net_scene *scene; /* [scenes] */
    int scenes;
    char sha256[65];         /* coordinates of the first */
    half_bits *w;            /* host */
    float *b;
    void **w_on;             /* [weight_sets] */
    int weight_sets;
    void *b_on;
    double *want;            /* of scene want_of, on the device */
    float *bound, *loose;
    int want_of;             /* -1: none */
    half_bits *act[SPARSE_NET_TENSORS_MAX]; /* training: rows that the reference kept */
    struct net_gradients *gradients;        /* first: of the last rows asked for; NULL: none yet */
};

/* A row on a case. */
struct net_bound {
    struct net_case *in;
    const struct sparse_net_impl *impl;
    struct op_states states; /* a state a set */
    char choice[64];         /* "": nothing was chosen */
    struct cb_figure tuning[8];
    int tunings;
};

/* Functions returning int: 0, or -1 after cb_error. */
int net_case_open(struct cb_context *c, const struct sparse_net_params *q, struct net_case **out);
int net_case_prepare(struct net_case *in, int weight_sets, int input_sets);
void net_case_close(struct net_case *in); /* accepts NULL */

long net_out_rows(const struct net_scene *s);
long net_out_columns(const struct net_scene *s);
size_t net_out_bytes(const struct net_scene *s);
struct sparse_net_problem net_problem_of(const struct net_scene *s);
struct sparse_net_args net_args_of(const struct net_case *in, int weights, int ins);

/* sparse_net_grad.c: a result of training against the gradients of the rows that it kept.
 * regions: where gradients of weights are written, without the gaps between layers; returns
 * their number. */
int net_gradients_regions(const struct net_case *in, int ins, struct cb_region *out, int max);
int net_gradients_check(const struct net_bound *b, int weights, int ins, double limit,
                        struct cb_accuracy *out);
/* The row ref_net of training: y and gradients into the memory of a set. */
int net_gradients_run(struct net_case *in, int ins);
int net_act_open(struct net_case *in, int ins); /* memory of act for this set */
void net_gradients_close(struct net_case *in);

/* Enqueues parts of a run on a set. */
int net_run_parts(const struct net_bound *b, int weights, int ins, int parts);

/* sparse_net.c: a row with its memory, which chose nothing yet; released by net_unbind. */
int net_bind(struct cb_context *c, struct net_case *in, const struct sparse_net_impl *impl,
             struct net_bound **out);
void net_unbind(void *bound); /* accepts NULL */

/* sparse_net_time.c: what a row that chooses runs from now on, of a stored result or by trying;
 * figures of the parts of a run and of its wall time. */
int net_tune(struct net_bound *b);
int net_time_figures(const struct net_bound *b, struct cb_figure *out);

/* The same search made anew, beside the first setting of every group and the best of all of them:
 * times of each group, the last of the whole, one choice after the other in turns. */
enum net_choice { NET_FIRST, NET_TUNED, NET_EVERY, NET_CHOICES };
struct net_group_times {
    char name[16];                   /* "same 0", "down 0" ...; "whole" */
    char setting[NET_CHOICES][16];   /* of the whole "" */
    double us[NET_CHOICES];          /* medians */
    double seconds[NET_CHOICES];     /* of the search, its part of this group; first: 0 */
    int settings, looked_at, trials; /* all; by the search: timed at all, in the whole */
};
enum { NET_GROUPS_MAX = 16 };
struct net_choices {
    int setting[NET_CHOICES][NET_GROUPS_MAX];
    struct net_group_times group[NET_GROUPS_MAX + 1]; /* [groups + 1] */
    int groups;
};
int net_compare_choices(struct net_bound *b, struct net_choices *out);
/* Makes a choice the one in force. */
int net_choose(struct net_bound *b, const int *setting);
/* Of group g its name as above; groups of a plan: sparse_net_groups. */
void net_group_name(const struct kmap_plan *maps, int group, char name[16]);

#endif
