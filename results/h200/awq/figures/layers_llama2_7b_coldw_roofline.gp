out = "layers_llama2_7b_coldw_roofline"
title = "layers_llama2_7b (coldw): measured ceilings"
caption = "NVIDIA H200, driver 580.159.04, CUDA 13.0, cache coldw, regime steady, profile reproduce, 3 invocations, n = 16 cases, run 0d00ed54-f392-40a3-bf07-8b0047bc8ef0"
in = "layers_llama2_7b_coldw_roofline.tsv"
array legend[4] = ["published", "cublas_fp16", "own", "w4a16_awq2023_gemm"]
array roof[8] = ["dram_copy, 4.303 TB/s", "dram_read, 4.54 TB/s", "l2_read, 8.668 TB/s", "fp32_fma, 63.98 TFLOP/s", "fp16x2_fma, 66.71 TFLOP/s", "fp64_fma, 30.6 TFLOP/s", "tensor_fp16, 657.1 TFLOP/s", "tensor_fp8, 1229 TFLOP/s"]
n = 4
c = 8
lowest = 0.6663
highest = 1157
width = 1000
array slope[8] = [4302.60864, 4539.75051, 8668.30549, 0, 0, 0, 0, 0]
array flat[8] = [0, 0, 0, 63981.0682, 66706.3934, 30602.1991, 657099.605, 1229152.83]
load "roofline.gp"
