out = "flatten_cold_speedup"
title = "the four orders of a frame (cold)"
caption = "NVIDIA H200, driver 580.159.04, CUDA 13.0, cache cold, regime steady, profile reproduce, 3 invocations, n = 7 cases, run c9453bf9-aef2-4249-ab71-d15bc7f6782d"
in = "flatten_cold_speedup.tsv"
xlabel = ""
ylabel = "speedup over published, x"
reported = ""
names = "pillars"
array legend[5] = ["four sorts of 64-bit keys", "four sorts of the bits needed", "one sort of all orders", "rank in a bitmap", "rank in a bitmap, one kernel"]
n = 5
cases = 7
stacked = 0
longest = 6
width = 1200
load "bars.gp"
