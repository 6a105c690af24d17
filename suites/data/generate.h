/*
 * generate.h - seeded families of sparse matrices, and the presets of the suite.
 *
 * Spec: "FAMILY,name=value,...", values decimal.  The same spec gives the same
 * matrix for any number of threads.  A parameter that a family does not have,
 * or a value out of range, is refused.
 *
 *   family      rows                                        columns
 *   uniform     mean +- width, each length alike            anywhere, or window off the diagonal
 *   bipartite   the same, k columns
 *   longrow     the same, few rows
 *   powerlaw    Pareto: P(length > x) ~ x^(1-alpha)         denser towards column 0 by skew
 *   hub         as uniform; `hubs` rows hold share * k      share `spill` of them in `hubs` columns
 *   rmat        recursive quadrants a b c, mean draws/row   (a = b = c = .25: binomial rows)
 *   stencil     grid of side^dims points                    points 5, 9 (2-D), 7, 27 (3-D)
 *   band        diagonal + mean draws                       within window of the diagonal
 *   blockdiag   dense blocks on the diagonal
 *   blockrand   mean / block dense blocks a block row       anywhere
 *   sbm         communities of `size`, uneven degrees       share `inside` in the own community
 *   road        chain with gaps, short links, symmetric     within 64 of the diagonal
 *   social      undirected, log-normal degrees of deviation   by degree, each edge both ways
 *               `sigma` in the logarithm, at most cap; m * scale nodes
 *   fem         nodes of `dof` unknowns, mean / dof drawn   nodes within window
 *
 * k = 0 is square; cap, the longest row of powerlaw, is a quarter of the columns
 * unless given; empty is the share of rows left empty.  gen:FAMILY shows defaults
 * in the message about a parameter that is not there.
 *
 * mean counts draws; a column drawn twice counts once, so rows come out a little shorter.
 */
#ifndef SUITES_DATA_GENERATE_H
#define SUITES_DATA_GENERATE_H

#include "matrix.h"

/* Whether generate would take the spec, without generating: 0, or -1 after cb_error. */
int generate_check(const char *spec);

/* out->gen is the spec, out->name the given name. */
int generate(const char *name, const char *spec, struct matrix *out);

/* The spec of a preset; NULL if there is none of that name. */
const char *generate_preset(const char *name);

/* The i-th preset or family; NULL past the end. */
const char *generate_preset_name(int i, const char **spec);
const char *generate_family_name(int i);

#endif
