out = "bev_hot_speedup"
title = "map from above: dense backbone and head (hot)"
caption = "NVIDIA H200, driver 580.159.04, CUDA 13.0, cache hot, regime steady, profile reproduce, 3 invocations, n = 3 cases, run c9453bf9-aef2-4249-ab71-d15bc7f6782d"
in = "bev_hot_speedup.tsv"
xlabel = ""
ylabel = "speedup over bev_vendor, x"
reported = ""
names = ""
array legend[5] = ["scatter, cuDNN graphs", "scatter, cuDNN legacy calls", "scatter, unfolded, cuBLASLt", "implicit GEMM, mma.sync", "rows of cells, wgmma"]
n = 5
cases = 3
stacked = 0
longest = 0
width = 940
load "bars.gp"
