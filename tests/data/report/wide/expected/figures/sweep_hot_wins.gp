out = "sweep_hot_wins"
title = "sweep (hot): share of cases won, among algs"
caption = "NVIDIA X, driver 580.00, CUDA 13.0, clock dynamic, cache hot, regime steady, profile reproduce, 1 invocation, n = 6 cases, run 33333333-0000-4000-8000-000000000001"
xlabel = "n"
array panel[2] = ["sweep_hot_wins.tsv", "sweep_hot_wins_reported1.tsv"]
array heading[2] = ["NVIDIA X, measured", "NVIDIA Z, reported"]
panels = 2
n = 8
ylabel = "share of cases won"
array legend[8] = ["alg0", "alg1", "alg2", "alg3", "alg4", "alg5", "alg6", "alg7"]
stacked = 1
width = 1000
height = 440
load "bars.gp"
