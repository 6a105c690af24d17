out = "group_attn_cold_speedup"
title = "attention in groups, alone (cold)"
caption = "NVIDIA H200, driver 580.159.04, CUDA 13.0, cache cold, regime steady, profile reproduce, 3 invocations, n = 4 cases, run c9453bf9-aef2-4249-ab71-d15bc7f6782d"
in = "group_attn_cold_speedup.tsv"
xlabel = ""
ylabel = "speedup over flash, x"
reported = ""
names = ""
array legend[4] = ["cuBLAS and a softmax kernel", "own", "own, overlapping", "own, even"]
n = 4
cases = 4
stacked = 0
longest = 0
width = 940
load "bars.gp"
