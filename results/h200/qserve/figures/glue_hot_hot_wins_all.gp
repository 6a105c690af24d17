out = "glue_hot_hot_wins_all"
title = "glue_hot (hot): share of cases won, among all rows"
caption = "NVIDIA H200, driver 580.159.04, CUDA 13.0, cache hot, regime steady, profile reproduce, 3 invocations, n = 40 cases, run 0941a7c4-736e-4350-bc38-96056bf509cd"
xlabel = "m"
array panel[1] = ["glue_hot_hot_wins_all.tsv"]
array heading[1] = ["NVIDIA H200, measured"]
panels = 1
n = 1
ylabel = "share of cases won"
array legend[1] = ["quant_own"]
stacked = 1
width = 940
height = 440
load "bars.gp"
