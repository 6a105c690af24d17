out = "pillar_net_hot_speedup"
title = "points to pillars: unique cells, two layers, maxima (hot)"
caption = "NVIDIA H200, driver 580.159.04, CUDA 13.0, cache hot, regime steady, profile reproduce, 3 invocations, n = 3 cases, run c9453bf9-aef2-4249-ab71-d15bc7f6782d"
in = "pillar_net_hot_speedup.tsv"
xlabel = ""
ylabel = "speedup over pillar_published, x"
reported = ""
names = ""
array legend[3] = ["sort, scatter, cuBLAS TF32", "counts, fused tiles", "counts of runs, units of 8"]
n = 3
cases = 3
stacked = 0
longest = 0
width = 940
load "bars.gp"
