out = "layers_llama2_70b_coldw_wins_all"
title = "layers_llama2_70b (coldw): share of cases won, among all rows"
caption = "NVIDIA H200, driver 580.159.04, CUDA 13.0, cache coldw, regime steady, profile reproduce, 3 invocations, n = 20 cases, run 0941a7c4-736e-4350-bc38-96056bf509cd"
xlabel = "m"
array panel[1] = ["layers_llama2_70b_coldw_wins_all.tsv"]
array heading[1] = ["NVIDIA H200, measured"]
panels = 1
n = 2
ylabel = "share of cases won"
array legend[2] = ["w4a8_channel_own", "cublaslt_fp8"]
stacked = 1
width = 940
height = 440
load "bars.gp"
