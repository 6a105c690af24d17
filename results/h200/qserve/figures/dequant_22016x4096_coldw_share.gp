out = "dequant_22016x4096_coldw_share"
title = "share of time that dequantisation takes, layer gate and up of Llama-2-7B (the paper: 20 to 90 % in earlier INT4 systems) (coldw)"
caption = "NVIDIA H200, driver 580.159.04, CUDA 13.0, cache coldw, regime steady, profile reproduce, 3 invocations, n = 4 cases, run 0941a7c4-736e-4350-bc38-96056bf509cd"
in = "dequant_22016x4096_coldw_share.tsv"
xlabel = ""
ylabel = "share of dequantisation, fraction"
reported = "reported, A100"
names = ""
array legend[10] = ["QServe W4A8 per channel", "QServe W4A8 per group", "Atom W4A4 per group (emulated)", "W4A8 per channel, programmatic dependent launch", "W4A8 per group, programmatic dependent launch", "W4A16 few tokens", "W4A16 many tokens, programmatic dependent launch", "AWQ 2024 GEMV", "AWQ 2024 GEMM", "cuBLASLt INT8 and a scaling kernel, best of 16"]
n = 10
cases = 4
stacked = 0
longest = 0
width = 1200
load "bars.gp"
