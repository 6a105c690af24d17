out = "spmm_hot_loss"
title = "spmm (hot): largest loss on any case, among published8"
caption = "NVIDIA H200, driver 580.159.04, CUDA 13.0, cache hot, regime steady, profile reproduce (custom), 2 invocations, n = 234 cases, run c15d6783-bbfd-4e2b-a7f5-2257e08e5b64"
xlabel = "n"
array panel[1] = ["spmm_hot_loss.tsv"]
array heading[1] = ["NVIDIA H200, measured"]
panels = 1
n = 8
rows = 8
reverse = 1
width = 900
height = 326
load "heat.gp"
