out = "networks_cold_cold_speedup"
title = "the same, a new scan in every run (cold)"
caption = "NVIDIA H200, driver 580.159.04, CUDA 13.0, cache cold, regime steady, profile reproduce (custom), 2 invocations, n = 7 cases, run dfe11e40-9566-435f-b7e0-c5312ca180d9"
in = "networks_cold_cold_speedup.tsv"
xlabel = ""
ylabel = "speedup over net_published, x"
reported = ""
names = "network scan"
array legend[4] = ["implicit GEMM S=1", "fetch-on-demand", "gather-scatter grouped", "own"]
n = 4
cases = 7
stacked = 0
longest = 32
width = 1200
load "bars.gp"
