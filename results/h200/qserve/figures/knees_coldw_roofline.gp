out = "knees_coldw_roofline"
title = "knees (coldw): measured ceilings"
caption = "NVIDIA H200, driver 580.159.04, CUDA 13.0, cache coldw, regime steady, profile reproduce, 3 invocations, n = 8 cases, run 0941a7c4-736e-4350-bc38-96056bf509cd"
in = "knees_coldw_roofline.tsv"
array legend[4] = ["own", "cublaslt_int8", "published", "w4a16"]
array roof[8] = ["dram_copy, 4.302 TB/s", "dram_read, 4.541 TB/s", "l2_read, 10.17 TB/s", "fp32_fma, 64.03 TFLOP/s", "fp16x2_fma, 66.79 TFLOP/s", "fp64_fma, 30.67 TFLOP/s", "tensor_fp16, 669 TFLOP/s", "tensor_int8, 1276 TFLOP/s"]
n = 4
c = 8
lowest = 21.24
highest = 1917
width = 1000
array slope[8] = [4302.12596, 4541.20993, 10170.4751, 0, 0, 0, 0, 0]
array flat[8] = [0, 0, 0, 64026.525, 66792.9185, 30665.118, 668998.022, 1276459.58]
load "roofline.gp"
