/*
 * shard.h - dealing a plan to several machines so that all take about as long.
 *
 * Every machine deals the whole plan and takes its part, so the result depends on costs, units
 * and the number of parts alone.
 */
#ifndef SUITES_SHARD_H
#define SUITES_SHARD_H

/* "2/8": index 2 (from 1) of 8.  0 or -1. */
int shard_parse(const char *text, int *index, int *count);

/* owner[i] = part (1 .. parts) of item i.  Items of one unit (any number; equal ones belong
 * together) share an input and stay together, unless they cost more than half a part or
 * there would be fewer units than parts.  The costliest go first, each to the part that has
 * least.  0 or -1. */
int shard_deal(const double *cost, const int *unit, int n, int parts, int *owner);

#endif
