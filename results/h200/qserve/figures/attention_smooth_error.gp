out = "attention_smooth_error"
title = "error of attention over a quantised cache with and without SmoothAttention, outlier channels in the keys"
caption = "NVIDIA H200, driver 580.159.04, CUDA 13.0, profile reproduce, n = 2 cases, run 0941a7c4-736e-4350-bc38-96056bf509cd"
in = "attention_smooth_error.tsv"
xlabel = ""
ylabel = "figure"
reported = ""
names = ""
array legend[8] = ["KV16", "KV16, smoothed", "KV16, each channel by itself", "KV8", "KV8, smoothed", "KV4", "KV4, smoothed", "KV4, each channel by itself"]
n = 8
cases = 2
stacked = 0
longest = 0
width = 940
load "bars.gp"
