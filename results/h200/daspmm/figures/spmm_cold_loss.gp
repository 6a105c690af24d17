out = "spmm_cold_loss"
title = "spmm (cold): largest loss on any case, among published8"
caption = "NVIDIA H200, driver 580.159.04, CUDA 13.0, cache cold, regime steady, profile reproduce, 3 invocations, n = 78 cases, run 8f0f2c1c-2c53-4826-97ab-13e46776e191"
xlabel = "n"
array panel[1] = ["spmm_cold_loss.tsv"]
array heading[1] = ["NVIDIA H200, measured"]
panels = 1
n = 8
rows = 8
reverse = 1
width = 900
height = 326
load "heat.gp"
