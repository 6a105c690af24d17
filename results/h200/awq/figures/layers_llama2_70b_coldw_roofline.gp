out = "layers_llama2_70b_coldw_roofline"
title = "layers_llama2_70b (coldw): measured ceilings"
caption = "NVIDIA H200, driver 580.159.04, CUDA 13.0, cache coldw, regime steady, profile reproduce, 3 invocations, n = 16 cases, run c65c5366-6aee-411d-9f61-bd876ac132ac"
in = "layers_llama2_70b_coldw_roofline.tsv"
array legend[4] = ["published", "cublas_fp16", "own", "w4a16_awq2023_gemm"]
array roof[8] = ["dram_copy, 4303 GB/s", "dram_read, 4540 GB/s", "l2_read, 8668 GB/s", "fp32_fma, 6.398e+04 GFLOP/s", "fp16x2_fma, 6.671e+04 GFLOP/s", "fp64_fma, 3.06e+04 GFLOP/s", "tensor_fp16, 6.571e+05 GFLOP/s", "tensor_fp8, 1.229e+06 GFLOP/s"]
n = 4
c = 8
lowest = 0.6665
highest = 1308
width = 1000
array slope[8] = [4302.60864, 4539.75051, 8668.30549, 0, 0, 0, 0, 0]
array flat[8] = [0, 0, 0, 63981.0682, 66706.3934, 30602.1991, 657099.605, 1229152.83]
load "roofline.gp"
