out = "spmm_hot_loss"
title = "spmm (hot): largest loss on any case, among published8"
caption = "NVIDIA H200, driver 580.159.04, CUDA 13.0, cache hot, regime steady, profile reproduce, 3 invocations, n = 234 cases, run ba2287af-47d2-43eb-85f7-0c92966cf92d"
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
