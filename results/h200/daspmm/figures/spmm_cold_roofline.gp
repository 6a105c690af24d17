out = "spmm_cold_roofline"
title = "spmm (cold): measured ceilings"
caption = "NVIDIA H200, driver 580.159.04, CUDA 13.0, cache cold, regime steady, profile reproduce (custom), 2 invocations, n = 78 cases, run c15d6783-bbfd-4e2b-a7f5-2257e08e5b64"
in = "spmm_cold_roofline.tsv"
array legend[4] = ["published8", "cusparse_best", "paper_rm", "cusparse_rm_or_spmv"]
array roof[6] = ["dram_copy, 4277 GB/s", "dram_read, 4651 GB/s", "l2_read, 9163 GB/s", "fp32_fma, 6.402e+04 GFLOP/s", "fp16x2_fma, 6.679e+04 GFLOP/s", "fp64_fma, 3.074e+04 GFLOP/s"]
n = 4
c = 6
lowest = 0.0971
highest = 42.5
width = 1000
array slope[6] = [4276.96994, 4651.21314, 9163.20403, 0, 0, 0]
array flat[6] = [0, 0, 0, 64024.6326, 66788.7921, 30736.1539]
load "roofline.gp"
