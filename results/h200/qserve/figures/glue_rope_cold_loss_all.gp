out = "glue_rope_cold_loss_all"
title = "glue_rope (cold): largest loss on any case, among all rows"
caption = "NVIDIA H200, driver 580.159.04, CUDA 13.0, cache cold, regime steady, profile reproduce, 3 invocations, n = 16 cases, run 0941a7c4-736e-4350-bc38-96056bf509cd"
xlabel = "m"
array panel[1] = ["glue_rope_cold_loss_all.tsv"]
array heading[1] = ["NVIDIA H200, measured"]
panels = 1
n = 3
rows = 3
reverse = 1
width = 900
height = 282
load "heat.gp"
