out = "spmm_hot_loss_all"
title = "spmm (hot): largest loss on any case, among all rows"
caption = "NVIDIA H200, driver 580.159.04, CUDA 13.0, cache hot, regime steady, profile reproduce, 3 invocations, n = 234 cases, run 8f0f2c1c-2c53-4826-97ab-13e46776e191"
xlabel = "n"
array panel[1] = ["spmm_hot_loss_all.tsv"]
array heading[1] = ["NVIDIA H200, measured"]
panels = 1
n = 42
rows = 42
reverse = 1
width = 900
height = 1074
load "heat.gp"
