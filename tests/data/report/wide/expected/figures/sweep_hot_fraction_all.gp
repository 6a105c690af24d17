out = "sweep_hot_fraction_all"
title = "sweep (hot): fraction of the fastest, geometric mean over cases, among all rows"
caption = "NVIDIA X, driver 580.00, CUDA 13.0, clock dynamic, cache hot, regime steady, profile reproduce, 1 invocation, n = 6 cases, run 33333333-0000-4000-8000-000000000001"
xlabel = "n"
array panel[1] = ["sweep_hot_fraction_all.tsv"]
array heading[1] = ["NVIDIA X, measured"]
panels = 1
n = 14
rows = 14
reverse = 0
width = 900
height = 458
load "heat.gp"
