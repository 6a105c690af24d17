out = "spmm_cold_fraction_all"
title = "spmm (cold): fraction of the fastest, geometric mean over cases, among all rows"
caption = "NVIDIA H200, driver 580.159.04, CUDA 13.0, cache cold, regime steady, profile reproduce (custom), 2 invocations, n = 78 cases, run c15d6783-bbfd-4e2b-a7f5-2257e08e5b64"
xlabel = "n"
array panel[1] = ["spmm_cold_fraction_all.tsv"]
array heading[1] = ["NVIDIA H200, measured"]
panels = 1
n = 41
rows = 41
reverse = 0
width = 900
height = 1052
load "heat.gp"
