out = "sweep_hot_speedup"
title = "sweep: speedup (hot)"
caption = "NVIDIA X, driver 580.00, CUDA 13.0, clock dynamic, cache hot, regime steady, profile reproduce, 1 invocation, n = 6 cases, run 33333333-0000-4000-8000-000000000001"
in = "sweep_hot_speedup.tsv"
xlabel = "n"
ylabel = "speedup, geometric mean over cases, 95 %"
n = 2
logx = 2
logy = 0
band = 1
width = 1060
lowest = 0.833333333
highest = 153.6
ticks = "1 8 64"
array legend[2] = ["algs over lib", "algs over lib0"]
m = 1
array place[1] = [121.6]
array value[1] = [1.3]
array name[1] = ["reported 1.3 (NVIDIA Z)"]
load "lines.gp"
