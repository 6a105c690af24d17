out = "spmm_hot_fraction"
title = "spmm (hot): fraction of the fastest, geometric mean over cases, among published8"
caption = "NVIDIA H200, driver 580.159.04, CUDA 13.0, cache hot, regime steady, profile reproduce, 3 invocations, n = 234 cases, run 8f0f2c1c-2c53-4826-97ab-13e46776e191"
xlabel = "n"
array panel[4] = ["spmm_hot_fraction.tsv", "spmm_hot_fraction_reported1.tsv", "spmm_hot_fraction_reported2.tsv", "spmm_hot_fraction_reported3.tsv"]
array heading[4] = ["NVIDIA H200, measured", "RTX 2080, reported", "Tesla V100, reported", "RTX 3090, reported"]
panels = 4
n = 8
rows = 8
reverse = 0
width = 1360
height = 326
load "heat.gp"
