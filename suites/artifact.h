/*
 * artifact.h - the written part of an artifact package: what an evaluator reads.
 *
 * Everything comes from the suite's files and from recorded results; what nobody recorded is
 * said to be unknown.  tools/artifact.sh adds the rest (sources, results, scripts).
 */
#ifndef SUITES_ARTIFACT_H
#define SUITES_ARTIFACT_H

/* Writes into folder, which is there:
 *   README.md                  claims, needs, times, one command per table or figure
 *   appendix/ae.md, ae.tex     with the headings of the unified template
 *   expected/claims.tsv        per claim: reported, measured, verdict, allowed variation
 *   data/inputs.tsv            every input with generator and SHA-256
 *   env/environment.json       of every result
 *   .zenodo.json
 * results: recorded runs of the paper, none to 8; those of profile "smoke" only say how long
 * the smoke test takes.  0 or -1. */
int artifact_write(const char *paper, const char *const *results, int count, const char *folder);

#endif
