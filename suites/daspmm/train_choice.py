#!/usr/bin/env python3
"""train_choice.py - trains the row daspmm_select on timed matrices and writes choice.json.

    train_choice.py TIMES.tsv.gz [TIMES.tsv.gz ...] [--judge TIMES.tsv.gz] [--quick]

TIMES is what tools/spmm_sweep writes: a line per matrix and N with the traits of
kernels/spmm/choose.h and the time of every candidate.  Needs Python 3, numpy and
lightgbm; nothing of the suite needs this script, it reads choice.json only.

Every candidate gets two sums of small trees, one for N = 1 and one for wider B, fitted to
the logarithm of its time over that of the fastest: the sum of all predictions is not asked
how fast a matrix is, only who is faster.  Losses are cut off at a factor of eight, where they are lost anyway.
What a choice costs is told by matrices the model has not seen: once with whole
families left out, once with matrices left out at random, and on the matrices of --judge,
none of which may be among those of the training.

For comparison the same method with the four numbers of DA-SpMM (nnz, M K, standard
deviation of the row lengths, N), and the single best candidate for each N.  The model of
the four numbers is written as well, choice_paper.json, so that it can be judged on a
recorded run; and what all of them lose, by N, family and pair of rows, as training.json:

    splits: { SPLIT: { MODEL: { PART: {figures} } } }       PART: all, n16, band
    confusion: { SPLIT: { MODEL: [[chosen, fastest, cases, cost], ...] } }

with SPLIT one of seen, matrix_not_seen, family_not_seen, suite (the matrices of --judge) and
cost the summed logarithm of the loss over all cases, in percent.
"""
import argparse
import collections
import gzip
import json
import math
import os
import sys
import warnings

import lightgbm
import numpy

SEED = 20260701
TREES, LEAVES, DEPTH, RATE = 20, 10, 4, 0.28  # a choice among 15 rows in less than 5 us
N_AT = 3  # place of N among the traits, and among the four numbers
FOUR = ["nnz", "mat_size", "std_row", "n"]
MODELS = ("daspmm_select", "four_numbers", "one_row")
CUT = 3.0  # log2 of the loss that is as bad as any
HERE = os.path.dirname(os.path.abspath(__file__))
TOP = os.path.dirname(os.path.dirname(HERE))


# ---- times ----

class Times:
    """x [cases][traits], t [cases][rows] in us, NaN where a row does not cover the case."""

    def __init__(self, paths):
        self.gpu, self.traits, self.rows = None, None, None
        self.matrix, x, t = [], [], []
        for path in paths:
            self.read(path, x, t)
        self.x = numpy.array(x, dtype=numpy.float32).astype(numpy.float64)
        t = numpy.array(t)
        used = ~numpy.isnan(t).all(0)
        self.rows = [r for r, u in zip(self.rows, used) if u]
        self.t = t[:, used]
        self.n = self.x[:, self.traits.index("n")].astype(int)
        self.family = numpy.array([family_of(m) for m in self.matrix])
        self.matrix = numpy.array(self.matrix)
        self.best = numpy.nanmin(self.t, 1)

    def read(self, path, x, t):
        with gzip.open(path, "rt") as f:
            if f.readline().split() != ["#", "claimbench/spmm_times", "1.0.0"]:
                sys.exit("train_choice.py: %s: is not a file of times 1.0.0" % path)
            for line in f:
                cells = line.rstrip("\n").split("\t")
                if cells[0] == "# gpu":
                    self.gpu = self.gpu or cells[1]
                elif cells[0] == "matrix":
                    at = cells.index("work") + 1
                    if self.rows and (self.traits, self.rows) != (cells[1:at], cells[at:]):
                        sys.exit("train_choice.py: %s: has other columns" % path)
                    self.traits, self.rows = cells[1:at], cells[at:]
                elif not cells[0].startswith("#"):
                    self.matrix.append(cells[0])
                    x.append([float(v) for v in cells[1:at]])
                    t.append([math.nan if v == "-" else float(v) for v in cells[at:]])


def family_of(spec):
    name = spec.split(",")[0]
    return "block" if name.startswith("block") else name


# ---- the model ----

class Boosters:
    """One for products with a vector, which other rows win, one for all others.

    Both have the same number of trees, so that they are written as one: a split by N above the
    two trees of each pair."""

    def __init__(self, parts):
        self.parts = parts  # None: no cases

    def predict(self, x):
        y = numpy.zeros(len(x))
        for vector, part in zip((True, False), self.parts):
            at = (x[:, N_AT] <= 1) == vector
            if at.any():
                y[at] = part.predict(x[at]) if part is not None else 2 * CUT
        return y

    def gain(self, traits):
        gain = numpy.zeros(traits)
        for part in self.parts:
            if part is not None:
                of = part.booster_.feature_importance("gain")
                gain += of / max(1e-9, of.sum())
        return gain


def booster(x, y):
    model = lightgbm.LGBMRegressor(
        n_estimators=TREES, num_leaves=LEAVES, max_depth=DEPTH, learning_rate=RATE,
        min_child_samples=10, colsample_bytree=0.8, random_state=SEED, n_jobs=2,
        verbose=-1, deterministic=True, force_row_wise=True)
    # near the best an error decides, far from it none does
    return model.fit(x, y, sample_weight=1 / (0.15 + y))


def fit(x, t, best):
    """Boosters of each row; None where a row was never timed."""
    models = []
    for r in range(t.shape[1]):
        parts = []
        for vector in (True, False):
            have = ~numpy.isnan(t[:, r]) & ((x[:, N_AT] <= 1) == vector)
            y = numpy.minimum(numpy.log2(t[have, r] / best[have]), CUT)
            parts.append(booster(x[have], y) if have.any() else None)
        models.append(Boosters(parts) if any(p is not None for p in parts) else None)
    return models


def choose(models, x, t):
    """Among the rows that cover the case."""
    predicted = numpy.full(t.shape, numpy.inf)
    for r, model in enumerate(models):
        if model is not None:
            predicted[:, r] = model.predict(x)
    predicted[numpy.isnan(t)] = numpy.inf
    return predicted.argmin(1)


def four(d):
    """The published features."""
    at = d.traits.index
    x = d.x
    numbers = numpy.stack([x[:, at("nnz")], x[:, at("m")] * x[:, at("k")],
                           x[:, at("cv")] * x[:, at("mean")], x[:, at("n")]], -1)
    return numpy.float32(numbers).astype(numpy.float64)


def held_out(d, x, part):
    """Each part by a model of all others; -> chosen."""
    chosen = numpy.zeros(len(d.x), dtype=int)
    for p in numpy.unique(part):
        train, test = part != p, part == p
        chosen[test] = choose(fit(x[train], d.t[train], d.best[train]), x[test], d.t[test])
    return chosen


def best_static(d):
    """For each N the row with the least mean loss among those that cover all its cases."""
    chosen = numpy.zeros(len(d.x), dtype=int)
    for n in numpy.unique(d.n):
        at = d.n == n
        loss = numpy.log(d.t[at] / d.best[at, None]).mean(0)
        chosen[at] = numpy.nanargmin(loss)
    return chosen


# ---- figures ----

def geomean(v):
    return float(numpy.exp(numpy.mean(numpy.log(v)))) if len(v) else math.nan


def cusparse_best(d):
    rows = [i for i, r in enumerate(d.rows) if r.startswith("cusparse_")]
    if not rows:
        return numpy.full(len(d.t), math.nan)
    return numpy.nanmin(d.t[:, rows], 1)


def show(label, d, chosen):
    took = d.t[numpy.arange(len(d.t)), chosen]
    fraction, over = d.best / took, cusparse_best(d) / took
    cells = ["%-26s %6.3f %6.3f %6.3f %6.3f %7.3f %6d" % (
        label, geomean(fraction), numpy.quantile(fraction, .05), fraction.min(),
        (fraction > 1 / 1.03).mean(), geomean(over), (over < .97).sum())]
    cells += ["%6.3f/%.2f" % (geomean(fraction[d.n == n]), geomean(over[d.n == n]))
              for n in sorted(set(d.n))]
    print(" ".join(cells))


def head(d):
    print("%-26s %6s %6s %6s %6s %7s %6s %s" % (
        "choice", "of best", "p05", "worst", "in 3%", "/cusp.", "<.97",
        " ".join("%11s" % ("N=%d" % n) for n in sorted(set(d.n)))))


def confusion(d, chosen):
    """Which mistakes cost how much: summed logarithm of the loss, as percent of all cases' time."""
    took = d.t[numpy.arange(len(d.t)), chosen]
    cost, count = collections.Counter(), collections.Counter()
    right = numpy.nanargmin(d.t, 1)
    for c, r, loss in zip(chosen, right, numpy.log(took / d.best)):
        if c != r:
            cost[d.rows[c], d.rows[r]] += 100 * loss / len(chosen)
            count[d.rows[c], d.rows[r]] += 1
    print("\nchosen instead of the fastest: cases, share of the mean loss in percent")
    for (c, r), v in cost.most_common(12):
        print("  %-26s %-26s %5d %7.3f" % (c, r, count[c, r], v))
    print("  total %.3f; fastest: %s" % (sum(cost.values()), ", ".join(
        "%s %d" % (r, n) for r, n in
        collections.Counter(d.rows[i] for i in right).most_common())))


def figures_of(d, chosen, at):
    took = d.t[numpy.arange(len(d.t)), chosen]
    fraction, over = (d.best / took)[at], (cusparse_best(d) / took)[at]
    figures = {"cases": int(at.sum()), "geomean_fraction": geomean(fraction),
               "p05": float(numpy.quantile(fraction, .05)), "worst": float(fraction.min()),
               "accuracy_tie3": float((fraction > 1 / 1.03).mean()),
               "speedup_cusparse_best": geomean(over), "below_097": int((over < .97).sum())}
    return {k: v if isinstance(v, int) else float("%.5g" % v) for k, v in figures.items()}


def parts_of(d, chosen):
    parts = {"all": figures_of(d, chosen, numpy.ones(len(d.x), dtype=bool))}
    for n in sorted(set(d.n)):
        parts["n%d" % n] = figures_of(d, chosen, d.n == n)
    for f in sorted(set(d.family)):
        parts[f] = figures_of(d, chosen, d.family == f)
    return parts


def pairs_of(d, chosen):
    took = d.t[numpy.arange(len(d.t)), chosen]
    right = numpy.nanargmin(d.t, 1)
    count, cost = collections.Counter(), collections.Counter()
    for c, r, loss in zip(chosen, right, numpy.log(took / d.best)):
        count[d.rows[c], d.rows[r]] += 1
        cost[d.rows[c], d.rows[r]] += 100 * loss / len(chosen)
    return [[c, r, n, float("%.5g" % cost[c, r])] for (c, r), n in sorted(count.items())]


def importance(models, traits):
    gain = sum(m.gain(len(traits)) for m in models if m is not None)
    order = numpy.argsort(-gain)
    print("\ngain: " + ", ".join("%s %.2f" % (traits[i], gain[i] / gain.sum()) for i in order))


# ---- files ----

def number(v):
    return float("%.7g" % v)


def export(model):
    """Trees in pre-order, the right child after the left subtree."""
    trait, value = [], []

    def walk(node):
        if "split_feature" not in node:
            trait.append(-1)
            value.append(number(node["leaf_value"]))
            return
        if node["decision_type"] != "<=":
            sys.exit("train_choice.py: a split that is no comparison")
        trait.append(node["split_feature"])
        value.append(number(node["threshold"]))
        walk(node["left_child"])
        walk(node["right_child"])

    def trees_of(part):
        if part is None:
            return [{"leaf_value": 2 * CUT / TREES}] * TREES
        trees = [t["tree_structure"] for t in part.booster_.dump_model()["tree_info"]]
        return trees + [{"leaf_value": 0}] * (TREES - len(trees))

    for vector, other in zip(*map(trees_of, model.parts)):
        walk({"split_feature": N_AT, "decision_type": "<=", "threshold": 1.5,
              "left_child": vector, "right_child": other})
    return {"trait": trait, "number": value}


def evaluate(trees, x):
    """As kernels/spmm/choose.c does, in its precision."""
    trait, value = trees["trait"], numpy.float32(trees["number"])
    x, total, at = numpy.float32(x), 0.0, 0

    def end(i):
        return i + 1 if trait[i] < 0 else end(end(i + 1))

    while at < len(trait):
        i = at
        while trait[i] >= 0:
            i = i + 1 if x[trait[i]] <= value[i] else end(i + 1)
        total += float(value[i])
        at = end(at)
    return total


def wrapped(values, width=96):
    lines, line = [], ""
    for text in (json.dumps(v) for v in values):
        if line and len(line) + len(text) + 1 > width:
            lines.append(line + ",")
            line = ""
        line = line + "," + text if line else text
    return "[\n" + "\n".join(lines + [line]) + "]"


def write_model(path, about, rows):
    with open(path, "w") as f:
        f.write(json.dumps(about, indent=1)[:-2] + ',\n "rows": {')
        for i, (name, trees) in enumerate(rows.items()):
            f.write('%s\n "%s": {"trait": %s,\n "number": %s}' % (
                "," if i else "", name, wrapped(trees["trait"]), wrapped(trees["number"])))
        f.write("\n }\n}\n")


def write_vectors(path, x, models, rows):
    """Predictions at some cases, for the test of the C code."""
    draw = numpy.random.default_rng(SEED)
    x = numpy.float32(x).astype(numpy.float64)
    at = sorted(draw.permutation(len(x))[:100])
    for i in at[:20]:
        for r, m in zip(rows, [m for m in models if m is not None]):
            if abs(evaluate(rows[r], x[i]) - m.predict(x[i:i + 1])[0]) > 1e-4:
                sys.exit("train_choice.py: the written trees differ from the model")
    points = [[number(v) for v in x[i]] for i in at]
    with open(path, "w") as f:
        f.write('{"points": [\n%s\n],\n"predicted": {\n' % ",\n".join(map(json.dumps, points)))
        f.write(",\n".join('"%s": %s' % (r, json.dumps(
            [round(evaluate(trees, p), 5) for p in points])) for r, trees in rows.items()))
        f.write("\n}}\n")


def about_of(given, d, schema, text, traits):
    return {"schema": "claimbench/" + schema, "schema_version": "1.0.0", "about": text,
            "trained_on": [os.path.basename(p) for p in given.times], "gpu": d.gpu,
            "cases": len(d.x), "matrices": len(set(d.matrix)), "seed": SEED,
            "lightgbm": lightgbm.__version__, "numpy": numpy.__version__,
            "python": "%d.%d.%d" % sys.version_info[:3], "traits": traits}


def write_training(path, about, results):
    """results: (split, model, times, chosen)."""
    splits, confusion = {}, {}
    for split, model, d, chosen in results:
        splits.setdefault(split, {})[model] = parts_of(d, chosen)
        confusion.setdefault(split, {})[model] = pairs_of(d, chosen)
    with open(path, "w") as f:
        f.write(json.dumps(about, indent=1)[:-2])
        for name, value in (("splits", splits), ("confusion", confusion)):
            f.write(',\n "%s": {' % name)
            f.write(",".join('\n  "%s": {%s\n  }' % (split, ",".join(
                '\n   "%s": %s' % (m, wrapped_items(v)) for m, v in by.items()))
                for split, by in value.items()))
            f.write("\n }")
        f.write("\n}\n")


def wrapped_items(value):
    if isinstance(value, dict):
        return "{%s}" % ",".join('\n    "%s": %s' % (k, json.dumps(v)) for k, v in value.items())
    return "[%s]" % ",".join("\n    " + json.dumps(v) for v in value)


def main():
    parser = argparse.ArgumentParser(description="trains the row daspmm_select")
    parser.add_argument("times", nargs="+")
    parser.add_argument("--judge", help="times of matrices that take no part in the training")
    parser.add_argument("--quick", action="store_true", help="no matrices left out")
    given = parser.parse_args()
    warnings.filterwarnings("ignore")
    sys.setrecursionlimit(10000)
    d = Times(given.times)
    matrices = numpy.unique(d.matrix)
    print("%d cases of %d matrices in %d families, %s" % (
        len(d.x), len(matrices), len(set(d.family)), d.gpu))
    models = fit(d.x, d.t, d.best)
    paper = fit(four(d), d.t, d.best)
    results = [("seen", "daspmm_select", d, choose(models, d.x, d.t)),
               ("seen", "four_numbers", d, choose(paper, four(d), d.t)),
               ("seen", "one_row", d, best_static(d))]
    head(d)
    show("seen", d, results[0][3])
    if not given.quick:
        order = numpy.random.default_rng(SEED).permutation(len(matrices)) % 5
        fold = order[numpy.searchsorted(matrices, d.matrix)]
        by_family = held_out(d, d.x, d.family)
        for split, part in (("matrix", fold), ("family", d.family)):
            both = (by_family if split == "family" else held_out(d, d.x, part),
                    held_out(d, four(d), part))
            show("%s not seen" % split, d, both[0])
            show("four numbers, %s" % split, d, both[1])
            results += [("%s_not_seen" % split, model, d, chosen)
                        for model, chosen in zip(MODELS, both + (best_static(d),))]
    show("one row for each N", d, best_static(d))
    show("fastest", d, numpy.nanargmin(d.t, 1))
    if not given.quick:
        confusion(d, by_family)
    if given.judge:
        j = Times([given.judge])
        t = numpy.full((len(j.t), len(d.rows)), numpy.nan)
        for i, r in enumerate(d.rows):
            if r in j.rows:
                t[:, i] = j.t[:, j.rows.index(r)]
        j.t, j.rows = t, d.rows
        if set(j.matrix) & set(d.matrix):
            sys.exit("train_choice.py: %s: has matrices of the training" % given.judge)
        print("\n%d cases of %d other matrices" % (len(j.x), len(set(j.matrix))))
        head(j)
        chosen = choose(models, j.x, j.t)
        show("not seen", j, chosen)
        by_four = choose(paper, four(j), j.t)
        show("four numbers", j, by_four)
        results += [("suite", "daspmm_select", j, chosen), ("suite", "four_numbers", j, by_four)]
        show("fastest", j, numpy.nanargmin(j.t, 1))
        confusion(j, chosen)
    importance(models, d.traits)

    for file, fitted, traits, text in (
            ("choice.json", models, d.traits,
             "model of the row daspmm_select; train_choice.py says how it is made and what the "
             "keys mean"),
            ("choice_paper.json", paper, FOUR,
             "the same method with the numbers that DA-SpMM chooses by; train_choice.py says how "
             "it is made")):
        rows = {r: export(m) for r, m in zip(d.rows, fitted) if m is not None}
        write_model(os.path.join(HERE, file), about_of(given, d, "spmm_choice", text, traits), rows)
        write_vectors(os.path.join(TOP, "tests", "data", "select", file),
                      d.x if fitted is models else four(d), fitted, rows)
    if not given.quick:
        write_training(os.path.join(HERE, "training.json"), about_of(
            given, d, "spmm_training", "what choices lose on the times of the training; "
            "train_choice.py says what the keys mean", d.traits), results)


if __name__ == "__main__":
    main()
