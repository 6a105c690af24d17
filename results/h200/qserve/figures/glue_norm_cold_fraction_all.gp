out = "glue_norm_cold_fraction_all"
title = "glue_norm (cold): fraction of the fastest, geometric mean over cases, among all rows"
caption = "NVIDIA H200, driver 580.159.04, CUDA 13.0, cache cold, regime steady, profile reproduce, 3 invocations, n = 20 cases, run 0941a7c4-736e-4350-bc38-96056bf509cd"
xlabel = "m"
array panel[1] = ["glue_norm_cold_fraction_all.tsv"]
array heading[1] = ["NVIDIA H200, measured"]
panels = 1
n = 3
rows = 3
reverse = 0
width = 900
height = 282
load "heat.gp"
