out = "layers_llama2_70b_coldw_speedup"
title = "layers_llama2_70b: speedup (coldw)"
caption = "NVIDIA H200, driver 580.159.04, CUDA 13.0, cache coldw, regime steady, profile reproduce, 3 invocations, n = 20 cases, run 0941a7c4-736e-4350-bc38-96056bf509cd"
in = "layers_llama2_70b_coldw_speedup.tsv"
xlabel = "m"
ylabel = "speedup, geometric mean over cases, 95 %"
n = 16
logx = 2
logy = 0
band = 1
width = 1060
lowest = 0.833333333
highest = 9830.4
ticks = "1 16 64 256 4096"
array legend[16] = ["published_channel over cublaslt_int8", "published_group over cublaslt_int8", "published_channel over cublas_f16", "published_group over cublas_f16", "published over w8a8", "published over cublaslt_fp8", "published over w4a16", "own_channel over cublas_f16", "own_group over cublas_f16", "own_channel over cublaslt_fp8", "own_group over cublaslt_fp8", "own_channel over published_channel", "own_group over published_group", "own_group over own_channel", "own over w4a16", "w8a8 over cublaslt_int8"]
m = 0
array place[1] = [7782.4]
array value[1] = [0]
array name[1] = [""]
load "lines.gp"
