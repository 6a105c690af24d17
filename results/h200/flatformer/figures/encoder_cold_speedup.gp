out = "encoder_cold_speedup"
title = "eight layers: groups against padded and exact windows (cold)"
caption = "NVIDIA H200, driver 580.159.04, CUDA 13.0, cache cold, regime steady, profile reproduce, 3 invocations, n = 4 cases, run c9453bf9-aef2-4249-ab71-d15bc7f6782d"
in = "encoder_cold_speedup.tsv"
xlabel = ""
ylabel = "speedup over flatformer, x"
reported = ""
names = ""
array legend[13] = ["as published, no graph", "as published, attention by cuBLAS", "SST", "cuBLAS, attention in tiles", "cuBLAS and a softmax kernel", "padded windows, cuBLAS", "padded windows, attention in tiles", "exact windows, attention in tiles", "own", "own, overlapping", "own, even", "own, even and wide", "own, fitting"]
n = 13
cases = 4
stacked = 0
longest = 0
width = 1200
load "bars.gp"
