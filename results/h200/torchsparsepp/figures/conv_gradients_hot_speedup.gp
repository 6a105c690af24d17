out = "conv_gradients_hot_speedup"
title = "gradients of a layer, two scans (hot)"
caption = "NVIDIA H200, driver 580.159.04, CUDA 13.0, cache hot, regime steady, profile reproduce (custom), 2 invocations, n = 10 cases, run dfe11e40-9566-435f-b7e0-c5312ca180d9"
in = "conv_gradients_hot_speedup.tsv"
xlabel = ""
ylabel = "speedup over conv_gather, x"
reported = ""
names = "pass cin cout stride"
array legend[16] = ["implicit GEMM", "implicit GEMM S=1", "implicit GEMM S=2", "implicit GEMM S=3", "implicit GEMM S=4", "wgrad", "wgrad S=1", "wgrad S=2", "wgrad S=3", "wgrad S=4", "own", "own S=1", "own S=2", "own S=3", "own portable", "own wgrad"]
n = 16
cases = 10
stacked = 0
longest = 16
width = 1200
load "bars.gp"
