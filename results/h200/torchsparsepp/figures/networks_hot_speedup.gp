out = "networks_hot_speedup"
title = "whole networks: maps and layers of one scan, inference (hot)"
caption = "NVIDIA H200, driver 580.159.04, CUDA 13.0, cache hot, regime steady, profile reproduce (custom), 2 invocations, n = 9 cases, run dfe11e40-9566-435f-b7e0-c5312ca180d9"
in = "networks_hot_speedup.tsv"
xlabel = ""
ylabel = "speedup over net_published, x"
reported = ""
names = "network scan"
array legend[10] = ["implicit GEMM", "implicit GEMM S=1", "implicit GEMM S=2", "implicit GEMM S=3", "fetch-on-demand", "autotuned", "gather-scatter grouped", "gather-scatter by tap", "own", "own, tuned"]
n = 10
cases = 9
stacked = 0
longest = 32
width = 1200
load "bars.gp"
