out = "encoder_hot_speedup"
title = "eight layers: groups against padded and exact windows (hot)"
caption = "NVIDIA H200, driver 580.159.04, CUDA 13.0, cache hot, regime steady, profile reproduce, 3 invocations, n = 14 cases, run c9453bf9-aef2-4249-ab71-d15bc7f6782d"
in = "encoder_hot_speedup.tsv"
xlabel = ""
ylabel = "speedup over flatformer, x"
reported = ""
names = "group pillars window"
array legend[13] = ["as published, no graph", "as published, attention by cuBLAS", "SST", "cuBLAS, attention in tiles", "cuBLAS and a softmax kernel", "padded windows, cuBLAS", "padded windows, attention in tiles", "exact windows, attention in tiles", "own", "own, overlapping", "own, even", "own, even and wide", "own, fitting"]
n = 13
cases = 14
stacked = 0
longest = 13
width = 1200
load "bars.gp"
