out = "gemv_coldw_roofline"
title = "gemv (coldw): measured ceilings"
caption = "NVIDIA X, driver 580.00, CUDA 13.0, clock dynamic, cache coldw, regime steady, profile reproduce, 2 invocations, n = 3 cases, run 22222222-0000-4000-8000-000000000001"
in = "gemv_coldw_roofline.tsv"
array legend[2] = ["paper", "base_f16"]
array roof[4] = ["dram_copy, 4.2 TB/s", "dram_read, 4.4 TB/s", "l2_read, 9 TB/s", "fp32_fma, 62 TFLOP/s"]
n = 2
c = 4
lowest = 0.6665
highest = 92.22
width = 1000
array slope[4] = [4200, 4400, 9000, 0]
array flat[4] = [0, 0, 0, 62000]
load "roofline.gp"
