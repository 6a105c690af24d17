out = "sweep_hot_loss"
title = "sweep (hot): largest loss on any case, among algs"
caption = "NVIDIA X, driver 580.00, CUDA 13.0, clock dynamic, cache hot, regime steady, profile reproduce, 1 invocation, n = 6 cases, run 33333333-0000-4000-8000-000000000001"
xlabel = "n"
array panel[1] = ["sweep_hot_loss.tsv"]
array heading[1] = ["NVIDIA X, measured"]
panels = 1
n = 8
rows = 8
reverse = 1
width = 900
height = 326
load "heat.gp"
