out = "sweep_hot_roofline"
title = "sweep (hot): measured ceilings"
caption = "NVIDIA X, driver 580.00, CUDA 13.0, clock dynamic, cache hot, regime steady, profile reproduce, 1 invocation, n = 6 cases, run 33333333-0000-4000-8000-000000000001"
in = "sweep_hot_roofline.tsv"
array legend[3] = ["algs", "lib", "lib0"]
array roof[4] = ["dram_copy, 4.2 TB/s", "dram_read, 4.4 TB/s", "l2_read, 9 TB/s", "fp32_fma, 62 TFLOP/s"]
n = 3
c = 4
lowest = 1.282
highest = 53.93
width = 1000
array slope[4] = [4200, 4400, 9000, 0]
array flat[4] = [0, 0, 0, 62000]
load "roofline.gp"
