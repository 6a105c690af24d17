out = "flatten_hot_speedup"
title = "the four orders of a frame (hot)"
caption = "NVIDIA H200, driver 580.159.04, CUDA 13.0, cache hot, regime steady, profile reproduce, 3 invocations, n = 14 cases, run c9453bf9-aef2-4249-ab71-d15bc7f6782d"
in = "flatten_hot_speedup.tsv"
xlabel = ""
ylabel = "speedup over published, x"
reported = ""
names = "group pillars window"
array legend[5] = ["four sorts of 64-bit keys", "four sorts of the bits needed", "one sort of all orders", "rank in a bitmap", "rank in a bitmap, one kernel"]
n = 5
cases = 14
stacked = 0
longest = 13
width = 1200
load "bars.gp"
