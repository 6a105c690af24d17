out = "group_attn_hot_speedup"
title = "attention in groups, alone (hot)"
caption = "NVIDIA H200, driver 580.159.04, CUDA 13.0, cache hot, regime steady, profile reproduce, 3 invocations, n = 14 cases, run c9453bf9-aef2-4249-ab71-d15bc7f6782d"
in = "group_attn_hot_speedup.tsv"
xlabel = ""
ylabel = "speedup over flash, x"
reported = ""
names = "group pillars window"
array legend[4] = ["cuBLAS and a softmax kernel", "own", "own, overlapping", "own, even"]
n = 4
cases = 14
stacked = 0
longest = 13
width = 1200
load "bars.gp"
