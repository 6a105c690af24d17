out = "knees_coldw_loss"
title = "knees (coldw): largest loss on any case, among own"
caption = "NVIDIA H200, driver 580.159.04, CUDA 13.0, cache coldw, regime steady, profile reproduce, 3 invocations, n = 8 cases, run 0941a7c4-736e-4350-bc38-96056bf509cd"
xlabel = "m"
array panel[1] = ["knees_coldw_loss.tsv"]
array heading[1] = ["NVIDIA H200, measured"]
panels = 1
n = 6
rows = 6
reverse = 1
width = 900
height = 282
load "heat.gp"
