out = "glue_silu_cold_speedup"
title = "glue_silu: speedup (cold)"
caption = "NVIDIA H200, driver 580.159.04, CUDA 13.0, cache cold, regime steady, profile reproduce, 3 invocations, n = 15 cases, run 0941a7c4-736e-4350-bc38-96056bf509cd"
in = "glue_silu_cold_speedup.tsv"
xlabel = "m"
ylabel = "speedup, geometric mean over cases, 95 %"
n = 3
logx = 2
logy = 1
band = 1
width = 1060
lowest = 0.833333333
highest = 9830.4
ticks = "1 16 64 256 4096"
array legend[3] = ["quant_own over quant_unfused", "quant_own over quant_published", "quant_published over quant_unfused"]
m = 0
array place[1] = [7782.4]
array value[1] = [0]
array name[1] = [""]
load "lines.gp"
