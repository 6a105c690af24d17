out = "sweep_hot_wins_all"
title = "sweep (hot): share of cases won, among all rows"
caption = "NVIDIA X, driver 580.00, CUDA 13.0, clock dynamic, cache hot, regime steady, profile reproduce, 1 invocation, n = 6 cases, run 33333333-0000-4000-8000-000000000001"
xlabel = "n"
array panel[1] = ["sweep_hot_wins_all.tsv"]
array heading[1] = ["NVIDIA X, measured"]
panels = 1
n = 4
ylabel = "share of cases won"
array legend[4] = ["alg2", "alg4", "alg5", "alg7"]
stacked = 1
width = 940
height = 440
load "bars.gp"
