out = "knees_coldw_speedup"
title = "knees: speedup (coldw)"
caption = "NVIDIA H200, driver 580.159.04, CUDA 13.0, cache coldw, regime steady, profile reproduce, 3 invocations, n = 8 cases, run 0941a7c4-736e-4350-bc38-96056bf509cd"
in = "knees_coldw_speedup.tsv"
xlabel = "m"
ylabel = "speedup, geometric mean over cases, 95 %"
n = 8
logx = 2
logy = 0
band = 1
width = 1060
lowest = 13.3333333
highest = 921.6
ticks = "16 48 80 96 128 192 256 384"
array legend[8] = ["own over cublaslt_int8", "published over cublaslt_int8", "w4a16 over cublaslt_int8", "w4a16 over own", "own over cublaslt_fp8", "own over cublas_f16", "w4a16 over cublas_f16", "cublaslt_int8 over cublas_f16"]
m = 0
array place[1] = [729.6]
array value[1] = [0]
array name[1] = [""]
load "lines.gp"
