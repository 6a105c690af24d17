#!/usr/bin/env python3
"""train.py - trains the selector of DA-SpMM on a recorded run and writes model.json.

    train.py RESULT [--curve]

RESULT is a recorded run folder (cases.json.gz or result.json) or a folder with
`recorded` in it.  Needs Python 3, numpy, scikit-learn and lightgbm; nothing of the
suite needs this script or any of them, it reads model.json only.

As published: the features nnz, M * K, the population standard deviation of the row
lengths and N; LightGBM's classifier with 1000 rounds and defaults otherwise; the
target is the fastest of the published eight, operands in cache, N a power of two.
At N = 1 the column-major four are the row-major four, launched once more: only the
row-major ones count there.

An ensemble of 1000 rounds looks at four numbers and compares them with a few dozen
thresholds, so it is constant on the boxes between them.  Each box is asked once, and
the answers are written as one tree that gives the same answer everywhere.  Nothing is
rounded; both ends of every box are compared before anything is written.

One model is trained on everything and one per family of generated matrices on all
others, so that each family can be judged by a model that has never seen it.  The
matrices are few: what a fold tells is how the method fares on a kind of matrix it
does not know, not what it reaches with a thousand matrices.
"""
import argparse
import gzip
import json
import math
import os
import sys
import warnings

import lightgbm
import numpy
import sklearn
from sklearn.tree import DecisionTreeClassifier

SEED = 20260601
ROUNDS = 1000
FEATURES = ["nnz", "mat_size", "std_row", "n"]
EIGHT = [a + b for b in ("_rm", "_cm") for a in ("rb_sr", "rb_pr", "eb_sr", "eb_pr")]  # by tag
TIE = 1.03
HERE = os.path.dirname(os.path.abspath(__file__))
TOP = os.path.dirname(os.path.dirname(HERE))


# ---- recorded times ----

def run_folder(path):
    pointer = os.path.join(path, "recorded")
    if os.path.exists(pointer):
        with open(pointer) as f:
            return os.path.join(path, f.read().strip())
    return path


def read_cases(folder):
    packed = os.path.join(folder, "cases.json.gz")
    if os.path.exists(packed):
        with gzip.open(packed, "rt") as f:
            return json.load(f)
    with open(os.path.join(folder, "result.json")) as f:
        return json.load(f)["cases"]


def read_run(folder):
    with open(os.path.join(folder, "result.json")) as f:
        document = json.load(f)
    gpu = document["env"].get("gpu") or [{}]
    return document["run"]["id"], gpu[0].get("name", "host")


def family_of(generator):
    name = generator.split(",")[0]
    return "block" if name.startswith("block") else name


def candidates(n):
    return EIGHT[:4] if n == 1 else EIGHT


class Data:
    """One line per (matrix, N): features x, times t by name, tag of the fastest."""

    def __init__(self, cases):
        self.x, self.t, self.tag, self.family, self.shape, self.matrix = [], [], [], [], [], []
        for c in cases:
            p = c["params"]
            n = p.get("n", 0)
            if c["experiment"] != "spmm" or c["cache"] != "hot" or n & (n - 1):
                continue
            if p["dtype"] != "f32" or c["inputs"][0]["source"] != "generated":
                continue
            t = {i["kernel"]: i["time_us"]["median"] for i in c["implementations"]
                 if i["status"] == "ok" and i.get("time_us")}
            tried = [k for k in candidates(n) if k in t]
            if not tried:
                continue
            f = {f["name"]: f["value"] for f in c["figures"]}
            self.x.append([f["nnz"], f["rows"] * f["cols"], f["row_sd"], n])
            self.shape.append((int(f["rows"]), int(f["cols"])))
            self.t.append(t)
            self.tag.append(EIGHT.index(min(tried, key=t.get)))
            self.family.append(family_of(c["inputs"][0]["gen"]))
            self.matrix.append(p["matrix"])
        self.x = numpy.array(self.x, dtype=numpy.float64)
        self.tag = numpy.array(self.tag)
        self.family = numpy.array(self.family)
        if not len(self.x):
            sys.exit("train.py: the run has no timed case of the experiment spmm")


# ---- the published model ----

def fit(x, tag):
    return lightgbm.LGBMClassifier(n_estimators=ROUNDS, random_state=SEED, n_jobs=1, verbose=-1,
                                   deterministic=True, force_row_wise=True).fit(x, tag)


def choose(model, x):
    """The likeliest row-major tag: the row runs no column-major algorithm, whose classes, if
    the labels hold any, take part in the training and not in the choice."""
    row_major = numpy.flatnonzero(model.classes_ < 4)
    return model.classes_[row_major[model.predict_proba(x)[:, row_major].argmax(1)]]


def thresholds(model):
    """Sorted thresholds of each feature over all trees."""
    found = [set() for _ in FEATURES]

    def walk(node):
        if "split_feature" not in node:
            return
        if node["decision_type"] != "<=" or node["missing_type"] != "None":
            sys.exit("train.py: a split that is no plain comparison: %r" % node["decision_type"])
        found[node["split_feature"]].add(float(node["threshold"]))
        walk(node["left_child"])
        walk(node["right_child"])

    for t in model.booster_.dump_model()["tree_info"]:
        walk(t["tree_structure"])
    return [sorted(s) for s in found]


def ask(model, values):
    grid = numpy.stack(numpy.meshgrid(*values, indexing="ij"), -1).reshape(-1, len(FEATURES))
    return choose(model, grid).reshape([len(v) for v in values])


def boxes(model, cuts):
    """The tag in every box: at its upper end, which `<=` includes, and just above its lower."""
    upper = [c + [2 * c[-1] + 1 if c else 1.0] for c in cuts]
    lower = [[0.0] + [math.nextafter(v, math.inf) for v in c] for c in cuts]
    tags = ask(model, upper)
    if (tags != ask(model, lower)).any():
        sys.exit("train.py: the model is not constant between its thresholds")
    return tags


def impurity(count):
    total = count.sum(-1)
    return total - (count * count).sum(-1) / numpy.maximum(total, 1)


def fold_tree(tags, rows):
    """The boxes as one tree in pre-order: (feature, cut), or (-1, row) for a leaf."""
    onehot = numpy.stack([tags == r for r in rows], -1).astype(numpy.float64)
    feature, cut = [], []

    def grow(part, first):
        everything = part.sum((0, 1, 2, 3))
        if numpy.count_nonzero(everything) == 1:
            feature.append(-1)
            cut.append(int(everything.argmax()))
            return
        best = None
        for axis in range(len(FEATURES)):
            if part.shape[axis] < 2:
                continue
            left = part.sum(tuple(a for a in range(4) if a != axis)).cumsum(0)[:-1]
            cost = impurity(left) + impurity(everything - left)
            at = int(cost.argmin())
            if best is None or cost[at] < best[0] - 1e-9:
                best = (cost[at], axis, at)
        _, axis, at = best
        feature.append(axis)
        cut.append(first[axis] + at)
        left, right = numpy.split(part, [at + 1], axis)
        grow(left, first)
        grow(right, first[:axis] + [first[axis] + at + 1] + first[axis + 1:])

    grow(onehot, [0] * len(FEATURES))
    return feature, cut


def walk_tree(tree, x):
    """Row of each x by the folded tree, as kernels/spmm/select.c finds it."""
    right, stack = [0] * len(tree["feature"]), []
    for i, f in enumerate(tree["feature"]):
        if f >= 0:
            stack.append(i)
        elif stack and i + 1 < len(right):
            right[stack.pop()] = i + 1
    out = []
    for v in x:
        i = 0
        while tree["feature"][i] >= 0:
            f = tree["feature"][i]
            i = i + 1 if v[f] <= tree[FEATURES[f]][tree["cut"][i]] else right[i]
        out.append(tree["cut"][i])
    return out


def compile_model(model, rows):
    cuts = thresholds(model)
    feature, cut = fold_tree(boxes(model, cuts), rows)
    tree = dict(zip(FEATURES, cuts))
    tree["feature"], tree["cut"] = feature, cut
    return tree


# ---- evaluation ----

def geomean(values):
    return math.exp(sum(math.log(v) for v in values) / len(values))


def best_cusparse(t):
    return min(v for k, v in t.items() if k.startswith("cusparse_"))


def judge(d, index, names):
    """Figures of the rows chosen for the lines of index."""
    fraction, over_best, over_alg2 = [], [], []
    for i, name in zip(index, names):
        t = d.t[i]
        fraction.append(min(t[k] for k in candidates(int(d.x[i][3])) if k in t) / t[name])
        over_best.append(best_cusparse(t) / t[name])
        over_alg2.append(t["cusparse_csr_alg2_rm"] / t[name])
    fraction = numpy.array(fraction)
    return {"cases": len(fraction), "accuracy": float((fraction >= 1).mean()),
            "tie3": float((fraction * TIE >= 1).mean()), "geomean": geomean(fraction),
            "p05": float(numpy.quantile(fraction, .05)), "worst": float(fraction.min()),
            "over_best": geomean(over_best), "over_alg2": geomean(over_alg2)}


def show(label, j):
    print("%-22s %5d %8.3f %7.3f %8.3f %7.3f %7.3f %9.3f %9.3f" %
          (label, j["cases"], j["accuracy"], j["tie3"], j["geomean"], j["p05"], j["worst"],
           j["over_best"], j["over_alg2"]))


def head():
    print("%-22s %5s %8s %7s %8s %7s %7s %9s %9s" %
          ("held out", "cases", "accuracy", "tie 3%", "geomean", "p05", "worst", "/cusparse",
           "/alg2_rm"))


def best_static(d, index):
    return max(EIGHT[:4], key=lambda k: geomean([min(d.t[i][r] for r in EIGHT[:4]) / d.t[i][k]
                                                  for i in index]))


# ---- variants, reported only ----

def ratios(x):
    nnz, size, sd, n = x.T
    mean = nnz / numpy.sqrt(size)
    return numpy.log2(numpy.stack([nnz, size, sd + .01, n, mean, sd / mean + .01, nnz * n,
                                   size / nnz], -1))


def variant_tree(d, train, test):
    tree = DecisionTreeClassifier(max_depth=6, random_state=SEED)
    tree.fit(ratios(d.x[train]), d.tag[train])
    return [EIGHT[t] for t in tree.predict(ratios(d.x[test]))]


def variant_regression(d, train, test):
    """A regressor per row-major algorithm on its time over the best: ties cost nothing."""
    predicted = []
    for k in EIGHT[:4]:
        y = [math.log(d.t[i][k] / min(d.t[i][r] for r in EIGHT[:4])) for i in train]
        r = lightgbm.LGBMRegressor(n_estimators=200, min_child_samples=5, random_state=SEED,
                                   n_jobs=1, verbose=-1, deterministic=True, force_row_wise=True)
        predicted.append(r.fit(ratios(d.x[train]), y).predict(ratios(d.x[test])))
    return [EIGHT[t] for t in numpy.stack(predicted).argmin(0)]


def one_matrix_out(d):
    """Each matrix by a model of all others, its own family among them."""
    index, names = [], []
    for m in sorted(set(d.matrix)):
        held = numpy.array([x == m for x in d.matrix])
        model = fit(d.x[~held], d.tag[~held])
        index += list(numpy.flatnonzero(held))
        names += [EIGHT[t] for t in choose(model, d.x[held])]
    return judge(d, index, names)


def curve(d, families):
    """Pooled figures over folds when only some of the other families train."""
    draw = numpy.random.default_rng(SEED)
    print("\nfamilies to train on: accuracy, tie 3%, geomean, worst; mean of 3 draws")
    for size in (2, 4, 6, 8, len(families) - 1):
        rows = []
        for _ in range(3):
            index, names = [], []
            for f in families:
                others = draw.permutation([g for g in families if g != f])[:size]
                train = numpy.flatnonzero(numpy.isin(d.family, others))
                test = numpy.flatnonzero(d.family == f)
                index += list(test)
                model = fit(d.x[train], d.tag[train])
                names += [EIGHT[t] for t in choose(model, d.x[test])]
            j = judge(d, index, names)
            rows.append([j["accuracy"], j["tie3"], j["geomean"], j["worst"]])
        print("%3d   " % size + "  ".join("%.3f" % v for v in numpy.mean(rows, 0)))


# ---- test points ----

def random_points(count):
    draw = numpy.random.default_rng(SEED)
    points = []
    for _ in range(count):
        m, k = (int(2 ** draw.uniform(7, 22)) for _ in range(2))
        mean = 2 ** draw.uniform(0, min(10, math.log2(k)))
        sd = 0.0 if draw.random() < .05 else float(mean * 2 ** draw.uniform(-8, 5))
        points.append([int(min(m * mean, 2 ** 31 - 1)), m, k, sd, int(2 ** draw.integers(0, 11))])
    return points


def edge_points(deviations):
    """Points whose deviation is a threshold: `<=`, not `<`."""
    draw = numpy.random.default_rng(SEED + 1)
    return [[int(2 ** draw.uniform(17, 24)), 2 ** 16, 2 ** 16, sd, int(2 ** draw.integers(0, 9))]
            for sd in deviations for _ in range(4)]


# ---- files ----

def lines(values, width=100):
    out, line = [], ""
    for text in (json.dumps(v) for v in values):
        if line and len(line) + len(text) + 2 > width:
            out.append(line + ",")
            line = ""
        line = line + "," + text if line else "  " + text
    return out + [line] if line else out


def write_model(path, about, models):
    with open(path, "w") as f:
        f.write(json.dumps(about, indent=1)[:-2])
        f.write(',\n "models": {')
        for i, (name, tree) in enumerate(models.items()):
            f.write("%s\n %s: {" % ("," if i else "", json.dumps(name)))
            for k, (key, value) in enumerate(tree.items()):
                f.write("%s\n  %s: " % ("," if k else "", json.dumps(key)))
                f.write("[\n" + "\n".join(lines(value)) + "]" if isinstance(value, list)
                        else json.dumps(value))
            f.write("}")
        f.write("\n }\n}\n")


def write_vectors(path, points, answers):
    with open(path, "w") as f:
        f.write('{"points": [\n' + ",\n".join(json.dumps(p) for p in points) + '\n],\n"rows": {\n')
        f.write(",\n".join('"%s": "%s"' % (k, "".join(map(str, a))) for k, a in answers.items()))
        f.write("\n}}\n")


def main():
    parser = argparse.ArgumentParser(description="trains the selector of DA-SpMM")
    parser.add_argument("result")
    parser.add_argument("--curve", action="store_true", help="also the effect of fewer families")
    given = parser.parse_args()
    warnings.filterwarnings("ignore")
    sys.setrecursionlimit(10000)
    folder = run_folder(given.result)
    d = Data(read_cases(folder))
    run, gpu = read_run(folder)
    families = sorted(set(d.family))
    rows = sorted(t for t in set(d.tag.tolist()) if t < 4)
    everything = numpy.arange(len(d.x))
    print("%d cases of %d matrices in %d families, %s; fastest: %s" %
          (len(d.x), len(set(d.matrix)), len(families), gpu,
           ", ".join("%s %d" % (EIGHT[t], (d.tag == t).sum()) for t in numpy.unique(d.tag))))

    models, answers, pooled = {}, {}, {"published": {}, "static": {}, "tree": {}, "regression": {}}
    points = [[int(x[0]), *shape, float(x[2]), int(x[3])] for x, shape in zip(d.x, d.shape)]
    points += random_points(1000)
    points += edge_points(thresholds(fit(d.x, d.tag))[FEATURES.index("std_row")])
    features = numpy.array([[p[0], p[1] * p[2], p[3], p[4]] for p in points], dtype=numpy.float64)
    head()
    for name in ["all"] + families:
        train = everything if name == "all" else numpy.flatnonzero(d.family != name)
        test = everything if name == "all" else numpy.flatnonzero(d.family == name)
        model = fit(d.x[train], d.tag[train])
        right = (model.predict(d.x[train]) == d.tag[train]).mean()
        if right < .95:  # boosting can run away where a class has very few cases
            print("%s: right on only %.2f of its own training" % (name, right))
        static = best_static(d, train)
        models[name] = {"cases": len(train), "trees": model.booster_.num_trees(),
                        "static": static, **compile_model(model, rows)}
        answers[name] = [rows.index(t) for t in choose(model, features)]
        if walk_tree(models[name], features) != answers[name]:
            sys.exit("train.py: the folded tree differs from the model")
        chosen = [EIGHT[t] for t in choose(model, d.x[test])]
        show("none (seen)" if name == "all" else name, judge(d, test, chosen))
        if name == "all":
            continue
        pooled["published"].update(zip(test, chosen))
        pooled["static"].update((i, static) for i in test)
        pooled["tree"].update(zip(test, variant_tree(d, train, test)))
        pooled["regression"].update(zip(test, variant_regression(d, train, test)))
    print("\nall families, each by a model that has not seen it")
    head()
    for name, chosen in pooled.items():
        show(name, judge(d, list(chosen), list(chosen.values())))
    show("published, matrix out", one_matrix_out(d))
    show("oracle", judge(d, everything, [EIGHT[t] for t in d.tag]))
    print("nodes: " + ", ".join("%s %d" % (k, len(m["feature"])) for k, m in models.items()))
    if given.curve:
        curve(d, families)

    about = {"schema": "claimbench/spmm_select", "schema_version": "1.0.0",
             "about": "selector of DA-SpMM; train.py says how it is made and what the keys mean",
             "run": run, "gpu": gpu, "cases": len(d.x), "rounds": ROUNDS, "seed": SEED,
             "lightgbm": lightgbm.__version__, "sklearn": sklearn.__version__,
             "numpy": numpy.__version__, "python": "%d.%d.%d" % sys.version_info[:3],
             "features": FEATURES, "rows": [EIGHT[r] for r in rows]}
    write_model(os.path.join(HERE, "model.json"), about, models)
    write_vectors(os.path.join(TOP, "tests", "data", "select", "vectors.json"), points, answers)


if __name__ == "__main__":
    main()
